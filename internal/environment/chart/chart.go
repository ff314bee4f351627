// Package chart renders a Helm chart and splits what it says into components.
package chart

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/manifest"
)

// ComponentLabel says which component an object of a chart belongs to.
const ComponentLabel = "app.kubernetes.io/component"

// CRDs is the component of the objects in a chart's crds/ folder.
const CRDs = "crds"

// Release is what a chart is rendered for.
type Release struct {
	Name, Namespace string
	KubeVersion     string // of the API server, for example v1.37.2
	Values          map[string]any
}

// Render returns the objects of the chart in dir, by component. An object
// without the component label is an error: nobody would wait for it.
func Render(ctx context.Context, dir string, r Release) (map[string][]*unstructured.Unstructured, error) {
	loaded, err := loader.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("loading chart %s: %w", dir, err)
	}
	values, err := r.values(loaded)
	if err != nil {
		return nil, fmt.Errorf("values of chart %s: %w", dir, err)
	}
	rendered, err := engine.Engine{}.RenderWithContext(ctx, loaded, values)
	if err != nil {
		return nil, fmt.Errorf("rendering chart %s: %w", dir, err)
	}
	components := map[string][]*unstructured.Unstructured{}
	for _, crd := range loaded.CRDObjects() {
		found, err := manifest.Decode(crd.File.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", crd.Filename, err)
		}
		components[CRDs] = append(components[CRDs], found...)
	}
	return components, split(rendered, components)
}

func (r Release) values(loaded *chart.Chart) (common.Values, error) {
	version, err := common.ParseKubeVersion(r.KubeVersion)
	if err != nil {
		return nil, fmt.Errorf("version %q of Kubernetes: %w", r.KubeVersion, err)
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	release := common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, IsInstall: true, Revision: 1}
	return util.ToRenderValues(loaded, r.Values, release, capabilities)
}

// split adds the objects of the rendered files to their components, in the
// order of the files' names.
func split(rendered map[string]string, components map[string][]*unstructured.Unstructured) error {
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		objects, err := manifest.Decode([]byte(rendered[name]))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, u := range objects {
			component := u.GetLabels()[ComponentLabel]
			if component == "" {
				return fmt.Errorf("%s: %s %s has no label %s", name, u.GetKind(), u.GetName(), ComponentLabel)
			}
			components[component] = append(components[component], u)
		}
	}
	return nil
}
