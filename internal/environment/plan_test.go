package environment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/image"
)

// steps are those of the whole environment, as `env up` would run them.
func steps(t *testing.T) []plan.Step {
	t.Helper()
	t.Setenv("KUBERNAUT_CACHE", t.TempDir()) // what this machine has built before must not matter
	w, err := newWorld(Options{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	components, err := w.components(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make([]plan.Step, len(components))
	for i, c := range components {
		all[i] = c.Step
	}
	return all
}

func TestTheWholePlanIsValid(t *testing.T) {
	p, err := plan.Of(steps(t)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ step, after string }{
		{"postgresql", "secrets"}, {"postgresql", "load-databases"}, {"datastorage", "schema"}, {"datastorage", "redis"},
		{"migration", "database"}, {"controller", "tekton-definitions"}, {"controller", "accounts"}, {"tekton", "tekton-accounts"},
		{"tekton", "load-tekton"}, {"push-tools", "registry"}, {"workflows", "secrets"}, {"cluster", "build-containerd"},
		{"build-kubernetes", "machine"}, {"build-tekton", "machine"},
	} {
		if !slices.Contains(p.After(c.step), c.after) {
			t.Errorf("%s does not wait for %s, only for %v", c.step, c.after, p.After(c.step))
		}
	}
	if slices.Contains(p.After("cluster"), "build-tekton") {
		t.Error("the cluster waits until Tekton is compiled")
	}
}

func TestEveryImageHasItsStep(t *testing.T) {
	p, err := plan.Of(steps(t)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range image.Recipes() {
		if r.Name == image.Pause { // belongs to the cluster itself
			continue
		}
		if _, ok := p.Provider(archive(r.Name)); !ok {
			t.Errorf("no step makes image %s", r.Name)
		}
	}
}

// Without any one step that others build upon the plan must be refused, and
// every complaint must be about something that step provides.
func TestWithoutAnyOneStepThePlanIsRefused(t *testing.T) {
	all := steps(t)
	for i, removed := range all {
		rest := slices.Delete(slices.Clone(all), i, i+1)
		_, err := plan.Of(rest...)
		if !needed(removed, rest) {
			if err != nil {
				t.Errorf("nobody needs %s, and yet without it: %v", removed.Name, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("the plan without %s was accepted", removed.Name)
			continue
		}
		for line := range strings.Lines(err.Error()) {
			if !blames(strings.TrimSpace(line), removed) {
				t.Errorf("without %s: %s", removed.Name, line)
			}
		}
	}
}

func needed(s plan.Step, by []plan.Step) bool {
	return slices.ContainsFunc(by, func(other plan.Step) bool {
		return slices.ContainsFunc(other.Needs, func(n plan.Need) bool {
			return !n.Optional && slices.Contains(s.Provides, n.Of) && !slices.Contains(other.Provides, n.Of)
		})
	})
}

func blames(line string, s plan.Step) bool {
	return slices.ContainsFunc(s.Provides, func(o plan.Object) bool {
		thing := o
		thing.Namespace = ""
		return strings.HasSuffix(line, "needs "+o.String()+", which no component provides") ||
			strings.HasSuffix(line, "needs "+thing.String()+", which no component provides")
	})
}

// In whatever order the steps of the real plan come to their ends, none begins
// before what it needs is there.
func TestNoOrderOfTheRealPlanUsesAThingTooEarly(t *testing.T) {
	p, err := plan.Of(steps(t)...)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		provided, done := map[plan.Object]bool{}, map[string]bool{}
		for len(done) < len(p.Steps()) {
			var free []plan.Step
			for _, s := range p.Steps() {
				waits := slices.ContainsFunc(p.After(s.Name), func(name string) bool { return !done[name] })
				if !done[s.Name] && !waits {
					free = append(free, s)
				}
			}
			next := rapid.SampledFrom(free).Draw(t, "next")
			for _, n := range next.Needs {
				if !provided[n.Of] && !slices.Contains(next.Provides, n.Of) && !n.Optional {
					t.Fatalf("%s begins without %s", next.Name, n.Of)
				}
			}
			done[next.Name] = true
			for _, o := range next.Provides {
				provided[o] = true
			}
		}
	})
}

func TestAPartOfTheEnvironment(t *testing.T) {
	p, err := plan.Of(steps(t)...)
	if err != nil {
		t.Fatal(err)
	}
	part, err := p.Only("database")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cluster", "postgresql", "secrets"} {
		if _, ok := part.Step(name); !ok {
			t.Errorf("database needs %s", name)
		}
	}
	for _, name := range []string{"tekton", "build-tekton", "controller", "dns"} {
		if _, ok := part.Step(name); ok {
			t.Errorf("database does not need %s", name)
		}
	}
}

func TestComponentsByName(t *testing.T) {
	p, err := plan.Of(steps(t)...)
	if err != nil {
		t.Fatal(err)
	}
	for name, last := range wholes {
		part, err := p.Only(whole([]string{name})...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, step := range last {
			if _, ok := part.Step(step); !ok {
				t.Errorf("%s comes without %s", name, step)
			}
		}
	}
	part, err := p.Only(whole([]string{"datastorage"})...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tekton", "controller", "registry", "build-tekton"} {
		if _, ok := part.Step(name); ok {
			t.Errorf("datastorage does not need %s", name)
		}
	}
}

// Tekton's settings are guarded by its own webhook, which fails closed: nothing
// that it is asked about may be sent before it answers.
func TestWhatAWebhookGuardsWaitsForIt(t *testing.T) {
	p, err := plan.Of(steps(t)...)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(p.After("tekton-settings"), "tekton-webhook") {
		t.Errorf("tekton-settings waits only for %v", p.After("tekton-settings"))
	}
	if by, ok := p.Provider(webhookCertificate.WithKey("ca-cert.pem")); !ok || by != "tekton-webhook" {
		t.Errorf("the certificate that the webhook fills in at run time comes from %q", by)
	}
}

func TestUnfilledWebhooks(t *testing.T) {
	hook := func(ca string, rules ...any) map[string]any {
		return map[string]any{"clientConfig": map[string]any{"caBundle": ca}, "rules": rules}
	}
	for _, c := range []struct {
		why  string
		hook map[string]any
		want string
	}{
		{"as it is applied", hook(""), "its certificate is not filled in yet"},
		{"half way", hook("Y2E="), "its rules are not filled in yet"},
		{"done", hook("Y2E=", map[string]any{"operations": []any{"CREATE"}}), ""},
	} {
		u := &unstructured.Unstructured{Object: map[string]any{"webhooks": []any{c.hook}}}
		if diff := cmp.Diff(c.want, unfilled(u)); diff != "" {
			t.Errorf("%s: %s", c.why, diff)
		}
	}
}

// A probe that asks a port which its container does not declare is taken for a
// wrong one when nobody answers there yet.
func TestProbesAskPortsThatAreDeclared(t *testing.T) {
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	w, err := newWorld(Options{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	w.found = found{version: kubernetesVersion}
	rendered, renderErr := w.render(t.Context())
	tekton, tektonErr := w.tekton(nil)
	dns, dnsErr := w.dnsObjects()
	if err := errors.Join(renderErr, tektonErr, dnsErr); err != nil {
		t.Fatal(err)
	}
	probes := 0
	for _, u := range slices.Concat(slices.Concat(slices.Collect(maps.Values(rendered))...), tekton.programs, dns) {
		containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
		for _, raw := range containers {
			c := raw.(map[string]any)
			declared := map[string]bool{}
			ports, _, _ := unstructured.NestedSlice(c, "ports")
			for _, raw := range ports {
				port := raw.(map[string]any)
				declared[fmt.Sprint(port["containerPort"])], declared[fmt.Sprint(port["name"])] = true, true
			}
			for _, kind := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
				for _, how := range []string{"httpGet", "tcpSocket"} {
					port, there, _ := unstructured.NestedFieldNoCopy(c, kind, how, "port")
					if !there {
						continue
					}
					if probes++; !declared[fmt.Sprint(port)] {
						t.Errorf("%s %s: the %s of container %s asks port %v, and only %v are declared", u.GetKind(), u.GetName(), kind, c["name"], port, declared)
					}
				}
			}
		}
	}
	if probes < 6 {
		t.Errorf("only %d probes were looked at", probes)
	}
}
