package installation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// ErrAbsent says that there is nothing to upgrade.
var ErrAbsent = errors.New("Kubernaut is not installed in this cluster")

// upgrader brings the kinds of one cluster to another version.
type upgrader struct {
	client client.WithWatch
	say    func(string)
}

// Upgrade brings the definitions of Kubernaut's kinds, read from the YAML files
// of folder, up to date. Every object that is there must be valid afterwards:
// where one is not, the definitions become again what they were, and the error
// names the objects. Helm leaves definitions alone; everything else of a release
// is upgraded with the chart.
func Upgrade(ctx context.Context, cfg *rest.Config, folder fs.FS, say func(string)) error {
	wanted, err := definitions(folder)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		return err
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	u := &upgrader{client: c, say: say}
	var before []*apiextensionsv1.CustomResourceDefinition
	for _, crd := range wanted {
		there, err := u.compatible(ctx, crd)
		if err != nil {
			return err
		}
		before = append(before, there)
	}
	for i, crd := range wanted {
		say("upgrading " + crd.Name)
		if err := u.replace(ctx, before[i], crd.Spec); err != nil {
			return errors.Join(err, u.restore(ctx, before))
		}
	}
	if err := u.check(ctx, wanted); err != nil {
		return errors.Join(err, u.restore(ctx, before))
	}
	return nil
}

func definitions(folder fs.FS) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := fs.Glob(folder, "*.yaml")
	if err != nil {
		return nil, err
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		raw, err := fs.ReadFile(folder, file)
		if err != nil {
			return nil, err
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(raw, crd); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, crd)
	}
	return all, nil
}

// compatible returns the definition as it is, and refuses one that would leave
// stored objects without a version to be read in.
func (u *upgrader) compatible(ctx context.Context, wanted *apiextensionsv1.CustomResourceDefinition) (*apiextensionsv1.CustomResourceDefinition, error) {
	there := &apiextensionsv1.CustomResourceDefinition{}
	err := u.client.Get(ctx, client.ObjectKeyFromObject(wanted), there)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: there is no %s; install the chart first", ErrAbsent, wanted.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", wanted.Name, err)
	}
	for _, stored := range there.Status.StoredVersions {
		if !slices.ContainsFunc(wanted.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == stored }) {
			return nil, fmt.Errorf("%s: objects are stored as %s, which this version does not know: this program is older than what is installed, or skips a release", wanted.Name, stored)
		}
	}
	return there, nil
}

// replace gives the definition another content and waits until the API server
// serves it.
func (u *upgrader) replace(ctx context.Context, there *apiextensionsv1.CustomResourceDefinition, spec apiextensionsv1.CustomResourceDefinitionSpec) error {
	changed := there.DeepCopy()
	patch := client.MergeFrom(there)
	changed.Spec = spec
	changed.Spec.Conversion = there.Spec.Conversion
	if err := u.client.Patch(ctx, changed, patch); err != nil {
		return fmt.Errorf("upgrading %s: %w", there.Name, err)
	}
	list := &apiextensionsv1.CustomResourceDefinitionList{}
	return until(ctx, u.client, list, func() (bool, string) {
		i := slices.IndexFunc(list.Items, func(c apiextensionsv1.CustomResourceDefinition) bool { return c.Name == there.Name })
		return i >= 0 && established(&list.Items[i]), there.Name + " is not established yet"
	}, u.say)
}

func established(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
}

// restore puts the definitions back.
func (u *upgrader) restore(ctx context.Context, before []*apiextensionsv1.CustomResourceDefinition) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, crd := range before {
		now := &apiextensionsv1.CustomResourceDefinition{}
		if err := u.client.Get(ctx, client.ObjectKeyFromObject(crd), now); err != nil {
			errs = append(errs, fmt.Errorf("putting back %s: %w", crd.Name, err))
			continue
		}
		if err := u.replace(ctx, now, crd.Spec); err != nil {
			errs = append(errs, fmt.Errorf("putting back: %w", err))
		}
	}
	u.say("the definitions are as they were")
	return errors.Join(errs...)
}

// check asks the API server about a copy of every object. An update that changes
// nothing would not do: what was invalid before is tolerated there.
func (u *upgrader) check(ctx context.Context, kinds []*apiextensionsv1.CustomResourceDefinition) error {
	var errs []error
	for _, crd := range kinds {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: crd.Spec.Group, Version: storageVersion(crd), Kind: crd.Spec.Names.ListKind})
		if err := u.client.List(ctx, list); err != nil {
			return fmt.Errorf("listing %s: %w", crd.Spec.Names.Plural, err)
		}
		u.say(fmt.Sprintf("checking %d %s", len(list.Items), crd.Spec.Names.Plural))
		for i := range list.Items {
			if err := u.valid(ctx, &list.Items[i]); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d objects would not be valid any more, nothing is changed:\n%w", len(errs), errors.Join(errs...))
	}
	return nil
}

func storageVersion(crd *apiextensionsv1.CustomResourceDefinition) string {
	for _, v := range crd.Spec.Versions {
		if v.Storage {
			return v.Name
		}
	}
	return ""
}

func (u *upgrader) valid(ctx context.Context, object *unstructured.Unstructured) error {
	twin := &unstructured.Unstructured{Object: map[string]any{"spec": object.Object["spec"], "status": object.Object["status"]}}
	twin.SetGroupVersionKind(object.GroupVersionKind())
	twin.SetNamespace(object.GetNamespace())
	twin.SetGenerateName(strings.TrimRight(object.GetName()[:min(len(object.GetName()), 40)], "-.") + "-")
	err := u.client.Create(ctx, twin, client.DryRunAll)
	if apierrors.IsInvalid(err) {
		return fmt.Errorf("%s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
	}
	if err != nil && !apierrors.IsForbidden(err) { // a policy has its own opinion of who may ask
		return fmt.Errorf("checking %s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
	}
	return nil
}
