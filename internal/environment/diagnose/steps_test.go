package diagnose

import (
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

func TestStepsTellTheirCause(t *testing.T) {
	for _, c := range []struct {
		text string
		code Code
	}{
		{"starting cluster x: port 16443 on 127.0.0.1 is in use by another program: stop it", PortInUse},
		{"asking PostgreSQL: FATAL: password authentication failed for user \"kubernaut_service\" (SQLSTATE 28P01)", WrongPassword},
		{"something that nobody foresaw", StepFailed},
	} {
		d := Of(Snapshot{Steps: []Step{{Name: "cluster", Error: c.text}}})
		if len(d.Findings) != 1 || d.Findings[0].Code != c.code || !d.Findings[0].Hopeless {
			t.Errorf("%s: got\n%s", c.text, d.Text())
		}
	}
}

func TestAStepIsExplainedByWhatItWaitedFor(t *testing.T) {
	web := plan.Object{Kind: "Pod", Namespace: "shop", Name: "web-1"}
	d := Of(Snapshot{
		Namespaces: []string{"shop"}, Objects: objects(t, strings.Replace(pod, "STATE", crashed, 1)),
		Steps: []Step{{Name: "web", Error: "not ready in time", Object: web}},
	})
	if len(d.Findings) != 1 || d.Findings[0].Code != ContainerCrash {
		t.Errorf("got\n%s", d.Text())
	}
}

// A step is not explained by whatever has its name somewhere in the step's error.
func TestAStepIsExplainedByTheObjectItSpeaksOf(t *testing.T) {
	web := Finding{Object: plan.Object{Kind: "Deployment", Namespace: "shop", Name: "web"}}
	for text, want := range map[string]bool{
		`Deployment "web" in shop: not ready in time`:                      true,
		`deployments.apps "web" not found`:                                 true,
		`error: deployment.apps/web exceeded its deadline`:                 true,
		`Post "https://web.shop.svc:443/": connection refused`:             true,
		`waiting for shop/web`:                                             true,
		`Deployment "web" in other: not ready in time`:                     false,
		`Deployment "webhooks" in shop: not ready in time`:                 false,
		`Deployment "datastorage" in shop: no connection to the web cache`: false,
		`reading /srv/web/settings in shop`:                                false,
	} {
		if got := (Step{Name: "step", Error: text}).explainedBy(web); got != want {
			t.Errorf("%s: explained %v, want %v", text, got, want)
		}
	}
}

// What an Up left behind that is over says so, and nothing once it is mended.
func TestAStepOfAnUpThatIsOver(t *testing.T) {
	const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 1}, status: {availableReplicas: READY, updatedReplicas: 1}}`
	step := Step{Name: "web", Error: `Deployment "web" in shop: not ready in time`, At: time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC), Object: plan.Object{Kind: "Deployment", Namespace: "shop", Name: "web"}}
	s := Snapshot{Namespaces: []string{"shop"}, Steps: []Step{step}, Objects: objects(t, strings.Replace(deployment, "READY", "0", 1))}
	if d := Of(s); len(d.Findings) != 1 || !strings.HasPrefix(d.Findings[0].Sentence, "step web of the last `kubernaut env up` (2026-11-25 03:00:00 UTC) failed: ") {
		t.Errorf("got\n%s", d.Text())
	}
	s.Objects = objects(t, strings.Replace(deployment, "READY", "1", 1))
	if d := Of(s); len(d.Findings) != 0 {
		t.Errorf("it was mended, got\n%s", d.Text())
	}
	s.Steps[0].Skipped = []string{"admission", "workflows"}
	if d := Of(s); len(d.Findings) != 1 || !strings.Contains(d.Findings[0].Sentence, "is ready by now, and what was to follow is not done: admission, workflows") {
		t.Errorf("not all of it was mended, got\n%s", d.Text())
	}
	s.Steps[0].At = time.Time{}
	if d := Of(s); len(d.Findings) != 1 || !strings.HasPrefix(d.Findings[0].Sentence, "step web failed: ") {
		t.Errorf("a step that failed just now is a cause, got\n%s", d.Text())
	}
}
