package bringup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/report"
)

// program is the kubernaut of this checkout, built once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), "kubernaut-bringup", "kubernaut")
	out, err := exec.Command("go", "build", "-o", path, "kubernaut.ai/kubernaut/cmd/kubernaut").CombinedOutput()
	if err != nil {
		_, _ = os.Stderr.Write(out)
	}
	return path, err
})

// environment is one that a test brings up, with a name of its own.
type environment struct {
	testing.TB
	name string
}

// needed skips what takes minutes, and else returns an environment that goes
// with the test.
func needed(t testing.TB, name string) *environment {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a real cluster, several times: run make test-full")
	}
	e := &environment{t, name}
	e.down()
	t.Cleanup(e.down)
	return e
}

// forgotten removes also the store of images that outlives an environment.
func (e *environment) forgotten() *environment {
	e.Helper()
	dir, err := build.Dir()
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		e.down()
		if err := os.RemoveAll(filepath.Join(dir, "content", e.name)); err != nil {
			e.Error(err)
		}
	})
	return e
}

func (e *environment) command(ctx context.Context, args ...string) *exec.Cmd {
	e.Helper()
	path, err := program()
	if err != nil {
		e.Fatalf("building kubernaut: %v", err)
	}
	return exec.CommandContext(ctx, path, append([]string{"env", "--name", e.name}, args...)...)
}

// run returns what the command printed and fails the test when it failed.
func (e *environment) run(args ...string) []byte {
	e.Helper()
	var stderr bytes.Buffer
	cmd := e.command(context.Background(), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		e.Fatalf("kubernaut env %v: %v\n%s", args, err, tail(stderr.Bytes()))
	}
	return out
}

func (e *environment) down() {
	e.Helper()
	if out, err := e.command(context.Background(), "down").CombinedOutput(); err != nil {
		e.Errorf("kubernaut env down: %v\n%s", err, out)
	}
}

func tail(out []byte) []byte { return out[max(0, len(out)-4000):] }

// killedAt brings the environment up and kills the program, without any grace,
// at the first event that at accepts. It tells whether that came.
func (e *environment) killedAt(at func(progress.Event) bool) bool {
	e.Helper()
	cmd := e.command(context.Background(), "up", "--progress", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		e.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.Fatal(err)
	}
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var event progress.Event
		if json.Unmarshal(lines.Bytes(), &event) == nil && !killed && at(event) {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				e.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed, or had come to its end before
	return killed
}

// killNode ends the first process of the node, and thereby all others in it.
func (e *environment) killNode() {
	e.Helper()
	dir, err := build.Dir()
	if err != nil {
		e.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "env", e.name, "node", "record.json"))
	if err != nil {
		e.Fatal(err)
	}
	var record struct{ Init struct{ PID int } }
	if err := json.Unmarshal(raw, &record); err != nil || record.Init.PID < 2 {
		e.Fatalf("the node's record %s: %v", raw, err)
	}
	if err := unix.Kill(record.Init.PID, unix.SIGKILL); err != nil {
		e.Fatal(err)
	}
}

func (e *environment) report() report.Report {
	e.Helper()
	var r report.Report
	if err := json.Unmarshal(e.run("report", "-o", "json"), &r); err != nil {
		e.Fatal(err)
	}
	return r
}
