package charts

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// end is one side of a connection: a pod, or an address outside the cluster.
type end struct {
	namespace string
	labels    map[string]string
	ports     map[string]int32 // named ports of a pod
	address   netip.Addr
}

// network answers from the policies alone who reaches whom.
type network struct {
	t        *testing.T
	policies []networkingv1.NetworkPolicy
	pods     map[string]end
}

func networkOf(t *testing.T, objects []*unstructured.Unstructured) network {
	t.Helper()
	n := network{t: t, policies: typed[networkingv1.NetworkPolicy](t, objects, "NetworkPolicy"), pods: map[string]end{
		"run":        {namespace: v1alpha1.WorkflowNamespace, labels: map[string]string{"tekton.dev/taskRun": "a"}},
		"stranger":   {namespace: "default", labels: map[string]string{"app": "stranger"}},
		"intruder":   {namespace: v1alpha1.SystemNamespace, labels: map[string]string{"app": "intruder"}},
		"dns":        {namespace: "kube-system", labels: map[string]string{"k8s-app": "kube-dns"}},
		"prometheus": {namespace: "monitoring", labels: map[string]string{"app": "prometheus"}},
		"api":        {address: netip.MustParseAddr("10.96.0.1")},
		"internet":   {address: netip.MustParseAddr("203.0.113.7")},
		"database":   {address: netip.MustParseAddr("10.1.2.3")},
	}}
	for _, w := range workloads(t, objects) {
		e := end{namespace: w.namespace, labels: w.pod.Labels, ports: map[string]int32{}}
		for _, c := range w.pod.Spec.Containers {
			for _, p := range c.Ports {
				e.ports[p.Name] = p.ContainerPort
			}
		}
		n.pods[w.pod.Labels["app.kubernetes.io/name"]] = e
	}
	return n
}

// reaches tells whether the policies of both sides let a connection through.
func (n network) reaches(from, to end, port int32) bool {
	return n.lets(networkingv1.PolicyTypeEgress, from, to, port, to) && n.lets(networkingv1.PolicyTypeIngress, to, from, port, to)
}

// lets tells whether the policies of one side allow the other, at a port of
// the pod that listens.
func (n network) lets(direction networkingv1.PolicyType, self, other end, port int32, listener end) bool {
	if self.address.IsValid() {
		return true // no policy is about addresses outside
	}
	isolated := false
	for _, p := range n.policies {
		if p.Namespace != self.namespace || !n.matches(&p.Spec.PodSelector, self.labels) || !slices.Contains(p.Spec.PolicyTypes, direction) {
			continue
		}
		isolated = true
		for _, r := range rulesOf(p, direction) {
			if n.peer(r.peers, p.Namespace, other) && onPort(r.ports, port, listener) {
				return true
			}
		}
	}
	return !isolated
}

// rule is an ingress or an egress rule.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func rulesOf(p networkingv1.NetworkPolicy, direction networkingv1.PolicyType) []rule {
	var found []rule
	if direction == networkingv1.PolicyTypeIngress {
		for _, r := range p.Spec.Ingress {
			found = append(found, rule{r.From, r.Ports})
		}
		return found
	}
	for _, r := range p.Spec.Egress {
		found = append(found, rule{r.To, r.Ports})
	}
	return found
}

func (n network) peer(peers []networkingv1.NetworkPolicyPeer, namespace string, other end) bool {
	if len(peers) == 0 {
		return true
	}
	return slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		if p.IPBlock != nil {
			return other.address.IsValid() && netip.MustParsePrefix(p.IPBlock.CIDR).Contains(other.address)
		}
		if other.address.IsValid() {
			return false
		}
		if p.NamespaceSelector == nil {
			return other.namespace == namespace && n.matches(p.PodSelector, other.labels)
		}
		name := map[string]string{corev1.LabelMetadataName: other.namespace}
		return n.matches(p.NamespaceSelector, name) && (p.PodSelector == nil || n.matches(p.PodSelector, other.labels))
	})
}

func (n network) matches(selector *metav1.LabelSelector, set map[string]string) bool {
	n.t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		n.t.Fatal(err)
	}
	return s.Matches(labels.Set(set))
}

func onPort(ports []networkingv1.NetworkPolicyPort, port int32, listener end) bool {
	if len(ports) == 0 {
		return true
	}
	return slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		if p.Port.Type == intstr.String {
			return listener.ports[p.Port.StrVal] == port
		}
		return p.Port.IntVal == port
	})
}

func TestWhoReachesWhom(t *testing.T) {
	for _, set := range []struct {
		values string
		rows   string // from to port yes|no, one a line
	}{
		{"environment", `
			controller   datastorage 8443 yes
			datastorage  postgresql  5432 yes
			migration    postgresql  5432 yes
			datastorage  redis       6379 yes
			datastorage  api         443  yes
			datastorage  registry    5000 yes
			datastorage  internet    443  yes
			controller   api         6443 yes
			controller   dns         53   yes
			datastorage  dns         53   yes
			migration    dns         53   yes
			run          api         443  yes
			run          dns         53   yes
			stranger     registry    5000 yes
			run          postgresql  5432 no
			run          redis       6379 no
			run          datastorage 8443 no
			run          registry    5000 no
			run          internet    80   no
			controller   postgresql  5432 no
			controller   redis       6379 no
			controller   internet    80   no
			migration    redis       6379 no
			migration    api         443  no
			datastorage  postgresql  22   no
			datastorage  internet    80   no
			postgresql   datastorage 8443 no
			postgresql   internet    443  no
			redis        internet    443  no
			registry     internet    443  no
			intruder     postgresql  5432 no
			intruder     datastorage 8443 no
			intruder     internet    443  no
			stranger     postgresql  5432 no
			stranger     datastorage 8443 no
			stranger     controller  8080 no
			prometheus   datastorage 8080 no
		`},
		{"large", `
			prometheus   datastorage 8080 yes
			prometheus   controller  8080 yes
			prometheus   datastorage 8443 no
			datastorage  database    6432 yes
			migration    database    6432 yes
			datastorage  internet    6432 no
			controller   database    6432 no
			run          database    6432 no
		`},
	} {
		t.Run(set.values, func(t *testing.T) {
			n := networkOf(t, renderSet(t, set.values))
			for _, row := range tableRows(t, set.rows) {
				from, to := n.pods[row.from], n.pods[row.to]
				if got := n.reaches(from, to, row.port); got != row.want {
					t.Errorf("%s reaches %s at %d: %v, want %v", row.from, row.to, row.port, got, row.want)
				}
			}
		})
	}
}

type reach struct {
	from, to string
	port     int32
	want     bool
}

func tableRows(t *testing.T, text string) []reach {
	t.Helper()
	var found []reach
	for _, line := range nonEmpty(text) {
		var r reach
		var yes string
		if _, err := fmt.Sscan(line, &r.from, &r.to, &r.port, &yes); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		r.want = yes == "yes"
		found = append(found, r)
	}
	return found
}
