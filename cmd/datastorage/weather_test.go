package main

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage/overflow"
	"kubernaut.ai/kubernaut/test/servers"
)

// What the soak lets the database take, so that a silence can be longer.
const (
	soakConnect   = 2 * time.Second
	soakStatement = 3 * time.Second
)

// weather is what breaks.
type weather struct {
	*storm
	random         *rand.Rand
	pg             *servers.Postgres
	redis          *servers.RedisServer
	toPG, toRedis  *servers.Proxy
	killed, broken int
}

// killings are what is killed at once. A soak goes through all of them first.
var killings = [][]string{
	{"postgresql"}, {"service"}, {"redis"}, {"postgresql", "service"}, {"redis", "service"},
	{"postgresql", "redis"}, {"postgresql", "redis", "service"},
}

// awaitRedriven waits until nothing is parked any more. Only lies may have been moved
// aside.
func (w *weather) awaitRedriven() {
	w.t.Helper()
	parked, err := overflow.Open(w.redis.URL(), 0, slog.New(slog.DiscardHandler))
	must(w.t, err)
	defer func() { _ = parked.Close() }()
	awaitCount(w.t, parked, 0)
	for place := ""; ; {
		aside, err := parked.List(w.t.Context(), api.ParkedQueuePoisoned, place, 1000)
		must(w.t, err)
		if len(aside) == 0 {
			return
		}
		for _, e := range aside {
			if !strings.Contains(e.Content, lie) {
				w.t.Errorf("event %s was moved aside and is no lie: %s", e.EventID, e.Reason)
			}
			place = e.Place
		}
	}
}

// fault is how connections break, and for how long at least.
type fault struct {
	servers.Fault
	least time.Duration
}

// faults are how connections break. The last is a silence that outlasts all that waits
// for the database.
func (w *weather) faults() []fault {
	return []fault{
		{Fault: servers.Fault{Refuse: true}}, {Fault: servers.Fault{Silence: true}}, {Fault: servers.Fault{Deaf: true}},
		{Fault: servers.Fault{After: 1 + w.random.IntN(200_000)}},
		{Fault: servers.Fault{Delay: time.Duration(1+w.random.IntN(100)) * time.Millisecond}},
		{Fault: servers.Fault{Silence: true}, least: soakConnect + soakStatement},
	}
}

// blow breaks one thing after the other until a time has come and each kind was had.
func (w *weather) blow(until time.Time) {
	w.t.Helper()
	kinds := len(w.faults())
	for round := 0; round < len(killings)+kinds || time.Now().Before(until); round++ {
		w.progress(30)
		switch {
		case round < len(killings):
			w.kill(killings[round])
		case round < len(killings)+kinds:
			kind := round - len(killings)
			w.disturb(kind%2 == 1, w.faults()[kind]) // the long silence is that of PostgreSQL
		case w.random.IntN(2) == 0:
			w.kill(killings[w.random.IntN(len(killings))])
		default:
			w.disturb(w.random.IntN(2) == 0, w.faults()[w.random.IntN(kinds)])
		}
		w.program.await("/health/ready", http.StatusOK)
	}
	w.t.Logf("%d times something was killed, %d times a connection was broken", w.killed, w.broken)
}

func (w *weather) kill(together []string) {
	w.t.Helper()
	w.killed++
	crash := map[string]func(){"postgresql": w.pg.Kill, "redis": w.redis.Kill, "service": w.program.kill}
	revive := map[string]func(){"postgresql": w.pg.Restart, "redis": w.redis.Restart, "service": w.program.start}
	for _, name := range together {
		crash[name]()
	}
	w.pause(0, 700)
	for _, name := range together {
		revive[name]()
	}
}

func (w *weather) disturb(pg bool, f fault) {
	w.broken++
	proxy := w.toRedis
	if pg {
		proxy = w.toPG
	}
	proxy.Break(f.Fault)
	w.pause(f.least, 1500)
	proxy.Restore()
}

// pause is how long a fault lasts: at least so long, and up to so many milliseconds more.
func (w *weather) pause(least time.Duration, more int) {
	<-time.After(least + time.Duration(w.random.IntN(more))*time.Millisecond)
}
