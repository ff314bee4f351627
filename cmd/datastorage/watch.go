package main

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

const (
	watchEvery = 2 * time.Second
	watchFor   = 5 * time.Second // for one question
	watchPG    = "postgresql"
	watchRedis = "redis"
)

// watch asks the dependencies how they are, again and again. The service is ready
// from when its database was first seen to be usable; after that it stays ready
// while events can be stored or parked.
type watch struct {
	parts   parts
	metrics *datastorage.Metrics
	log     *slog.Logger
	ended   chan struct{} // closed by end

	mu     sync.Mutex
	checks map[string]string // what each dependency said; "ok" or why not
	seen   bool              // the database was usable once
	ending bool
}

func newWatch(p parts, m *datastorage.Metrics) *watch {
	return &watch{parts: p, metrics: m, log: p.log, ended: make(chan struct{}), checks: map[string]string{watchPG: "not asked yet"}}
}

// run asks until ctx ends.
func (w *watch) run(ctx context.Context) {
	for {
		w.ask(ctx, watchPG, w.askPostgreSQL)
		if w.parts.parked != nil {
			w.ask(ctx, watchRedis, w.askRedis)
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) askRedis(ctx context.Context) error {
	parked := w.parts.parked
	waiting, poisoned, err := parked.Count(ctx)
	if err != nil {
		return err
	}
	oldest, err := parked.OldestAge(ctx)
	if err != nil {
		return err
	}
	w.metrics.Overflow(datastorage.Overflowing{
		Waiting: waiting, Poisoned: poisoned, Capacity: parked.Capacity(), Oldest: oldest, Moved: parked.Moved(),
	})
	return nil
}

func (w *watch) askPostgreSQL(ctx context.Context) error {
	store := w.parts.store
	used, idle, limit := store.Connections()
	w.metrics.Database(used, idle, limit, store.MonthsAhead(time.Now()))
	return store.Ready(ctx)
}

// ask asks one dependency and says aloud when its answer has changed.
func (w *watch) ask(ctx context.Context, name string, ready func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, watchFor)
	defer cancel()
	err := ready(ctx)
	w.metrics.Up(name, err == nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.checks[name]
	if err == nil {
		w.checks[name] = "ok"
		w.seen = w.seen || name == watchPG
	} else {
		w.checks[name] = "unavailable; the log says why"
	}
	switch {
	case was == w.checks[name]:
	case err == nil:
		w.log.Info("Dependency is usable", "dependency", name)
	default:
		w.log.Warn("Dependency is not usable", "dependency", name, "error", err)
	}
}

// Ready implements datastorage.Health.
func (w *watch) Ready() (bool, map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	checks := maps.Clone(w.checks)
	if w.ending {
		checks["service"] = "ending"
	}
	usable := w.checks[watchPG] == "ok" || w.checks[watchRedis] == "ok"
	return w.seen && usable && !w.ending, checks
}

// end turns readiness off for good, and ends what would go on for ever. It is called once.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ending = true
	close(w.ended)
}
