package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The addresses of a node. They are the same for every cluster, because no
// other network can see them.
const (
	nodeIP      = "10.20.0.1"
	podCIDR     = "10.244.0.0/24"
	serviceCIDR = "10.96.0.0/16"
	serviceIP   = "10.96.0.1" // of the Service kubernetes in namespace default

	// ClusterDNS is where pods look for DNS: the Service of whatever is
	// installed for it must have this cluster IP.
	ClusterDNS = "10.96.0.10"
)

// Registry is an image registry inside the cluster, as its node sees it.
type Registry struct {
	Host    string // as in image references: "registry.example.svc:5000"
	Address string // the cluster IP of its Service
	CA      []byte // PEM of the authority that its certificate is issued by
}

// node is what init must know about the node it is. It is written by Up and
// read by init.
type node struct {
	Name     string // of the cluster
	Dir      string // the node's folder; the same path on the machine and in the node
	Content  string // containerd's store, which outlives the cluster
	Pause    string // reference of the image that holds a pod's namespaces
	CNI      string // folder of the network plugins
	Runc     string
	Registry *Registry `json:",omitempty"`
	Audited  bool      `json:",omitempty"` // the API server writes an audit log
}

func (n node) hostname() string { return "kubernaut-" + n.Name }

func (n node) path(parts ...string) string {
	return filepath.Join(append([]string{n.Dir}, parts...)...)
}

func (n node) program(name string) string { return n.path("bin", name) }
func (n node) config(name string) string  { return n.path("config", name) }
func (n node) cert(name string) string    { return n.path("pki", name+".crt") }
func (n node) key(name string) string     { return n.path("pki", name+".key") }
func (n node) log(name string) string     { return n.path("logs", name+".log") }

// record is what the machine's side remembers of a running node.
type record struct {
	Init    process
	Port    int // on the machine's loopback, of the API server
	Started time.Time
}

func (n node) recordFile() string { return n.path("record.json") }
func (n node) statusFile() string { return n.path("status.json") }
func (n node) nodeFile() string   { return n.path("node.json") }

func readJSON(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces the file in one step.
func writeJSON(path string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	aside := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(aside, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(aside, path)
}
