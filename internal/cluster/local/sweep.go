package local

import (
	"context"
	"errors"
	"time"
)

// sweep ends whatever is left of the node and waits until the kernel has let go
// of it: init, with it all others, and the control groups. It finds them by the
// record and by the group, so it also works when one of the two is lost.
func (c *Cluster) sweep(ctx context.Context, rec record) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("still there after 30s"))
	defer cancel()
	if rec.Init.alive() {
		if err := rec.Init.kill(ctx); err != nil {
			return err
		}
	}
	groups, err := detect()
	if err != nil {
		return err
	}
	folders, err := groups.Folders(c.group())
	if err != nil {
		return err
	}
	if err := killMembers(ctx, folders); err != nil {
		return err
	}
	return removeGroups(ctx, folders)
}

// killMembers ends every process of the groups. Ending one may be the end of
// others; new ones may have come: it looks again until there is none.
func killMembers(ctx context.Context, folders []string) error {
	for {
		pids, err := members(folders)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			member, err := identify(pid)
			if err != nil {
				continue // it has ended
			}
			if err := member.kill(ctx); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
}
