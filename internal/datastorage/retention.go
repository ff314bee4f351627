package datastorage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

const (
	retentionLook  = time.Hour // how often a due run is looked for
	retentionTries = 5         // for one month that somebody reads
	retentionPause = time.Second
)

// by is who the service is when nobody asked it.
var itself = Caller{Type: "service", ID: "datastorage"}

// PlanRetention says what a run would remove now.
func (s *Server) PlanRetention(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, Access{"admin", auditEvents}, func(ctx context.Context, _ Caller) (answer, error) {
		months, err := s.retention.PlanRetention(ctx, s.policies)
		return answer{http.StatusOK, api.RetentionPlan{Policies: list(s.policies), Months: list(months)}}, err
	})
}

// RunRetention removes now what the policies do not keep.
func (s *Server) RunRetention(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, Access{"admin", auditEvents}, func(ctx context.Context, who Caller) (answer, error) {
		report, _, err := s.retain(ctx, who, 0)
		return answer{http.StatusOK, report}, err
	})
}

// KeepRetention runs retention every so often until ctx ends, on one replica at a
// time. Without policies it does nothing.
func (s *Server) KeepRetention(ctx context.Context, every time.Duration) {
	for len(s.policies) > 0 {
		report, begun, err := s.retain(ctx, itself, every)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Warn("Retention was not applied", "error", err, "again", retentionLook)
		case begun:
			s.log.Info("Retention applied", "run", report.RunID, "months", len(report.Removed))
		}
		select {
		case <-time.After(min(retentionLook, every)):
		case <-ctx.Done():
			return
		}
	}
}

// retain removes what no policy and no hold keeps. That it is about to is in the
// trail before anything is removed, and what became of it afterwards.
func (s *Server) retain(ctx context.Context, who Caller, since time.Duration) (api.RetentionReport, bool, error) {
	report := api.RetentionReport{RunID: uuid.New(), Removed: []api.RetentionRemoval{}}
	begun, err := s.retention.BeginRetention(ctx, report.RunID, who.ID, since)
	if err != nil || !begun {
		return report, begun, err
	}
	s.metrics.retentionBegan(s.now())
	months, err := s.retention.PlanRetention(ctx, s.policies)
	if err != nil {
		return report, true, err
	}
	if err := s.noteRetention(ctx, who, "retention.started", report.RunID, map[string]any{"policies": s.policies, "plan": planned(months)}); err != nil {
		return report, true, err
	}
	for _, month := range months {
		if month.Expired > 0 || month.Whole {
			report.Removed = append(report.Removed, s.retainMonth(ctx, report.RunID, month.Month))
		}
	}
	err = s.noteRetention(ctx, who, "retention.completed", report.RunID, map[string]any{"removed": report.Removed})
	if err == nil {
		s.metrics.retentionEnded(s.now())
	}
	return report, true, err
}

// retainMonth removes what goes of one month, and tries again while somebody reads it.
func (s *Server) retainMonth(ctx context.Context, run uuid.UUID, month string) api.RetentionRemoval {
	removal := api.RetentionRemoval{Month: month}
	for try := 1; ; try++ {
		events, whole, err := s.retention.ApplyRetention(ctx, run, s.policies, month)
		removal.Events += events
		removal.Whole = whole
		s.metrics.retained(events)
		if err == nil {
			return removal
		}
		if !errors.Is(err, ErrBusy) || try == retentionTries || !pause(ctx, retentionPause) {
			s.log.Warn("A month was left for the next run of retention", "month", month, "error", err)
			removal.Left = "the database was busy with this month, or away; the next run goes on"
			return removal
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// planned is the part of a plan that goes, small enough for an event.
func planned(months []api.RetentionMonth) []api.RetentionMonth {
	const most = 500
	goes := []api.RetentionMonth{}
	for _, m := range months {
		if (m.Expired > 0 || m.Held > 0 || m.Whole) && len(goes) < most {
			goes = append(goes, m)
		}
	}
	return goes
}

func (s *Server) noteRetention(ctx context.Context, who Caller, action string, run uuid.UUID, data map[string]any) error {
	data["run_id"] = run
	return s.note(ctx, who, note{subject: run, action: action, correlation: fmt.Sprint("retention-", run), at: s.now(), data: data})
}
