package kind

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"kubernaut.ai/kubernaut/internal/cluster"
)

// trustFolder is where containerd in the nodes looks for how to reach registries.
const trustFolder = "/etc/containerd/certs.d"

// cgroups lets the machine decide which version of control groups there is. Left
// alone, the kubelet refuses to start on version 1.
const cgroups = `kind: KubeletConfiguration
failCgroupV1: false
`

// auditFolder is where the node and the API server in it find the policy of the
// audit log, and the log.
const auditFolder = "/kubernaut-audit"

const (
	auditPolicy = "policy.yaml"
	auditLog    = "audit.log"
)

const audited = `kind: ClusterConfiguration
apiServer:
  extraArgs:
    - {name: audit-policy-file, value: ` + auditFolder + "/" + auditPolicy + `}
    - {name: audit-log-path, value: ` + auditFolder + "/" + auditLog + `}
  extraVolumes:
    - {name: audit, hostPath: ` + auditFolder + `, mountPath: ` + auditFolder + `, pathType: Directory}
`

// config is one node that trusts the registry.
func (c *Cluster) config() *v1alpha4.Cluster {
	cfg := &v1alpha4.Cluster{
		TypeMeta:   v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Networking: v1alpha4.Networking{APIServerAddress: "127.0.0.1", APIServerPort: int32(c.options.Port)},
		Nodes: []v1alpha4.Node{{
			Role:        v1alpha4.ControlPlaneRole,
			Image:       c.options.Image,
			ExtraMounts: []v1alpha4.Mount{{HostPath: c.trust(), ContainerPath: trustFolder, Readonly: true}},
		}},
		KubeadmConfigPatches: []string{cgroups},
		ContainerdConfigPatches: []string{
			"[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"" + trustFolder + "\"\n",
		},
	}
	if c.options.AuditLog {
		cfg.Nodes[0].ExtraMounts = append(cfg.Nodes[0].ExtraMounts, v1alpha4.Mount{HostPath: c.audit(), ContainerPath: auditFolder})
		cfg.KubeadmConfigPatches = append(cfg.KubeadmConfigPatches, audited)
	}
	return cfg
}

func (c *Cluster) trust() string { return filepath.Join(c.options.Dir, "certs.d") }

// writeTrust tells the nodes' containerd at which address the registry is, and
// who signs for it. Its name is asked for nowhere: a node would wait for the answer.
func (c *Cluster) writeTrust() error {
	r := c.options.Registry
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		return fmt.Errorf("registry %q: %w", r.Host, err)
	}
	dir := filepath.Join(c.trust(), r.Host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	inside := trustFolder + "/" + r.Host + "/ca.crt"
	hosts := fmt.Sprintf("server = \"https://%s:%s\"\ncapabilities = [\"pull\", \"resolve\"]\nca = %q\n", r.Address, port, inside)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644),
		os.WriteFile(filepath.Join(dir, "ca.crt"), r.CA, 0o644),
	)
}

func (c *Cluster) audit() string { return filepath.Join(c.options.Dir, "audit") }

// AuditLog is the file that the API server writes its audit log to, when it was
// asked to.
func (c *Cluster) AuditLog() string { return filepath.Join(c.audit(), auditLog) }

func (c *Cluster) writeAuditPolicy() error {
	if !c.options.AuditLog {
		return nil
	}
	if err := os.MkdirAll(c.audit(), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.audit(), auditPolicy), cluster.AuditPolicy, 0o644)
}
