// Command tally reads the output of `go test -json` and prints what a person
// wants of it: failing output at once, one line per package as it ends, and at
// the end a table with every skipped test and its reason.
//
//	go test -json ./... | go run ./test/tally
//
// It exits with 1 when a test or a package failed, or when none ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	t := newTally(os.Stdout)
	if err := t.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
	t.summary(time.Now(), commit())
	if !t.good() {
		os.Exit(1)
	}
}

// commit is the short hash of the checkout, with "+" when it has changes, or
// "unknown" outside a checkout.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty=+").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

func (t *tally) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(t.out, lines.Text()) // not ours: what the go command itself says
			continue
		}
		t.add(e)
	}
	return lines.Err()
}
