package datastorage

import (
	"cmp"
	"math"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/cache"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// Limits bound what one client can ask for. A zero value means the default.
type Limits struct {
	BatchEvents       int     // events in one batch; default and at most 1000
	BodyBytes         int     // bytes of a body after decompression; default 16 MiB
	BodiesBytes       int     // bytes of all large bodies that are worked on at once; default twice BodyBytes
	RequestsPerSecond float64 // of one caller; default 5000
	Burst             int     // requests of one caller at once; default twice as many
}

func (l Limits) withDefaults() Limits {
	l.BatchEvents = cmp.Or(l.BatchEvents, api.MaxBatchEvents)
	l.BodyBytes = cmp.Or(l.BodyBytes, api.MaxBodyBytes)
	l.BodiesBytes = max(cmp.Or(l.BodiesBytes, 2*l.BodyBytes), l.BodyBytes)
	l.RequestsPerSecond = cmp.Or(l.RequestsPerSecond, 5000)
	l.Burst = cmp.Or(l.Burst, int(2*l.RequestsPerSecond))
	return l
}

// announce tells the client the limits that it can keep to.
func (l Limits) announce(h http.Header) {
	h.Set(api.HeaderMaxBatchEvents, strconv.Itoa(l.BatchEvents))
	h.Set(api.HeaderMaxBodyBytes, strconv.Itoa(l.BodyBytes))
	h.Set(api.HeaderMaxDataBytes, strconv.Itoa(audit.MaxDataBytes))
	h.Set(api.HeaderMaxDataDepth, strconv.Itoa(audit.MaxDataDepth))
	h.Set(api.HeaderRate, strconv.FormatFloat(l.RequestsPerSecond, 'f', -1, 64))
}

const (
	pacedCallers = 4096 // callers whose pace is kept; the least recent are forgotten
	pacedFor     = 10 * time.Minute
)

// pacer keeps each caller to the allowed rate.
type pacer struct {
	limits  Limits
	callers *cache.LRUExpireCache
}

func newPacer(l Limits) *pacer { return &pacer{l, cache.NewLRUExpireCache(pacedCallers)} }

// admit returns nil, or the answer for a caller who is too fast.
func (p *pacer) admit(caller string) *problem {
	v, ok := p.callers.Get(caller)
	if !ok { // two requests may both make one; the second wins, which is harmless
		v = rate.NewLimiter(rate.Limit(p.limits.RequestsPerSecond), p.limits.Burst)
		p.callers.Add(caller, v, pacedFor)
	}
	r := v.(*rate.Limiter).Reserve()
	wait := r.Delay()
	if wait == 0 {
		return nil
	}
	r.Cancel()
	return &problem{
		status: http.StatusTooManyRequests, kind: "too-fast", retryAfter: int(math.Ceil(wait.Seconds())),
		detail: "more requests than one client may send; slow down, or send events in batches",
	}
}
