package environment

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/environment/report"
)

// sampleEvery is how often the cluster's use of the machine is looked at: it
// cannot be watched, and its peak is not kept without the cache of files.
const sampleEvery = 500 * time.Millisecond

// metered is a cluster that knows what it takes of this machine.
type metered interface {
	Usage() (cluster.Usage, error)
}

// meter looks at what the cluster takes while a plan runs.
type meter struct {
	cancel context.CancelFunc
	done   chan struct{}
	usage  report.Usage
}

func (w *world) measure(ctx context.Context) *meter {
	ctx, cancel := context.WithCancel(ctx)
	m := &meter{cancel: cancel, done: make(chan struct{}), usage: report.Usage{Cores: runtime.NumCPU()}}
	c, err := w.anyCluster()
	measured, ok := c.(metered)
	if err != nil || !ok {
		close(m.done)
		return m
	}
	go m.run(ctx, measured)
	return m
}

func (m *meter) run(ctx context.Context, c metered) {
	defer close(m.done)
	began := time.Now()
	var before time.Duration // what a cluster that ran already had used
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if u, err := c.Usage(); err == nil { // it has none before it is started
			if len(m.usage.Samples) == 0 && time.Since(began) < sampleEvery {
				before = u.CPU
			}
			m.add(report.Sample{At: time.Since(began).Seconds(), Bytes: u.Bytes, CPUSeconds: (u.CPU - before).Seconds()})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *meter) add(s report.Sample) {
	m.usage.Samples = append(m.usage.Samples, s)
	m.usage.PeakBytes = max(m.usage.PeakBytes, s.Bytes)
	m.usage.CPUSeconds = s.CPUSeconds
}

// mostSamples keeps the report of a long run small.
const mostSamples = 400

// stop returns what was seen, nil when nothing was.
func (m *meter) stop() *report.Usage {
	m.cancel()
	<-m.done
	if len(m.usage.Samples) == 0 {
		return nil
	}
	if every := len(m.usage.Samples)/mostSamples + 1; every > 1 {
		var fewer []report.Sample
		for i := 0; i < len(m.usage.Samples); i += every {
			fewer = append(fewer, m.usage.Samples[i])
		}
		m.usage.Samples = fewer
	}
	return &m.usage
}

// imageTimes is how long each image took to be made, loaded and pushed.
type imageTimes struct {
	mu     sync.Mutex
	byName map[string]*report.Image
}

// note runs the work on an image and notes how long it took.
func (t *imageTimes) note(name string, field func(*report.Image) *float64, work func() error) error {
	began := time.Now()
	err := work()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName == nil {
		t.byName = map[string]*report.Image{}
	}
	if t.byName[name] == nil {
		t.byName[name] = &report.Image{Name: name}
	}
	if took := time.Since(began); took >= briefly {
		*field(t.byName[name]) += took.Seconds()
	}
	return err
}

// briefly is how long it takes to find that an image is there.
const briefly = 50 * time.Millisecond

func (t *imageTimes) each(do func(*report.Image)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range t.byName {
		do(i)
	}
}

func (t *imageTimes) sorted() []report.Image {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []report.Image
	for _, i := range t.byName {
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b report.Image) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func made(i *report.Image) *float64   { return &i.MadeSeconds }
func loaded(i *report.Image) *float64 { return &i.LoadedSeconds }
func pushed(i *report.Image) *float64 { return &i.PushedSeconds }
