package pod

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Latch remembers of which executions a container was ever seen. It is shown every
// version of a pod that a watch brings: the last one, which tells that a container
// was created just before its pod was deleted, is gone when somebody looks.
type Latch struct {
	mu      sync.Mutex
	started map[types.UID]bool // by execution
}

// See takes note of one version of a pod.
func (l *Latch) See(obj client.Object) {
	p, ok := obj.(*corev1.Pod)
	if !ok || !Started(p) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started == nil {
		l.started = map[types.UID]bool{}
	}
	l.started[types.UID(p.Labels[v1alpha1.LabelExecutionUID])] = true
}

// Started says whether a container of an execution was ever seen.
func (l *Latch) Started(of types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.started[of]
}

// Forget forgets an execution whose run is gone.
func (l *Latch) Forget(of types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.started, of)
}
