package witness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// tail is the end of the log of one step.
type tail struct {
	run       string
	pod       types.UID
	container string

	mu    sync.Mutex
	lines []string
	size  int
	ended bool
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line = line[:min(len(line), keptBytes)]
	t.lines = append(t.lines, line)
	for t.size += len(line) + 1; t.size > keptBytes && len(t.lines) > 1; {
		t.size -= len(t.lines[0]) + 1
		t.lines = t.lines[1:]
	}
}

func (t *tail) kept() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

func (t *tail) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

func (t *tail) hasEnded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

// read adds the lines of a step's log to a tail until it ends.
func (w *Witness) read(ctx context.Context, pod string, t *tail, o *corev1.PodLogOptions) error {
	stream, err := w.core.Pods(v1alpha1.WorkflowNamespace).GetLogs(pod, o).Stream(ctx)
	if err != nil {
		return fmt.Errorf("reading the log of %s/%s: %w", pod, t.container, err)
	}
	defer func() { _ = stream.Close() }() // nothing is lost with a stream that was only read
	lines := bufio.NewReaderSize(stream, keptBytes)
	for {
		line, isPrefix, err := lines.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		t.add(string(line))
		for isPrefix && err == nil { // the rest of a very long line is not kept
			_, isPrefix, err = lines.ReadLine()
		}
	}
}
