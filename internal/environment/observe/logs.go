package observe

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"kubernaut.ai/kubernaut/internal/environment/diagnose"
)

const (
	logLines = 100      // the end of a log
	logBytes = 64 << 10 // at most
	mostLogs = 200      // of one snapshot
)

// logs reads the ends of the logs of containers that are not well, in their
// present life and the one before; with Whole, those of the others too.
func (l *looker) logs(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	asked := 0
	for _, u := range l.objects {
		if u.GetKind() != "Pod" || !slices.Contains(l.scope.Namespaces, u.GetNamespace()) {
			continue
		}
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &p); err != nil {
			continue // what is no pod has no log
		}
		for _, log := range wanted(&p, l.scope.Whole) {
			if asked++; asked > mostLogs {
				continue
			}
			group.Go(func() error { l.log(ctx, log); return nil })
		}
	}
	_ = group.Wait() // nothing is returned
	if asked > mostLogs {
		l.cannotRead(fmt.Sprintf("%d of %d logs", asked-mostLogs, asked))
	}
}

// wanted lists the logs that may tell something, without their lines.
func wanted(p *corev1.Pod, whole bool) []diagnose.Log {
	var all []diagnose.Log
	if p.Status.Phase == corev1.PodSucceeded {
		return nil
	}
	for _, c := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
		t := c.State.Terminated
		ended := t != nil && t.ExitCode == 0
		log := diagnose.Log{Namespace: p.Namespace, Pod: p.Name, Container: c.Name}
		if c.ContainerID != "" && !ended && (whole || !c.Ready) {
			all = append(all, log)
		}
		if c.LastTerminationState.Terminated != nil && !ended && (whole || !c.Ready) {
			log.Previous = true
			all = append(all, log)
		}
	}
	return all
}

func (l *looker) log(ctx context.Context, log diagnose.Log) {
	in, err := l.Core.CoreV1().Pods(log.Namespace).GetLogs(log.Pod, &corev1.PodLogOptions{
		Container: log.Container, Previous: log.Previous, TailLines: ptr.To[int64](logLines),
	}).Stream(ctx)
	if err != nil {
		return // a log that is gone tells nothing
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, logBytes))
	if text := strings.TrimRight(string(raw), "\n"); err == nil && text != "" {
		log.Lines = strings.Split(text, "\n")
		l.mu.Lock()
		defer l.mu.Unlock()
		l.read = append(l.read, log)
	}
}
