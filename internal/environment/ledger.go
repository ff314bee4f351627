package environment

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// ledger remembers what was applied, so that what has not changed on either
// side since is not sent again. It is only a memory: without it, or with a part
// of it, everything is applied again, to the same effect.
type ledger struct {
	path string

	mu      sync.Mutex
	Entries map[string]entry
}

// entry is one object as it was applied.
type entry struct {
	Content string      // digest of what was sent
	UID     types.UID   // of the object that came of it
	Fields  string      // digest of the fields we owned then: another writer of one of them takes it from us
	Object  plan.Object // as the cluster names it
}

// openLedger reads the ledger at path; one that is missing or damaged is empty.
func openLedger(path string) *ledger {
	l := &ledger{path: path, Entries: map[string]entry{}}
	raw, err := os.ReadFile(path)
	if err == nil && json.Unmarshal(raw, &l.Entries) != nil {
		l.Entries = map[string]entry{}
	}
	return l
}

// unchanged tells whether the object in the cluster is what the manifest makes.
func (l *ledger) unchanged(manifest, found *unstructured.Unstructured) bool {
	l.mu.Lock()
	known, ok := l.Entries[key(manifest)]
	l.mu.Unlock()
	return ok && known == entryOf(manifest, found)
}

func (l *ledger) knows(manifest *unstructured.Unstructured) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Entries[key(manifest)].Content == content(manifest)
}

func (l *ledger) note(manifest, applied *unstructured.Unstructured) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Entries[key(manifest)] = entryOf(manifest, applied)
}

// objects are all that was applied, in a fixed order.
func (l *ledger) objects() []plan.Object {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []plan.Object
	for _, name := range slices.Sorted(maps.Keys(l.Entries)) {
		if o := l.Entries[name].Object; o != (plan.Object{}) { // an older release did not note it
			all = append(all, o)
		}
	}
	return all
}

// keep writes the ledger, in one step.
func (l *ledger) keep() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	raw, err := json.MarshalIndent(l.Entries, "", " ")
	if err != nil {
		return err
	}
	aside := l.path + ".new"
	if err := os.WriteFile(aside, raw, 0o644); err != nil {
		return fmt.Errorf("keeping what was applied: %w", err)
	}
	if err := os.Rename(aside, l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keeping what was applied: %w", err)
	}
	return nil
}

func key(u *unstructured.Unstructured) string {
	o := derive.Of(u)
	return plan.Object{Kind: u.GroupVersionKind().GroupKind().String(), Namespace: o.Namespace, Name: o.Name}.String()
}

func entryOf(manifest, found *unstructured.Unstructured) entry {
	return entry{Content: content(manifest), UID: found.GetUID(), Fields: ownedFields(found), Object: derive.Of(found)}
}

func content(u *unstructured.Unstructured) string {
	raw, err := u.MarshalJSON()
	if err != nil {
		return "" // it cannot be sent either, and that is reported
	}
	return digest(raw)
}

func ownedFields(u *unstructured.Unstructured) string {
	for _, f := range u.GetManagedFields() {
		if f.Manager == manager && f.Operation == metav1.ManagedFieldsOperationApply && f.FieldsV1 != nil {
			return digest(f.FieldsV1.GetRawBytes())
		}
	}
	return ""
}

func digest(raw []byte) string { return fmt.Sprintf("%.12x", sha256.Sum256(raw)) }
