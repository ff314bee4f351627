package controller

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Sweeper removes settled executions that were kept long enough. Nobody watches
// them: it reads their metadata, page by page.
type Sweeper struct {
	Client client.Client
	Reader client.Reader // past every cache: settled executions are in none
	Now    func() time.Time
	// Keep is how long an execution is kept after its end, by the phase it ended in.
	// A phase that is not named, or 0: for ever.
	Keep map[v1alpha1.Phase]time.Duration
}

// How often the sweeper looks, when nothing expires earlier or later, and how much
// it reads at a time.
const (
	sweepSoonest = time.Minute
	sweepLatest  = time.Hour
	sweepPage    = 500
)

// Start sweeps until ctx ends.
func (s *Sweeper) Start(ctx context.Context) error {
	for {
		next, err := s.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "Executions that were kept long enough could not be removed; it is tried again", "after", sweepSoonest)
			next = sweepSoonest
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// Sweep removes what has expired and says when to look again.
func (s *Sweeper) Sweep(ctx context.Context) (next time.Duration, err error) {
	next = sweepLatest
	for phase, keep := range s.Keep {
		if keep <= 0 {
			continue
		}
		left, err := s.sweep(ctx, phase, keep)
		if err != nil {
			return sweepSoonest, err
		}
		next = min(next, max(left, sweepSoonest))
	}
	return next, nil
}

// sweep removes the expired executions of one phase and returns how long it is until
// the next of them expires.
func (s *Sweeper) sweep(ctx context.Context, phase v1alpha1.Phase, keep time.Duration) (next time.Duration, err error) {
	next = sweepLatest
	for after := ""; ; {
		page := &metav1.PartialObjectMetadataList{}
		page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WorkflowExecutionList"))
		err := s.Reader.List(ctx, page, client.MatchingLabels{v1alpha1.LabelSettled: string(phase)}, client.Limit(sweepPage), client.Continue(after))
		if err != nil {
			return 0, fmt.Errorf("listing executions that are %s: %w", phase, err)
		}
		for i := range page.Items {
			left := endOf(&page.Items[i]).Add(keep).Sub(s.Now())
			if left > 0 {
				next = min(next, left)
				continue
			}
			if err := s.remove(ctx, &page.Items[i]); err != nil {
				return 0, err
			}
		}
		if after = page.Continue; after == "" {
			return next, nil
		}
	}
}

// endOf is when a settled execution ended; one that does not say it counts from its
// creation.
func endOf(m *metav1.PartialObjectMetadata) time.Time {
	at, err := time.Parse(time.RFC3339, m.Annotations[v1alpha1.AnnotationCompletedAt])
	if err != nil {
		return m.CreationTimestamp.Time
	}
	return at
}

func (s *Sweeper) remove(ctx context.Context, m *metav1.PartialObjectMetadata) error {
	m.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WorkflowExecution"))
	if err := s.Client.Delete(ctx, m, client.Preconditions{UID: &m.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing execution %s/%s: %w", m.Namespace, m.Name, err)
	}
	return nil
}
