package local

import (
	"time"

	"kubernaut.ai/kubernaut/internal/pki"
)

// loopback is what a program is reached by that only the node itself asks.
var loopback = []string{"localhost", "127.0.0.1"}

// leaf is one certificate of a node and the authority that issues it.
type leaf struct {
	authority, name string
	pki.Request
}

// leaves lists the certificates of a node. Names and groups are those that
// Kubernetes' own roles are bound to.
func (n node) leaves() []leaf {
	server := append([]string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		n.hostname(), nodeIP, serviceIP,
	}, loopback...)
	masters := []string{"system:masters"}
	return []leaf{
		{"etcd-ca", "etcd", pki.Request{CommonName: "etcd", Hosts: loopback, Server: true, Client: true}},
		{"etcd-ca", "etcd-client", pki.Request{CommonName: "kube-apiserver", Client: true}},
		{"front-proxy-ca", "front-proxy-client", pki.Request{CommonName: "front-proxy-client", Client: true}},
		{"ca", apiServer, pki.Request{CommonName: apiServer, Hosts: server, Server: true}},
		{"ca", "kubelet-client", pki.Request{CommonName: "kube-apiserver-kubelet-client", Organizations: masters, Client: true}},
		{"ca", "admin", pki.Request{CommonName: "kubernaut-admin", Organizations: masters, Client: true}},
		{"ca", controllers, pki.Request{CommonName: "system:kube-controller-manager", Hosts: loopback, Server: true, Client: true}},
		{"ca", scheduler, pki.Request{CommonName: "system:kube-scheduler", Hosts: loopback, Server: true, Client: true}},
		{"ca", kubeProxy, pki.Request{CommonName: "system:kube-proxy", Client: true}},
		{"ca", kubelet, pki.Request{
			CommonName: "system:node:" + n.hostname(), Organizations: []string{"system:nodes"},
			Hosts: append([]string{n.hostname(), nodeIP}, loopback...), Server: true, Client: true,
		}},
	}
}

// issue makes sure that every certificate of the node is there and good, and
// returns them by name, authorities included.
func (n node) issue(now time.Time) (map[string]pki.Pair, error) {
	store := pki.Store{Dir: n.path("pki"), Now: now}
	certs := map[string]pki.Pair{}
	authorities := map[string]*pki.Authority{}
	for _, name := range []string{"ca", "etcd-ca", "front-proxy-ca"} {
		ca, err := store.Authority(name)
		if err != nil {
			return nil, err
		}
		authorities[name], certs[name] = ca, ca.Pair
	}
	for _, l := range n.leaves() {
		pair, err := store.Leaf(authorities[l.authority], l.name, l.Request)
		if err != nil {
			return nil, err
		}
		certs[l.name] = pair
	}
	_, err := store.Key("service-account")
	return certs, err
}
