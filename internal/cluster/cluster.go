// Package cluster says what a place is in which an environment can run. Each
// kind of place is a package below this one.
package cluster

import (
	"context"
	_ "embed"
	"time"
)

// AuditPolicy says what an API server writes down that is asked for an audit log.
//
//go:embed audit-policy.yaml
var AuditPolicy []byte

// Cluster is one Kubernetes cluster for one environment. All methods may be
// called again and again, by several processes, and after any of them was
// killed in the middle.
type Cluster interface {
	// Up makes sure that the cluster runs and its node is ready. On a running
	// cluster it takes milliseconds. say is told what is being waited for.
	Up(ctx context.Context, say func(note string)) error

	// Down ends the cluster and removes all it put on the machine. It is no
	// error when there is nothing.
	Down(ctx context.Context) error

	// Status looks at the cluster and changes nothing.
	Status(ctx context.Context) (Status, error)

	// Kubeconfig returns the administrator's kubeconfig. It is never written
	// into the user's own.
	Kubeconfig(ctx context.Context) ([]byte, error)

	// LoadImage gives the node every image of an archive (OCI layout or
	// docker-archive, a tar file), so that pods start them without pulling.
	LoadImage(ctx context.Context, archive string) error
}

// State is what one can say about a cluster in a word.
type State string

// The states of a cluster.
const (
	Absent   State = "Absent"   // nothing runs
	Starting State = "Starting" // something runs, not everything is ready
	Ready    State = "Ready"    // the API answers and the node is ready
)

// Status is a cluster as it was seen at one moment.
type Status struct {
	State      State       `json:"state"`
	Problem    string      `json:"problem,omitempty"` // why it is not ready
	Server     string      `json:"server,omitempty"`  // URL of the API server, from the host
	Since      time.Time   `json:"since,omitzero"`    // when it was started
	Logs       string      `json:"logs,omitempty"`    // folder of the components' logs
	Components []Component `json:"components,omitempty"`
}

// Usage is what a cluster takes of the machine.
type Usage struct {
	Bytes int64         // memory, without the cache of files
	CPU   time.Duration // of all its processes since it started
}

// Component is one process of the cluster itself.
type Component struct {
	Name     string    `json:"name"`
	Ready    bool      `json:"ready"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since,omitzero"` // when it was last started
	Problem  string    `json:"problem,omitempty"`
}
