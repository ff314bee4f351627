package diagnose

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// Snapshot is everything that a diagnosis knows. It holds no secret value but in
// its Mask, which is never written.
type Snapshot struct {
	Taken        time.Time                      `json:"taken"`
	Namespaces   []string                       `json:"namespaces,omitempty"` // whose content was read
	Unreadable   []string                       `json:"unreadable,omitempty"` // kinds that could not be read: nothing follows from their absence
	Objects      []*unstructured.Unstructured   `json:"objects,omitempty"`
	Logs         []Log                          `json:"logs,omitempty"`
	Requested    map[string]corev1.ResourceList `json:"requested,omitempty"`    // by the pods of each node
	Certificates []Certificate                  `json:"certificates,omitempty"` // public parts of what Secrets hold
	Logins       []Login                        `json:"logins,omitempty"`
	Awaited      []plan.Object                  `json:"awaited,omitempty"` // objects that somebody waits for
	Steps        []Step                         `json:"steps,omitempty"`
	Unfinished   bool                           `json:"unfinished,omitempty"` // not everything was applied: what lacks its other half says nothing yet
	Server       Server                         `json:"server,omitzero"`
	Mask         Mask                           `json:"-"` // takes the secrets that were read out of other texts
}

// MaskSteps takes secrets out of what the steps said. Whoever gave the steps
// keeps theirs.
func (s *Snapshot) MaskSteps() {
	s.Steps = slices.Clone(s.Steps)
	for i := range s.Steps {
		s.Steps[i].Error = s.Mask.Text(s.Steps[i].Error)
	}
}

// Log is the end of a container's log.
type Log struct {
	Namespace string   `json:"namespace"`
	Pod       string   `json:"pod"`
	Container string   `json:"container"`
	Previous  bool     `json:"previous,omitempty"` // of the life before the present one
	Lines     []string `json:"lines"`
}

// Certificate is the public part of one certificate in a Secret.
type Certificate struct {
	Secret    plan.Object `json:"secret"` // with its key
	NotBefore time.Time   `json:"notBefore"`
	NotAfter  time.Time   `json:"notAfter"`
	Names     []string    `json:"names,omitempty"`
}

// Login is a name with which a pull secret logs in to a registry.
type Login struct {
	Secret plan.Object `json:"secret"`
	Host   string      `json:"host"`
	User   string      `json:"user"`
}

// Step is a step of the plan that failed by itself.
type Step struct {
	Name     string      `json:"name"`
	Error    string      `json:"error"`
	At       time.Time   `json:"at,omitzero"`       // when, in an Up that is over; zero: just now
	Object   plan.Object `json:"object,omitzero"`   // that did not become ready
	Skipped  []string    `json:"skipped,omitempty"` // steps that never came to their end because of it
	Findings []Finding   `json:"findings,omitempty"`
}

// Server says why the API server does not answer; zero when it does.
type Server struct {
	Address    string      `json:"address,omitempty"`
	Error      string      `json:"error,omitempty"`
	Components []Component `json:"components,omitempty"` // of the cluster itself that do not run
}

// Component is a process of the cluster that is not ready.
type Component struct {
	Name    string   `json:"name"`
	Problem string   `json:"problem"`
	Log     string   `json:"log,omitempty"` // path
	Lines   []string `json:"lines,omitempty"`
}
