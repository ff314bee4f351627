package local

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// The components by name, as others refer to them.
const (
	etcd        = "etcd"
	apiServer   = "kube-apiserver"
	controllers = "kube-controller-manager"
	scheduler   = "kube-scheduler"
	containerd  = "containerd"
	kubelet     = "kubelet"
	kubeProxy   = "kube-proxy"
)

const containerdSocket = "/run/containerd/containerd.sock"

// components are the programs of a node.
func (n node) components() []component {
	return []component{
		{etcd, nil, n.etcd(), n.https("https://127.0.0.1:2379/readyz", "etcd-ca", "etcd-client"), nil},
		{containerd, nil, []string{n.program(containerd), "--config", n.config("containerd.toml")}, dial("unix", containerdSocket), nil},
		{apiServer, []string{etcd}, n.apiServer(), n.https("https://127.0.0.1:6443/readyz", "ca", "admin"), n.forget},
		{controllers, []string{apiServer}, n.controllers(), n.https("https://127.0.0.1:10257/healthz", "ca", "admin"), nil},
		{scheduler, []string{apiServer}, n.scheduler(), n.https("https://127.0.0.1:10259/readyz", "ca", "admin"), nil},
		{kubelet, []string{apiServer, containerd}, n.kubelet(), plain("http://127.0.0.1:10248/healthz"), nil},
		{kubeProxy, []string{apiServer}, n.kubeProxy(), plain("http://127.0.0.1:10256/healthz"), nil},
	}
}

func (n node) etcd() []string {
	const clients, peers = "https://127.0.0.1:2379", "http://127.0.0.1:2380" // it has no peers
	return []string{
		n.program(etcd), "--name=node", "--data-dir=/var/lib/etcd", "--log-level=warn",
		"--listen-client-urls=" + clients, "--advertise-client-urls=" + clients,
		"--listen-peer-urls=" + peers, "--initial-advertise-peer-urls=" + peers, "--initial-cluster=node=" + peers,
		"--heartbeat-interval=20", "--election-timeout=200", // ms; nobody else stands for election
		"--client-cert-auth", "--trusted-ca-file=" + n.cert("etcd-ca"),
		"--cert-file=" + n.cert("etcd"), "--key-file=" + n.key("etcd"),
	}
}

func (n node) apiServer() []string {
	flags := []string{
		n.program(apiServer), "--advertise-address=" + nodeIP, "--secure-port=6443", "--allow-privileged", "--profiling=false",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range=" + serviceCIDR, "--enable-aggregator-routing",
		"--client-ca-file=" + n.cert("ca"),
		"--tls-cert-file=" + n.cert(apiServer), "--tls-private-key-file=" + n.key(apiServer),
		"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=" + n.cert("etcd-ca"),
		"--etcd-certfile=" + n.cert("etcd-client"), "--etcd-keyfile=" + n.key("etcd-client"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + n.key("service-account"), "--service-account-signing-key-file=" + n.key("service-account"),
		"--kubelet-certificate-authority=" + n.cert("ca"), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + n.cert("kubelet-client"), "--kubelet-client-key=" + n.key("kubelet-client"),
		"--requestheader-client-ca-file=" + n.cert("front-proxy-ca"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + n.cert("front-proxy-client"), "--proxy-client-key-file=" + n.key("front-proxy-client"),
	}
	if n.Audited {
		flags = append(flags, "--audit-policy-file="+n.config("audit-policy.yaml"), "--audit-log-path="+n.log("audit"))
	}
	return flags
}

// client is how a control plane program reaches the API server, and serves.
func (n node) client(name string) []string {
	kubeconfig := n.config(name + ".kubeconfig")
	return []string{
		n.program(name), "--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false",
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--tls-cert-file=" + n.cert(name), "--tls-private-key-file=" + n.key(name),
	}
}

func (n node) controllers() []string {
	return append(n.client(controllers),
		"--use-service-account-credentials", "--service-account-private-key-file="+n.key("service-account"),
		"--root-ca-file="+n.cert("ca"), "--service-cluster-ip-range="+serviceCIDR,
		"--cluster-signing-cert-file="+n.cert("ca"), "--cluster-signing-key-file="+n.key("ca"),
		// With the usual limits it takes longer to start than all others together.
		"--kube-api-qps=500", "--kube-api-burst=1000",
	)
}

func (n node) scheduler() []string {
	return append(n.client(scheduler), "--kube-api-qps=500", "--kube-api-burst=1000")
}

func (n node) kubelet() []string {
	return []string{
		n.program(kubelet), "--config=" + n.config("kubelet.yaml"), "--kubeconfig=" + n.config("kubelet.kubeconfig"),
		"--hostname-override=" + n.hostname(), "--node-ip=" + nodeIP,
	}
}

func (n node) kubeProxy() []string {
	return []string{n.program(kubeProxy), "--config=" + n.config("kube-proxy.yaml"), "--hostname-override=" + n.hostname()}
}

// dial asks whether something listens.
func dial(network, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// plain asks a health endpoint on loopback.
func plain(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := get(ctx, http.DefaultClient, url)
		return err
	}
}

// https asks a health endpoint as the client that the certificate names.
func (n node) https(url, ca, cert string) func(context.Context) error {
	return func(ctx context.Context) error {
		client, err := n.httpClient(ca, cert)
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		_, err = get(ctx, client, url)
		return err
	}
}

func (n node) httpClient(ca, cert string) (*http.Client, error) {
	root, err := os.ReadFile(n.cert(ca))
	if err != nil {
		return nil, err
	}
	own, err := tls.LoadX509KeyPair(n.cert(cert), n.key(cert))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	config := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// nodeReady asks the API server for the node's condition Ready.
func (n node) nodeReady(client *http.Client, server string) func(context.Context) error {
	return func(ctx context.Context) error {
		body, err := get(ctx, client, server+"/api/v1/nodes/"+n.hostname())
		if err != nil {
			return err
		}
		return readyCondition(body)
	}
}

// readyCondition reads a Node; the error is what its condition Ready says.
func readyCondition(raw []byte) error {
	var object struct {
		Status struct {
			Conditions []struct{ Type, Status, Message, LastHeartbeatTime string }
		}
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return err
	}
	for _, c := range object.Status.Conditions {
		switch {
		case c.Type != "Ready" || c.LastHeartbeatTime == "": // or it is what the last start left
		case c.Status == "True":
			return nil
		default:
			return errors.New(c.Message)
		}
	}
	return errors.New("the kubelet has not said anything about it yet")
}
