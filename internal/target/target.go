// Package target keeps the record of each target: who holds it, how its last runs
// ended, and what that says about the next one.
//
// The rules are pure functions over the record's status; Store writes what they
// say, always with the resourceVersion that was read, so that of two writers who
// saw the same record one wins and the other looks again. Time frees nothing.
package target

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Invalid is an error that no retry cures: the target resource names nothing that
// this cluster knows.
type Invalid struct{ Message string }

func (e *Invalid) Error() string { return e.Message }

func invalid(format string, args ...any) error { return &Invalid{fmt.Sprintf(format, args...)} }

// Canonical turns a target resource into the key of its record: the kind in lower
// case and singular, with its group when that is not the core group. Everybody
// who means the same object gets the same key. The error is *Invalid when the
// target resource is wrong, anything else when the cluster could not be asked.
func Canonical(kinds meta.RESTMapper, resource string) (string, error) {
	parts := strings.Split(resource, "/")
	namespace, kind, name := "", "", ""
	switch len(parts) {
	case 2:
		kind, name = parts[0], parts[1]
	case 3:
		namespace, kind, name = parts[0], parts[1], parts[2]
	default:
		return "", invalid("target %q is neither namespace/kind/name nor kind/name", resource)
	}
	m, err := mapping(kinds, kind)
	if meta.IsNoMatchError(err) {
		return "", invalid("target %s: this cluster knows no kind %s; list what it knows with: kubectl api-resources", resource, kind)
	}
	if err != nil {
		return "", fmt.Errorf("looking up kind %s of target %s: %w", kind, resource, err)
	}
	scoped := m.Scope.Name() == meta.RESTScopeNameNamespace
	switch {
	case scoped && namespace == "":
		return "", invalid("target %s: a %s lives in a namespace; write namespace/%s", resource, m.GroupVersionKind.Kind, resource)
	case !scoped && namespace != "":
		return "", invalid("target %s: a %s lives in no namespace; write %s/%s", resource, m.GroupVersionKind.Kind, kind, name)
	}
	canonical := strings.ToLower(m.GroupVersionKind.Kind)
	if g := m.GroupVersionKind.Group; g != "" {
		canonical += "." + g
	}
	if namespace == "" {
		return canonical + "/" + name, nil
	}
	return namespace + "/" + canonical + "/" + name, nil
}

// mapping finds a kind written as kubectl takes it: singular or plural, in any
// case, with or without its group.
func mapping(kinds meta.RESTMapper, kind string) (*meta.RESTMapping, error) {
	resource, group, _ := strings.Cut(strings.ToLower(kind), ".")
	gvk, err := kinds.KindFor(schema.GroupVersionResource{Group: group, Resource: resource})
	if err != nil {
		return nil, err
	}
	return kinds.RESTMapping(gvk.GroupKind(), gvk.Version)
}

// readable is how much of a key the name of its record shows.
const readable = 200

// RecordName is the name of the record of a key: a readable cut of it and enough
// of its SHA-256 to tell it from every other.
func RecordName(key string) string {
	sum := sha256.Sum256([]byte(key))
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return '-'
	}, key)
	clean = strings.ReplaceAll(clean[:min(len(clean), readable)], ".", "-")
	return strings.Trim(clean, "-") + "-" + hex.EncodeToString(sum[:8])
}
