package build

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// goBuild compiles p to the file out; f is told what Go prints.
func (c Cache) goBuild(ctx context.Context, p Program, out string, f follower) error {
	return runGo(ctx, c.goCommand(ctx, p, append(arguments(p), "-o", out, p.Package)...), f)
}

// arguments are the same for every program, so that modules which share
// dependencies share their compiled packages in Go's cache.
func arguments(p Program) []string {
	ld := append([]string{"-s", "-w"}, p.LDFlags...)
	return []string{"build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", strings.Join(ld, " ")}
}

func environment() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
}

func (c Cache) goCommand(ctx context.Context, p Program, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = c.moduleDir(p), environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // compilers end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// follower is told what Go prints while it works, and ended when Go has ended.
type follower struct {
	line func(string)
	end  func()
}

// runGo runs the command; its error holds the lines in which Go says why.
func runGo(ctx context.Context, cmd *exec.Cmd, f follower) error {
	defer f.end()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting go: %w; install Go (https://go.dev/dl/) and put it on PATH", err)
	}
	said := listen(stderr, f.line)
	err = cmd.Wait()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("go %s: %w", cmd.Args[1], context.Cause(ctx))
	}
	return fmt.Errorf("go %s in %s: %w:\n%s", cmd.Args[1], cmd.Dir, err, strings.Join(said, "\n"))
}

const linesKept = 30 // of what the compiler says when it fails

// listen hands over each line and returns the last ones that are neither a
// package's name nor a download.
func listen(r io.Reader, line func(string)) (said []string) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := lines.Text()
		line(text)
		if isPackage(text) || isDownload(text) {
			continue
		}
		said = append(said, text)
		if len(said) > linesKept {
			said = said[1:]
		}
	}
	return said
}

func isPackage(line string) bool { return line != "" && !strings.ContainsAny(line, " :\t") }

func isDownload(line string) bool { return strings.HasPrefix(line, "go: downloading ") }
