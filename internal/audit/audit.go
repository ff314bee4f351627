// Package audit says what an audit event is: which values its members may have,
// what its id is, which bytes stand for its content, and their digest.
//
//	Event ──► Check ──► Seal ──► Sealed{Content, Digest}
//
// It reads no clock, no network and no database. Whoever makes events, keeps
// them or verifies them shares these rules and nothing else.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// Event is one thing that happened, as the HTTP contract has it.
type Event = datastorage.AuditEvent

// eventSpace is the name space of the ids of events.
var eventSpace = uuid.MustParse("6f0b3f9e-6d0c-5c1b-9a43-0d6f2c1a7e55")

// EventID names one transition of one execution, given by its UID: the same fact
// always has the same id, so sending it twice stores it once.
func EventID(execution, transition string) uuid.UUID {
	return uuid.NewSHA1(eventSpace, []byte(execution+"/"+transition))
}

// Digest is the SHA-256 of the bytes of an event's content.
type Digest [sha256.Size]byte

// String writes the digest as "sha256:" and 64 hexadecimal digits.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// Sealed is an event in the form in which it is kept, with its content fixed.
type Sealed struct {
	Event      Event     // times in UTC to the microsecond, event_data canonical
	Content    []byte    // what the digest is of: see Seal
	Digest     Digest    // SHA-256 of Content
	ReceivedAt time.Time // when the server took it; not part of the content
}

// SameContent says whether two events with one id are the same event.
func (s Sealed) SameContent(other Sealed) bool { return s.Digest == other.Digest }

// ParseDigest reads what Digest.String wrote.
func ParseDigest(text string) (Digest, error) {
	var d Digest
	raw, found := strings.CutPrefix(text, "sha256:")
	n, err := hex.Decode(d[:], []byte(raw[:min(len(raw), 2*len(d))]))
	if !found || err != nil || n != len(d) || len(raw) != 2*len(d) {
		return Digest{}, fmt.Errorf("%q is not a digest like sha256:9f86d0…", text)
	}
	return d, nil
}
