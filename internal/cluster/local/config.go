package local

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"text/template"

	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/pki"
)

//go:embed files
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"json":   quote, // a JSON string is one in YAML and TOML too
	"base64": base64.StdEncoding.EncodeToString,
}).ParseFS(files, "files/*"))

func quote(s string) (string, error) {
	raw, err := json.Marshal(s)
	return string(raw), err
}

func render(name string, data any) ([]byte, error) {
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, data); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// What the templates are rendered from. Methods of node give the paths.
func (n node) Cert(name string) string { return n.cert(name) }
func (n node) Key(name string) string  { return n.key(name) }
func (n node) Socket() string          { return containerdSocket }
func (n node) DNS() string             { return ClusterDNS }
func (n node) Pods() string            { return podCIDR }
func (n node) Address() string         { return nodeIP }
func (n node) Registries() string      { return n.config("registries") }
func (n node) Kubeconfig() string      { return n.config(kubeProxy + ".kubeconfig") }

// writeConfigs writes what the components read.
func (n node) writeConfigs(certs map[string]pki.Pair, ca []byte) error {
	contents := map[string][]byte{"audit-policy.yaml": cluster.AuditPolicy}
	for _, name := range []string{"kubelet.yaml", "kube-proxy.yaml", "containerd.toml"} {
		content, err := render(name, n)
		if err != nil {
			return err
		}
		contents[name] = content
	}
	for _, name := range []string{controllers, scheduler, kubelet, kubeProxy} {
		content, err := n.kubeconfig("https://"+nodeIP+":6443", ca, certs[name])
		if err != nil {
			return err
		}
		contents[name+".kubeconfig"] = content
	}
	if r := n.Registry; r != nil {
		authority := n.config(filepath.Join("registries", r.Host, "ca.crt"))
		hosts, err := render("hosts.toml", struct{ Server, CA string }{"https://" + r.Host, authority})
		if err != nil {
			return err
		}
		contents[filepath.Join("registries", r.Host, "hosts.toml")] = hosts
		contents[filepath.Join("registries", r.Host, "ca.crt")] = r.CA
	}
	for name, content := range contents {
		if err := os.MkdirAll(filepath.Dir(n.config(name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(n.config(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (n node) kubeconfig(server string, ca []byte, user pki.Pair) ([]byte, error) {
	return render("kubeconfig.yaml", struct {
		Name, Server  string
		CA, Cert, Key []byte
	}{n.hostname(), server, ca, user.Cert, user.Key})
}

// etc is the content of the node's /etc, by file name.
func (n node) etc() map[string]string {
	network, err := render("network.conflist", n)
	if err != nil {
		panic(err) // the template and its data are part of the program
	}
	hosts := "127.0.0.1 localhost\n" + nodeIP + " " + n.hostname() + "\n"
	if r := n.Registry; r != nil { // the node does not ask the cluster's DNS
		if host, _, err := net.SplitHostPort(r.Host); err == nil {
			hosts += r.Address + " " + host + "\n"
		}
	}
	id := sha256.Sum256([]byte(n.Dir))
	return map[string]string{
		"hosts":         hosts,
		"hostname":      n.hostname() + "\n",
		"machine-id":    fmt.Sprintf("%x\n", id[:16]),
		"resolv.conf":   "# there is no name server outside of the cluster\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		// kube-proxy reads its rules back by these names; without them it takes
		// its own for strangers' after a restart, and removes them.
		"protocols":                  "icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\n",
		"group":                      "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
		"cni/net.d/10-pods.conflist": string(network),
	}
}
