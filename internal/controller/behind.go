package controller

import (
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// behind remembers the last version that this process wrote of each execution, until
// its cache shows it: a decision on an older one would only meet a Conflict.
type behind struct {
	mu      sync.Mutex
	version map[types.UID]uint64
}

// mostBehind bounds what is remembered: of those that are looked at no more, too.
const mostBehind = 4096

// behindRecheck is for a watch that has lost what was written.
const behindRecheck = time.Second

func (b *behind) wrote(ex *v1alpha1.WorkflowExecution) {
	version, err := strconv.ParseUint(ex.ResourceVersion, 10, 64)
	if err != nil {
		return // such a server's versions have no order
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.version == nil || len(b.version) >= mostBehind { // it saves conflicts, it prevents no harm
		b.version = map[types.UID]uint64{}
	}
	b.version[ex.UID] = version
}

// is says whether an execution was read from a cache that does not show the last
// status yet. Of a cache that stays behind it says so once a second only.
func (b *behind) is(ex *v1alpha1.WorkflowExecution) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	written, known := b.version[ex.UID]
	if !known {
		return false
	}
	delete(b.version, ex.UID)
	version, err := strconv.ParseUint(ex.ResourceVersion, 10, 64)
	return err == nil && version < written
}
