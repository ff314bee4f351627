package environment

import (
	"context"
	"regexp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/internal/environment/report"
)

// pulledMessage is how kubelet tells of a pull; it tells nobody else.
var pulledMessage = regexp.MustCompile(`^Successfully pulled image "([^"]+)" in (\S+)`)

// notePulls adds how long nodes took to pull images. It is only for the report:
// where events cannot be read, the report is without them.
func (w *world) notePulls(ctx context.Context) {
	if w.options.ownsCluster() { // images are loaded
		return
	}
	k, err := w.kube()
	if err != nil {
		return
	}
	events, err := k.Core.CoreV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: "reason=Pulled"})
	if err != nil {
		return
	}
	took := map[string]time.Duration{}
	for _, e := range events.Items {
		if ref, d, ok := pullOf(e.Message); ok {
			took[ref] = d
		}
	}
	w.times.each(func(i *report.Image) { i.PulledSeconds = took[w.made.reference(i.Name)].Seconds() })
}

func pullOf(message string) (reference string, took time.Duration, ok bool) {
	found := pulledMessage.FindStringSubmatch(message)
	if found == nil {
		return "", 0, false
	}
	d, err := time.ParseDuration(found[2])
	return found[1], d, err == nil
}
