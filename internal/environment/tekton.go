package environment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/manifest"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/upstream"
	"kubernaut.ai/kubernaut/internal/image"
)

// Tekton comes in four steps. Its settings are guarded by its own webhook, which
// refuses everything while it does not answer: they are created before the
// webhook exists, and changed only once it answers.
func (w *world) tektonComponents() ([]component, error) {
	rendered, err := w.tekton(nil)
	if err != nil {
		return nil, err
	}
	definitions, err := stepOf("tekton-definitions", rendered.definitions, nil)
	if err != nil {
		return nil, err
	}
	programs, err := stepOf("tekton", rendered.programs, nil)
	if err != nil {
		return nil, err
	}
	settings, err := w.settingsStep(rendered)
	if err != nil {
		return nil, err
	}
	definitions.Expected, programs.Expected = 3*time.Second, 12*time.Second
	programs.Needs = append(programs.Needs, needs(dns)...)
	programs.Provides = append(programs.Provides, part("tekton"))
	return []component{
		{definitions, w.installDefinitions},
		{programs, w.installTekton},
		{webhookStep(rendered.programs), w.awaitWebhook},
		{settings, w.applySettings},
		w.tektonAccounts(rendered.definitions),
	}, nil
}

// filledByTekton are the rules that Tekton's webhooks give themselves at run time.
var filledByTekton = map[string][]metav1.GroupKind{
	"config.webhook.pipeline.tekton.dev":     {{Kind: "ConfigMap"}},
	"webhook.pipeline.tekton.dev":            {{Group: "tekton.dev", Kind: "*"}, {Group: "resolution.tekton.dev", Kind: "*"}},
	"validation.webhook.pipeline.tekton.dev": {{Group: "tekton.dev", Kind: "*"}, {Group: "resolution.tekton.dev", Kind: "*"}},
}

// webhookCertificate is the Secret that Tekton's webhook fills at run time.
var webhookCertificate = plan.Object{Kind: "Secret", Namespace: upstream.TektonNamespace, Name: "webhook-certs"}

// webhookStep waits for the webhooks, and for what they fill in by themselves.
func webhookStep(programs objects) plan.Step {
	step := plan.Step{Name: "tekton-webhook", Expected: time.Second, Needs: needs(part("tekton")), Provides: derive.Hooks(programs...)}
	for _, key := range []string{"server-cert.pem", "server-key.pem", "ca-cert.pem"} {
		step.Provides = append(step.Provides, webhookCertificate.WithKey(key))
	}
	return step
}

// guards are the webhooks of the plan that ask about what others apply.
func (t tektonObjects) guards() ([]derive.Guard, error) {
	return derive.Guards(t.programs, filledByTekton)
}

// settingsStep brings the settings up to date, of which each is guarded.
func (w *world) settingsStep(t tektonObjects) (plan.Step, error) {
	guards, err := t.guards()
	if err != nil {
		return plan.Step{}, err
	}
	step, err := stepOf("tekton-settings", t.settings(), guards)
	if err != nil {
		return plan.Step{}, err
	}
	step.Expected, step.Provides = 500*time.Millisecond, []plan.Object{part("tekton-settings")}
	for _, g := range w.imageGroups() { // of runs: the controller names them in no manifest
		if g.name != "steps" {
			continue
		}
		for _, name := range g.images {
			step.Needs = append(step.Needs, needs(imageObject(name))...)
		}
	}
	return step, nil
}

// tektonAccounts waits for what the cluster adds to Tekton's namespaces.
func (w *world) tektonAccounts(definitions objects) component {
	c := w.accountsComponent(definitions)
	c.Name = "tekton-accounts"
	return c
}

// tektonObjects are Tekton's manifests by the step that applies them.
type tektonObjects struct {
	definitions objects // all that runs nothing, settings among them
	programs    objects
}

func (t tektonObjects) settings() objects {
	return slices.DeleteFunc(slices.Clone(t.definitions), func(u *unstructured.Unstructured) bool { return !isSetting(u) })
}

func isSetting(u *unstructured.Unstructured) bool { return u.GetKind() == "ConfigMap" }

// tektonNow is Tekton with the environment's authority and the images that were made.
func (w *world) tektonNow() (tektonObjects, error) {
	ca, err := w.trusted()
	if err != nil {
		return tektonObjects{}, err
	}
	return w.tekton(ca)
}

func (w *world) tekton(ca []byte) (tektonObjects, error) {
	manifests, err := w.manifests()
	if err != nil {
		return tektonObjects{}, err
	}
	all, err := upstream.Tekton(upstream.TektonOptions{
		Manifests: manifests, CA: ca, Shell: w.made.reference(image.Shell),
		Image:      func(command string) string { return w.made.reference(image.Tekton(command)) },
		PullSecret: w.pullSecret(),
	})
	if err != nil {
		return tektonObjects{}, err
	}
	var split tektonObjects
	for _, u := range all {
		switch u.GetKind() {
		case "Deployment", "Service", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration":
			split.programs = append(split.programs, u)
		default:
			split.definitions = append(split.definitions, u)
		}
	}
	return split, nil
}

// readTekton reads the manifests in Tekton's Go module, which is downloaded
// where it is missing.
func (w *world) readTekton() (objects, error) {
	const module = "github.com/tektoncd/pipeline"
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = filepath.Join(w.cache.Source, "node", "tekton")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("finding Tekton's manifests: go mod download %s: %w: %s", module, err, out)
	}
	var found struct{ Dir, Error string }
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("finding Tekton's manifests: %w", err)
	}
	if found.Error != "" {
		return nil, fmt.Errorf("finding Tekton's manifests: %s", found.Error)
	}
	read, err := manifest.ReadFolder(filepath.Join(found.Dir, "config"))
	if err != nil {
		return nil, fmt.Errorf("reading Tekton's manifests: %w", err)
	}
	return read, nil
}

// installDefinitions creates the settings only where they are missing: a
// webhook of an earlier run may guard them and not answer yet.
func (w *world) installDefinitions(ctx context.Context, say func(string)) error {
	k, err := w.kube()
	if err != nil {
		return err
	}
	t, err := w.tektonNow()
	if err != nil {
		return err
	}
	say(fmt.Sprintf("applying %d objects", len(t.definitions)))
	others := slices.DeleteFunc(slices.Clone(t.definitions), isSetting)
	applied, err := k.apply(ctx, others)
	if err != nil {
		return err
	}
	_, err = k.createMissing(ctx, t.settings())
	if err := errors.Join(err, k.applied.keep()); err != nil {
		return err
	}
	return k.Wait(ctx, applied, say)
}

func (w *world) installTekton(ctx context.Context, say func(string)) error {
	k, err := w.kube()
	if err != nil {
		return err
	}
	t, err := w.tektonNow()
	if err != nil {
		return err
	}
	return k.settle(ctx, t.programs, say)
}

// awaitWebhook waits until Tekton's webhooks have their rules and certificate,
// and answer.
func (w *world) awaitWebhook(ctx context.Context, say func(string)) error {
	k, err := w.kube()
	if err != nil {
		return err
	}
	t, err := w.tektonNow()
	if err != nil {
		return err
	}
	for _, u := range t.programs {
		if !strings.HasSuffix(u.GetKind(), "WebhookConfiguration") {
			continue
		}
		if err := k.WaitUntil(ctx, u, unfilled, say); err != nil {
			return err
		}
	}
	if err := try(ctx, say, k.askWebhook); err != nil {
		return fmt.Errorf("Tekton's webhook does not answer: %w", err)
	}
	return nil
}

// applySettings brings Tekton's settings up to date.
func (w *world) applySettings(ctx context.Context, _ func(string)) error {
	k, err := w.kube()
	if err != nil {
		return err
	}
	t, err := w.tektonNow()
	if err != nil {
		return err
	}
	_, err = k.apply(ctx, t.settings())
	return errors.Join(err, k.applied.keep())
}

// unfilled says what Tekton has not yet filled in of a webhook's configuration.
func unfilled(u *unstructured.Unstructured) string {
	hooks, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
	for _, h := range hooks {
		hook, _ := h.(map[string]any)
		if ca, _, _ := unstructured.NestedString(hook, "clientConfig", "caBundle"); ca == "" {
			return "its certificate is not filled in yet"
		}
		if rules, _, _ := unstructured.NestedSlice(hook, "rules"); len(rules) == 0 {
			return "its rules are not filled in yet"
		}
	}
	return ""
}

// askWebhook has the API server ask the webhook about a Task that is not kept.
func (k *kube) askWebhook(ctx context.Context) error {
	task := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "tekton.dev/v1", "kind": "Task",
		"metadata": map[string]any{"name": "webhook-answers", "namespace": upstream.TektonNamespace},
		"spec":     map[string]any{"steps": []any{map[string]any{"image": "none", "command": []any{"true"}}}},
	}}
	r, err := k.Resource(task)
	if err != nil {
		return err
	}
	_, err = r.Create(ctx, task, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}
