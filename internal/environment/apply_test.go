package environment

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/manifest"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/test/servers"
)

// server is an API server and what one test applied to it.
type server struct {
	*testing.T
	*kube
	cfg   *rest.Config
	notes string
}

// TestApply runs every story on one API server, each in a namespace of its own.
func TestApply(t *testing.T) {
	cfg := servers.APIServer(t)
	for name, story := range map[string]func(server){
		"TwiceChangesNothing":            applyTwice,
		"MendsWhatOthersChanged":         applyMends,
		"MakesAgainWhatWasDeleted":       applyMakesAgain,
		"BringsChangesOfTheManifest":     applyBringsChanges,
		"ADamagedLedgerOnlyCostsTime":    damagedLedger,
		"EveryObjectThatCannotBeApplied": everyErrorIsNamed,
		"PasswordsAreMadeOnce":           passwordsAreMadeOnce,
		"AnAddressThatAKilledRunLeft":    addressLeftBehind,
		"WhatOthersMadeIsLeftAlone":      leftAlone,
		"WhatWasRemovedSinceIsNamed":     removedSince,
	} {
		t.Run(name, func(t *testing.T) {
			s := server{T: t, cfg: cfg, notes: filepath.Join(t.TempDir(), "applied.json")}
			story(s.again())
		})
	}
}

// again is what another run of the program sees.
func (s server) again() server {
	s.Helper()
	k, err := newKube(s.cfg, s.notes)
	if err != nil {
		s.Fatal(err)
	}
	s.kube = k
	return s
}

// settles applies the manifest, in a namespace of the test's own.
func (s server) settles(text string) objects {
	s.Helper()
	namespace := "made-" + strings.ToLower(filepath.Base(s.Name()))
	decoded, err := manifest.Decode([]byte(strings.ReplaceAll(text, "made", namespace)))
	if err != nil {
		s.Fatal(err)
	}
	if err := s.settle(s.Context(), decoded, func(string) {}); err != nil {
		s.Fatal(err)
	}
	return decoded
}

func (s server) found(u *unstructured.Unstructured) *unstructured.Unstructured {
	s.Helper()
	found, err := s.get(s.Context(), u)
	if err != nil {
		s.Fatal(err)
	}
	return found
}

const settings = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: made}
data: {level: info, colour: blue}
---
apiVersion: v1
kind: Namespace
metadata: {name: made}
`

func applyTwice(s server) {
	u := s.settles(settings)[0]
	first := s.found(u)
	s = s.again()
	if !s.applied.knows(u) {
		s.Error("the second run does not know what the first one applied")
	}
	s.settles(settings)
	if diff := cmp.Diff(first.Object, s.found(u).Object); diff != "" {
		s.Error(diff)
	}
}

func applyMends(s server) {
	u := s.settles(settings)[0]
	r, err := s.Resource(u)
	if err != nil {
		s.Fatal(err)
	}
	other := s.found(u)
	other.Object["data"] = map[string]any{"level": "debug", "colour": "blue", "more": "theirs"}
	if _, err := r.Update(s.Context(), other, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
		s.Fatal(err)
	}
	s.again().settles(settings)
	want := map[string]any{"level": "info", "colour": "blue", "more": "theirs"}
	if diff := cmp.Diff(want, s.found(u).Object["data"]); diff != "" {
		s.Error(diff)
	}
}

func applyMakesAgain(s server) {
	u := s.settles(settings)[0]
	r, err := s.Resource(u)
	if err != nil {
		s.Fatal(err)
	}
	if err := r.Delete(s.Context(), "settings", metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.again().settles(settings)
	s.found(u)
}

func applyBringsChanges(s server) {
	u := s.settles(settings)[0]
	s.again().settles(strings.Replace(settings, "colour: blue", "colour: green", 1))
	if colour, _, _ := unstructured.NestedString(s.found(u).Object, "data", "colour"); colour != "green" {
		s.Errorf("the colour is %s", colour)
	}
}

func damagedLedger(s server) {
	u := s.settles(settings)[0]
	if err := os.WriteFile(s.notes, []byte(`{"ConfigMap`), 0o644); err != nil {
		s.Fatal(err)
	}
	s = s.again()
	if s.applied.knows(u) {
		s.Error("a damaged ledger is believed")
	}
	s.settles(settings)
}

func everyErrorIsNamed(s server) {
	decoded, err := manifest.Decode([]byte(`
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: nowhere}}
---
{apiVersion: v1, kind: Service, metadata: {name: b, namespace: default}, spec: {ports: [{port: 700000}]}}
`))
	if err != nil {
		s.Fatal(err)
	}
	_, err = s.apply(s.Context(), decoded)
	for _, want := range []string{`applying ConfigMap "a" in nowhere: namespaces "nowhere" not found`, `applying Service "b" in default: `} {
		if err == nil || !strings.Contains(err.Error(), want) {
			s.Errorf("no %q in: %v", want, err)
		}
	}
}

func passwordsAreMadeOnce(s server) {
	s.settles("{apiVersion: v1, kind: Namespace, metadata: {name: " + v1alpha1.SystemNamespace + "}}")
	secrets := s.Core.CoreV1().Secrets(v1alpha1.SystemNamespace)
	var kept map[string][]byte
	for _, wantFresh := range []bool{true, false} {
		fresh, err := s.createSecret(s.Context(), registryLogin, newRegistryLogin)
		if err != nil || fresh != wantFresh {
			s.Fatalf("made: %v, %v; want %v", fresh, err, wantFresh)
		}
		secret, err := secrets.Get(s.Context(), registryLogin, metav1.GetOptions{})
		if err != nil {
			s.Fatal(err)
		}
		if kept != nil {
			if diff := cmp.Diff(kept, secret.Data); diff != "" {
				s.Error("a password in use was replaced")
			}
		}
		kept = secret.Data
	}
}

// addressLeftBehind is what a run leaves that is killed while the API server
// makes a Service: its address is taken, and it is not there.
func addressLeftBehind(s server) {
	namespace := "made-" + strings.ToLower(filepath.Base(s.Name()))
	held := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: "10.0.0.50", Labels: map[string]string{
			"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
		}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: namespace, Name: "registry"}},
	}
	if _, err := s.Core.NetworkingV1().IPAddresses().Create(s.Context(), held, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	s.settles(`
{apiVersion: v1, kind: Namespace, metadata: {name: made}}
---
{apiVersion: v1, kind: Service, metadata: {name: registry, namespace: made}, spec: {clusterIP: 10.0.0.50, ports: [{port: 5000}]}}
`)
}

// leftAlone works on a cluster that is not ours: what is missing is made, what
// somebody else made stays as it is.
func leftAlone(s server) {
	s.settles(settings)
	s = s.again()
	s.owner = "test"
	changed := strings.Replace(settings, "colour: blue", "colour: green", 1)
	theirs := s.settles(changed)[0]
	if colour, _, _ := unstructured.NestedString(s.found(theirs).Object, "data", "colour"); colour != "blue" {
		s.Errorf("the settings of others are %s now", colour)
	}
	ours := s.settles(strings.ReplaceAll(changed, "name: settings", "name: own"))[0]
	if owner := s.found(ours).GetLabels()["kubernaut.ai/environment"]; owner != "test" {
		s.Errorf("what was missing carries the owner %q", owner)
	}
	s.settles(strings.ReplaceAll(settings, "name: settings", "name: own"))
	if colour, _, _ := unstructured.NestedString(s.found(ours).Object, "data", "colour"); colour != "blue" {
		s.Errorf("our own are not brought up to date: %s", colour)
	}
}

// removedSince is a Deployment of an environment that came up, which somebody
// removes: it is the one cause.
func removedSince(s server) {
	w, s := s.cameUp()
	decoded, err := manifest.Decode([]byte(`
{apiVersion: v1, kind: Namespace, metadata: {name: kubernaut-system}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: kubernaut-system}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: kubernaut-system}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: web}]}}}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: migrate, namespace: kubernaut-system}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: web}]}}}}
`))
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.apply(s.Context(), decoded); err != nil {
		s.Fatal(err)
	}
	if err := s.applied.keep(); err != nil {
		s.Fatal(err)
	}
	named := func() []diagnose.Finding {
		seen, err := w.diagnose(s.Context(), cluster.Status{State: cluster.Ready}, w.lastUp(w.lastJournal()))
		if err != nil {
			s.Fatal(err)
		}
		return seen.Findings
	}
	if found := named(); len(found) != 0 {
		s.Errorf("nothing is missing, and it says %+v", found)
	}
	for _, u := range decoded[2:] {
		r, err := s.Resource(u)
		if err == nil {
			err = r.Delete(s.Context(), u.GetName(), metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)})
		}
		if err != nil {
			s.Fatal(err)
		}
	}
	found := named()
	want := plan.Object{Kind: "Deployment", Namespace: "kubernaut-system", Name: "web"}
	if len(found) != 1 || found[0].Code != diagnose.NameUnknown || found[0].Object != want {
		s.Errorf("want %s alone, got %+v", want, found)
	}
}

// cameUp is an environment on the server whose last Up reached its end.
func (s server) cameUp() (*world, server) {
	s.Helper()
	w := worldOf(build.Cache{Dir: s.TempDir()}, Options{Name: "test"})
	journal, err := w.createJournal()
	if err == nil {
		err = errors.Join(json.NewEncoder(journal).Encode(progress.Event{State: progress.Ready}), journal.Close())
	}
	if err != nil {
		s.Fatal(err)
	}
	s.notes = w.dir(ledgerFile)
	s = s.again()
	w.kube = func() (*kube, error) { return s.kube, nil }
	return w, s
}
