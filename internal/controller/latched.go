package controller

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine/pod"
)

// latched wakes the executions of pods, and shows every version of a pod to the
// latch, the last one too. What was seen of an execution is forgotten when one of its
// pods goes and nobody is owed anything any more: that is after its run was let go.
type latched struct {
	handler.EventHandler
	latch *pod.Latch
	owed  func(context.Context, client.Object) (bool, error)
}

func newLatched(latch *pod.Latch, owed func(context.Context, client.Object) (bool, error)) latched {
	wake := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, obj client.Object) []reconcile.Request {
		latch.See(obj)
		return whoRuns(ctx, obj)
	})
	return latched{wake, latch, owed}
}

// owedPatience is how long the pods that follow may wait for what is owed for one.
const owedPatience = 3 * time.Second

// Delete is told of the last version of a pod.
func (l latched) Delete(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	l.EventHandler.Delete(ctx, e, q)
	of := types.UID(e.Object.GetLabels()[v1alpha1.LabelExecutionUID])
	if !l.latch.Started(of) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, owedPatience)
	defer cancel()
	owes, err := l.owed(ctx, e.Object)
	if err != nil { // to remember too much harms nobody
		ctrl.LoggerFrom(ctx).V(1).Info("What is owed for a pod that is gone is not known", "pod", e.Object.GetName(), "because", firstLine(err))
		return
	}
	if !owes {
		l.latch.Forget(of)
	}
}
