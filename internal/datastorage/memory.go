package datastorage

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/audit"
)

const (
	remembered  = 200_000 // events that are remembered to be parked, at some 40 bytes each
	recallEvery = 2 * time.Second

	askFor   = time.Second // how long the overflow may take to say what is parked
	askAgain = time.Second // how long it is left alone when it did not
)

// memory is what this process knows to be parked, for the time when the overflow
// cannot be asked. It holds 64 bits of an id and of a digest: by chance two ids share
// them once in so many events as nobody parks.
type memory struct {
	mu      sync.Mutex
	digests map[uint64]uint64
	lost    bool   // more is parked than is remembered
	changes uint64 // how often something was added
}

// verdict is what the memory says about an id.
type verdict int

const (
	free    verdict = iota // not parked, or parked with the same content
	other                  // parked with other content
	unknown                // perhaps parked
)

func (m *memory) verdict(id uuid.UUID, digest audit.Digest) verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.digests[short(id[:])]
	switch {
	case ok && known == short(digest[:]):
		return free
	case ok:
		return other
	case m.lost:
		return unknown
	}
	return free
}

// knows says whether an id is parked, as far as is remembered.
func (m *memory) knows(id uuid.UUID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.digests[short(id[:])]
	return known
}

func (m *memory) add(events []audit.Sealed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	for i := range events {
		m.set(events[i].Event.EventID, events[i].Digest)
	}
}

// set needs the lock. An id keeps what it named first.
func (m *memory) set(id uuid.UUID, digest audit.Digest) {
	if m.digests == nil {
		m.digests = map[uint64]uint64{}
	}
	key := short(id[:])
	if _, known := m.digests[key]; known {
		return
	}
	if len(m.digests) >= remembered {
		m.lost = true
		return
	}
	m.digests[key] = short(digest[:])
}

func short(b []byte) uint64 {
	// Version and variant of an id stand in bytes 6 and 8; its last bytes are as
	// random as its first, and an id made from the time has its time in front.
	return binary.BigEndian.Uint64(b[:8]) ^ binary.BigEndian.Uint64(b[8:16])
}

// replace makes the memory what fresh says, unless something was added since. Where
// that is not all, what is remembered stays.
func (m *memory) replace(fresh *memory, since uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changes != since {
		return
	}
	m.lost = fresh.lost
	if !fresh.lost {
		m.digests = fresh.digests
	}
}

func (m *memory) version() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changes
}

// remembering is an Overflow that fills the memory with what is parked through it. One
// that does not answer is left alone for a while: no write is to wait for it.
type remembering struct {
	Overflow
	memory *memory

	silentUntil atomic.Int64 // Unix time in ns until which it is not asked
}

// errSilent is the answer of an overflow that is left alone.
var errSilent = fmt.Errorf("the overflow did not answer just now: %w", ErrAway)

// Parked asks which of the ids are parked.
func (r *remembering) Parked(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]audit.Digest, error) {
	if time.Now().UnixNano() < r.silentUntil.Load() {
		return nil, errSilent
	}
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	parked, err := r.Overflow.Parked(asking, ids)
	if err != nil && ctx.Err() == nil { // it was not the caller who gave up
		r.silentUntil.Store(time.Now().Add(askAgain).UnixNano())
	}
	return parked, err
}

// Park remembers what was acknowledged. Of what may be parked although the answer was
// lost, nobody was told that it is safe.
func (r *remembering) Park(ctx context.Context, events []audit.Sealed) error {
	err := r.Overflow.Park(ctx, events)
	if err == nil {
		r.memory.add(events)
	}
	return err
}

// KeepMemory learns what other processes have parked, and forgets what has moved on,
// until ctx ends.
func (s *Server) KeepMemory(ctx context.Context) {
	for {
		s.recall(ctx)
		select {
		case <-time.After(recallEvery):
		case <-ctx.Done():
			return
		}
	}
}

// recall makes the memory what the overflow says. One that is away leaves it as it is.
func (s *Server) recall(ctx context.Context) {
	version := s.memory.version()
	waiting, poisoned, err := s.parking.Count(ctx)
	if err != nil {
		return
	}
	parked := waiting + poisoned // those moved aside keep their ids
	fresh := &memory{lost: parked > remembered}
	if parked > 0 && !fresh.lost {
		err = s.recorder.overflow.Each(ctx, func(id uuid.UUID, digest audit.Digest) { fresh.set(id, digest) })
	}
	if err == nil {
		s.memory.replace(fresh, version)
	}
}
