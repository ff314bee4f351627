package environment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cluster/local"
	"kubernaut.ai/kubernaut/internal/environment/chart"
	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/run"
	"kubernaut.ai/kubernaut/internal/image"
)

type objects = []*unstructured.Unstructured

// kubernetesVersion is what the chart is rendered for.
const kubernetesVersion = "v1.37.2"

// declared is what no manifest of a component says.
var declared = map[string]struct {
	needs    []plan.Object
	expected time.Duration
	volume   int // the user that a folder of the node is made for; 0: none is
}{
	partNamespaces:  {expected: 300 * time.Millisecond},
	partDefinitions: {expected: time.Second},
	partPostgreSQL:  {expected: 6 * time.Second, volume: 999},
	partRedis:       {expected: 4 * time.Second, volume: 999},
	partRegistry:    {expected: 4 * time.Second, volume: 65532},
	partMigration:   {needs: []plan.Object{database, dns}, expected: 4 * time.Second},
	partDataStorage: {needs: []plan.Object{schema, part(partRedis), dns}, expected: 5 * time.Second},
	partPolicies:    {expected: 500 * time.Millisecond},
	partController: {expected: 6 * time.Second, needs: []plan.Object{
		dns, part(partDefinitions),
		derive.API(groupKind("tekton.dev", "PipelineRun")), derive.API(groupKind("tekton.dev", "TaskRun")),
	}},
}

func groupKind(group, kind string) apischema.GroupKind {
	return apischema.GroupKind{Group: group, Kind: kind}
}

// productComponents are the components of the chart. Each waits for what its
// manifests refer to, and for what is declared.
func (w *world) productComponents(ctx context.Context) ([]component, error) {
	rendered, err := w.render(ctx)
	if err != nil {
		return nil, err
	}
	upstreams, err := w.tekton(nil)
	if err != nil {
		return nil, err
	}
	guards, err := upstreams.guards()
	if err != nil {
		return nil, err
	}
	var all []component
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		step, err := stepOf(name, rendered[name], guards)
		if err != nil {
			return nil, err
		}
		extra := declared[name]
		step.Expected = extra.expected
		step.Needs = append(step.Needs, needs(extra.needs...)...)
		step.Provides = append(step.Provides, part(name))
		all = append(all, component{step, w.install(name)})
	}
	return append(all, w.accountsComponent(rendered[partNamespaces]), w.admissionComponent()), nil
}

// stepOf derives a step from manifests and the webhooks that are asked about
// them. What the cluster adds to namespaces is left to a step of its own: most
// need only the namespace.
func stepOf(name string, manifests objects, guards []derive.Guard) (plan.Step, error) {
	derived, err := derive.Needs(manifests...)
	if err := errors.Join(err, derive.Unchangeable(manifests...)); err != nil {
		return plan.Step{}, fmt.Errorf("component %s: %w", name, err)
	}
	step := plan.Step{Name: name, Needs: slices.Concat(needs(clusterObject), derived, derive.Guarded(guards, manifests...))}
	implied := map[plan.Object]bool{}
	for _, u := range manifests {
		if u.GetKind() == "Namespace" {
			for _, o := range derive.Implied(u.GetName()) {
				implied[o] = true
			}
		}
	}
	for _, o := range derive.Provides(manifests...) {
		if !implied[o] {
			step.Provides = append(step.Provides, o)
		}
	}
	return step, nil
}

// install applies a component as it is rendered now, with the images that were
// made, and waits until it is ready.
func (w *world) install(name string) run.Task {
	return func(ctx context.Context, say func(string)) error {
		k, err := w.kube()
		if err != nil {
			return err
		}
		if err := w.volume(name); err != nil {
			return err
		}
		rendered, err := w.render(ctx)
		if err != nil {
			return err
		}
		return k.settle(ctx, rendered[name], say)
	}
}

func (w *world) volume(name string) error {
	owner := declared[name].volume
	c, err := w.cluster()
	if err != nil {
		return err
	}
	node, ok := c.(interface {
		Volume(name string, owner int) error
	})
	if !ok || owner == 0 {
		return nil
	}
	return node.Volume(name, owner)
}

// render is the chart with the images known so far.
func (w *world) render(ctx context.Context) (map[string]objects, error) {
	return chart.Render(ctx, filepath.Join(w.cache.Source, "charts", "kubernaut"), chart.Release{
		Name: release, Namespace: v1alpha1.SystemNamespace, KubeVersion: w.found.version, Values: w.values(),
	})
}

func (w *world) values() map[string]any {
	images := map[string]any{}
	for _, name := range []string{image.DataStorage, image.Controller, image.PostgreSQL, image.Redis, image.Registry} {
		images[name] = w.made.reference(name)
	}
	existing := func(name string) map[string]any { return map[string]any{"existingSecret": name} }
	values := map[string]any{
		"images":      images,
		"namespaces":  map[string]any{"createSystem": true},
		"ca":          map[string]any{"existingConfigMap": authorityConfigMap},
		"postgresql":  map[string]any{"existingSecret": databaseSecret, "persistence": w.persistence(partPostgreSQL)},
		"redis":       map[string]any{"existingSecret": redisSecret, "persistence": w.persistence(partRedis)},
		"datastorage": map[string]any{"tls": existing(dataStorageTLS), "catalog": map[string]any{"pullSecret": pullSecretName}},
		"workflows":   map[string]any{"pullSecret": map[string]any{"existing": pullSecretName}},
	}
	if w.options.ownsCluster() {
		values["registry"] = map[string]any{
			"enabled": true, "clusterIP": registryAddress, "persistence": w.persistence(partRegistry),
			"tls": existing(registryTLS), "auth": existing(registryLogin),
		}
		return values
	}
	values["imagePullSecrets"] = []any{map[string]any{"name": pullSecretName}}
	if _, port, ok := strings.Cut(w.options.registryHost(), ":"); ok {
		if number, err := strconv.Atoi(port); err == nil {
			values["network"] = map[string]any{"registries": map[string]any{"ports": []any{number}}}
		}
	}
	return values
}

// persistence is where a component keeps its data: in a folder of our own node,
// else in a claim. It goes with the pod only where somebody has said so.
func (w *world) persistence(component string) map[string]any {
	switch {
	case w.options.Cluster == Local:
		return map[string]any{"hostPath": filepath.Join(local.Volumes, component)}
	case w.options.Ephemeral:
		return map[string]any{"type": "emptyDir"}
	}
	return map[string]any{"type": "claim", "storageClass": w.options.StorageClass}
}

// admissionComponent proves that the admission policies act: the API server
// takes them up a moment after it has them.
func (w *world) admissionComponent() component {
	step := plan.Step{
		Name: "admission", Expected: time.Second, Provides: []plan.Object{admission},
		Needs: needs(part(partPolicies), part(partDefinitions)),
	}
	return component{step, func(ctx context.Context, say func(string)) error {
		k, err := w.kube()
		if err != nil {
			return err
		}
		return try(ctx, say, k.askAdmission)
	}}
}

// askAdmission has the API server stamp an execution that is not kept.
func (k *kube) askAdmission(ctx context.Context) error {
	ex := &v1alpha1.WorkflowExecution{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "WorkflowExecution"},
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "admission-acts"},
		Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef:    v1alpha1.WorkflowRef{WorkflowID: "none", Version: "1.0.0"},
			TargetResource: "default/deployment/none",
		},
	}
	converted, err := toUnstructured([]runtime.Object{ex})
	if err != nil {
		return err
	}
	r, err := k.Resource(converted[0])
	if err != nil {
		return err
	}
	stamped, err := r.Create(ctx, converted[0], metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return fmt.Errorf("asking for an execution: %w", err)
	}
	if by, _, _ := unstructured.NestedString(stamped.Object, "spec", "createdBy"); by == "" {
		return errors.New("the policies do not stamp who asks for an execution yet")
	}
	return nil
}

// accountsComponent waits for what the cluster adds to each new namespace.
func (w *world) accountsComponent(namespaces ...objects) component {
	step := plan.Step{Name: "accounts", Expected: 2 * time.Second}
	var awaited objects
	for _, u := range slices.Concat(namespaces...) {
		if u.GetKind() != "Namespace" {
			continue
		}
		step.Needs = append(step.Needs, needs(derive.Of(u))...)
		step.Provides = append(step.Provides, derive.Implied(u.GetName())...)
		for _, o := range derive.Implied(u.GetName()) {
			if o.Key == "" {
				awaited = append(awaited, named(o))
			}
		}
	}
	return component{step, func(ctx context.Context, say func(string)) error {
		k, err := w.kube()
		if err != nil {
			return err
		}
		return k.WaitToAppear(ctx, awaited, say)
	}}
}

// named is a core object of which only the name is known.
func named(o plan.Object) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("v1")
	u.SetKind(o.Kind)
	u.SetNamespace(o.Namespace)
	u.SetName(o.Name)
	return u
}
