package datastorage

import (
	"context"
	"fmt"
	"net/http"

	"golang.org/x/sync/semaphore"
)

// bodies bounds what the large bodies under way take together.
type bodies struct {
	room *semaphore.Weighted
}

// place is what one request has taken of the room.
type place struct{ bytes int64 }

type placeKey struct{}

func newBodies(bytes int) *bodies { return &bodies{semaphore.NewWeighted(int64(bytes))} }

// bound gives back what a request has taken, when it has been answered.
func (b *bodies) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mine := &place{}
		defer func() { b.room.Release(mine.bytes) }()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), placeKey{}, mine)))
	})
}

// wait waits for room for the body of a request. Where its size is not known it may
// be as large as the limit.
func (b *bodies) wait(r *http.Request, limit int64) error {
	mine, ok := r.Context().Value(placeKey{}).(*place)
	if !ok {
		return nil // a handler without bound
	}
	bytes := limit
	if n := r.ContentLength; n >= 0 && n < limit && r.Header.Get("Content-Encoding") == "" {
		bytes = n
	}
	if err := b.room.Acquire(r.Context(), bytes); err != nil {
		return fmt.Errorf("waiting for room for a large body: %w: %w", ErrBusy, err)
	}
	mine.bytes = bytes
	return nil
}
