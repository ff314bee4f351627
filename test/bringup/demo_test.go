package bringup

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/build"
)

// told is what a demonstration prints when all is as it should be.
var told = []string{
	`✓ it is broken: the kernel kills it again and again`,
	`✓ increase-memory@1\.0\.0 is registered, as sha256:[0-9a-f]{64}`,
	`✓ it is healthy: 1 of 1 pods ready with a limit of 256Mi`,
	`✓ healed \S+ after the start`,
	`Skipped +RecentlyRemediated: `,
	`✓ it is let through again in \S+`,
	`Failed +\w+: .*`,
	`task \S+, step probe, exit code 42`,
	`> error: the payment provider does not answer`,
	`workflowexecution\.completed`,
	`✓ \d+ events of 3 executions, each acknowledged by PostgreSQL exactly once`,
	`kubernaut env down --name demo`,
}

// TestDemo plays the demonstration as a newcomer would, and takes all of it away.
func TestDemo(t *testing.T) {
	if os.Getenv("KUBERNAUT_TEST") != "full" {
		t.Skip("takes minutes: run make test-full")
	}
	e := needed(t, "demo")
	text, silence := e.demo()
	for _, want := range told {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("it does not print %q", want)
		}
	}
	if silence > 10*time.Second { // 5, and as much for a machine that is busy with others
		t.Errorf("it was silent for %s", silence)
	}
	if t.Failed() {
		t.Logf("it prints\n%s", text)
	}
	if all := e.remains(); len(all) < 10 {
		t.Errorf("of a running environment is seen only %v", all)
	}
	e.down()
	if left := e.remains(); len(left) > 0 {
		t.Errorf("of the environment is left: %v", left)
	}
}

// demo plays the demonstration to its end, and returns what it prints and its
// longest silence.
func (e *environment) demo() (text string, silence time.Duration) {
	e.Helper()
	path, err := program()
	if err != nil {
		e.Fatal(err)
	}
	cmd := exec.CommandContext(e.Context(), path, "demo", "--name", e.name, "--progress", "plain")
	out, err := cmd.StdoutPipe()
	if err != nil {
		e.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		e.Fatal(err)
	}
	last := time.Now()
	for lines := bufio.NewScanner(out); lines.Scan(); last = time.Now() {
		silence = max(silence, time.Since(last))
		text += lines.Text() + "\n"
	}
	if err := cmd.Wait(); err != nil {
		e.Fatalf("kubernaut demo: %v\n%s", err, tail([]byte(text)))
	}
	return text, silence
}

// remains are all things on the machine by which the environment's local cluster
// can be known: its folder, mounts, processes and control groups. Its namespaces
// live no longer than its processes.
func (e *environment) remains() []string {
	e.Helper()
	dir, err := build.Dir()
	if err != nil {
		e.Fatal(err)
	}
	var all []string
	folder := filepath.Join(dir, "env", e.name)
	if _, err := os.Stat(folder); err == nil {
		all = append(all, folder)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		e.Fatal(err)
	}
	if strings.Contains(string(mounts), folder+"/") {
		all = append(all, "a mount below "+folder)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		e.Fatal(err)
	}
	group := "kubernaut-" + e.name + "-"
	for _, process := range processes { // what cannot be read has just ended
		command, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		groups, _ := os.ReadFile(filepath.Join(process, "cgroup"))
		if strings.Contains(string(command), folder+"/") || strings.Contains(string(groups), "/"+group) {
			all = append(all, fmt.Sprintf("process %s (%s)", filepath.Base(process), strings.ReplaceAll(string(command), "\x00", " ")))
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), group) {
			all = append(all, path)
		}
		return nil // others' groups come and go while we look
	})
	return all
}
