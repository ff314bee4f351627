package identity

import "k8s.io/apimachinery/pkg/util/cache"

// SetClock makes a gate forget by another clock.
func (g *Gate) SetClock(c cache.Clock) {
	g.callers, g.rights = cache.NewLRUExpireCacheWithClock(remembered, c), cache.NewLRUExpireCacheWithClock(remembered, c)
}

// YesFor is how long a yes is kept.
const YesFor = yesFor

// AtOnce is how many questions may be under way.
const AtOnce = atOnce
