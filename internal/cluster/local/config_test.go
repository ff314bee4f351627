package local

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/pki"
)

// example has paths that need quoting.
func example() node {
	return node{
		Name: "local", Dir: `/srv/a "quoted" folder`, Content: "/srv/content", Pause: "kubernaut.local/pause:0123456789ab",
		CNI: "/usr/lib/cni", Runc: "/usr/sbin/runc",
		Registry: &Registry{Host: "registry.kubernaut-system.svc:5000", Address: "10.96.0.50", CA: []byte("PEM")},
	}
}

func TestKubeletIsConfiguredForThisNode(t *testing.T) {
	raw, err := render("kubelet.yaml", example())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.UnmarshalStrict(raw, &got); err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	for key, want := range map[string]any{
		"containerRuntimeEndpoint":    "unix:///run/containerd/containerd.sock",
		"tlsCertFile":                 `/srv/a "quoted" folder/pki/kubelet.crt`,
		"failCgroupV1":                false,
		"imageGCHighThresholdPercent": 100.0,
		"clusterDNS":                  []any{ClusterDNS},
		"evictionHard":                map[string]any{"memory.available": "100Mi", "nodefs.available": "500Mi", "imagefs.available": "500Mi"},
	} {
		if diff := cmp.Diff(want, got[key]); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
}

func TestKubeProxyIsConfigured(t *testing.T) {
	raw, err := render("kube-proxy.yaml", example())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Mode             string
		ClientConnection struct{ Kubeconfig string }
	}
	if err := yaml.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Mode != "nftables" || got.ClientConnection.Kubeconfig != `/srv/a "quoted" folder/config/kube-proxy.kubeconfig` {
		t.Errorf("%+v", got)
	}
}

func TestContainerdKnowsPauseAndRegistry(t *testing.T) {
	raw, err := render("containerd.toml", example())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`sandbox = "kubernaut.local/pause:0123456789ab"`,
		`config_path = "/srv/a \"quoted\" folder/config/registries"`,
		`BinaryName = "/usr/sbin/runc"`,
		`bin_dirs = ["/usr/lib/cni"]`,
	} {
		if !strings.Contains(string(raw), line) {
			t.Errorf("%s is not in\n%s", line, raw)
		}
	}
}

func TestEtcOfTheNode(t *testing.T) {
	etc := example().etc()
	const hosts = "127.0.0.1 localhost\n10.20.0.1 kubernaut-local\n10.96.0.50 registry.kubernaut-system.svc\n"
	if diff := cmp.Diff(hosts, etc["hosts"]); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(etc["resolv.conf"], "nameserver") {
		t.Error("the node would ask the machine's name server, and wait for it")
	}
	var network struct {
		Plugins []struct{ Type string }
	}
	if err := json.Unmarshal([]byte(etc["cni/net.d/10-pods.conflist"]), &network); err != nil {
		t.Fatal(err)
	}
	if len(network.Plugins) != 1 || network.Plugins[0].Type != pluginNames[0] {
		t.Errorf("plugins %+v, but the check looks for %v", network.Plugins, pluginNames)
	}
}

func TestConfigurationIsWritten(t *testing.T) {
	n := example()
	n.Dir = t.TempDir()
	certs := map[string]pki.Pair{kubelet: {Cert: []byte("cert"), Key: []byte("key")}}
	if err := n.writeConfigs(certs, []byte("authority")); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := os.ReadFile(n.config("kubelet.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `apiVersion: v1
kind: Config
clusters:
- name: kubernaut-local
  cluster:
    server: https://10.20.0.1:6443
    certificate-authority-data: YXV0aG9yaXR5
users:
- name: kubernaut-local
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
contexts:
- name: kubernaut-local
  context: {cluster: kubernaut-local, user: kubernaut-local}
current-context: kubernaut-local
`
	if diff := cmp.Diff(want, string(kubeconfig)); diff != "" {
		t.Error(diff)
	}
	folder := filepath.Join("registries", "registry.kubernaut-system.svc:5000")
	hosts, err := os.ReadFile(n.config(filepath.Join(folder, "hosts.toml")))
	if err != nil || !strings.Contains(string(hosts), `server = "https://registry.kubernaut-system.svc:5000"`) {
		t.Errorf("hosts.toml (%v):\n%s", err, hosts)
	}
	if ca, err := os.ReadFile(n.config(filepath.Join(folder, "ca.crt"))); err != nil || string(ca) != "PEM" {
		t.Errorf("ca.crt: %q, %v", ca, err)
	}
}
