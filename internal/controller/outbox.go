package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/execution"
)

// The outbox: ConfigMaps in SystemNamespace with the events of executions that were
// deleted before the audit trail had taken them.
const (
	outboxPrefix = "audit-"
	outboxKey    = "events.json"
)

// handOver keeps the events of an execution that is deleted and cannot wait for the
// audit trail any longer, and lets it go. Both in one step: what is kept may be sent
// and removed at any moment, and to keep it once more harms nobody.
func (r *Reconciler) handOver(ctx context.Context, ex *v1alpha1.WorkflowExecution) error {
	events, err := execution.LastTrail(ex)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(events)
	if err != nil {
		return fmt.Errorf("writing down the events: %w", err)
	}
	err = r.Client.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v1alpha1.SystemNamespace, Name: outboxPrefix + string(ex.UID),
			Labels:      map[string]string{v1alpha1.LabelOutbox: "true"},
			Annotations: map[string]string{v1alpha1.AnnotationExecution: ex.Namespace + "/" + ex.Name},
		},
		Data: map[string]string{outboxKey: string(raw)},
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("keeping the events in a ConfigMap: %w", err)
	}
	return r.setFinalizer(ctx, ex, false)
}

// Courier sends what is in the outbox.
type Courier struct {
	Client    client.Client
	Audit     Audit
	Conflicts prometheus.Counter // of events with what the trail holds under their ids

	conflict sync.Map // the UIDs of the ConfigMaps that are not sent again, by this process
}

// Reconcile sends the events of one deleted execution and removes what kept them
// when all are safe. Events that the trail refuses, or of which it holds others,
// stay where they are: it is the only copy.
func (c *Courier) Reconcile(ctx context.Context, kept *corev1.ConfigMap) (ctrl.Result, error) {
	var events []audit.Event
	if err := json.Unmarshal([]byte(kept.Data[outboxKey]), &events); err != nil {
		return ctrl.Result{}, fmt.Errorf("reading the events in ConfigMap %s: %w", kept.Name, err)
	}
	if _, conflict := c.conflict.Load(kept.UID); conflict {
		return ctrl.Result{}, nil
	}
	log := ctrl.LoggerFrom(ctx).WithValues("execution", kept.Annotations[v1alpha1.AnnotationExecution])
	switch err := send(ctx, c.Audit, events); {
	case errors.Is(err, datastorage.ErrConflict):
		log.Info("The audit trail holds other content under the id of an event of a deleted execution; its events are kept and not sent again", "configMap", kept.Name, "because", firstLine(err))
		c.conflict.Store(kept.UID, true)
		c.Conflicts.Inc()
		return ctrl.Result{}, nil
	case errors.Is(err, datastorage.ErrInvalid):
		log.Info("The audit trail refuses an event of a deleted execution; its events are kept and sent again later", "configMap", kept.Name, "again", refusedAgain.String(), "because", firstLine(err))
		return ctrl.Result{RequeueAfter: refusedAgain}, nil
	case err != nil:
		log.V(1).Info("Events of a deleted execution are not yet in the audit trail", "because", firstLine(err))
		return ctrl.Result{RequeueAfter: auditRecheck}, nil
	}
	log.Info("Events of a deleted execution are safe", "events", len(events))
	return ctrl.Result{}, client.IgnoreNotFound(c.Client.Delete(ctx, kept, client.Preconditions{UID: &kept.UID}))
}
