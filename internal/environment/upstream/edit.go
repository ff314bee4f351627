package upstream

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var podSpec = []string{"spec", "template", "spec"}

// eachContainer lets edit change every container of a Deployment.
func eachContainer(u *unstructured.Unstructured, edit func(map[string]any) error) error {
	path := append(podSpec[:len(podSpec):len(podSpec)], "containers")
	containers, _, err := unstructured.NestedSlice(u.Object, path...)
	if err != nil {
		return err
	}
	for i, c := range containers {
		container, ok := c.(map[string]any)
		if !ok {
			return fmt.Errorf("container %d is no object", i)
		}
		if err := edit(container); err != nil {
			return err
		}
	}
	return unstructured.SetNestedSlice(u.Object, containers, path...)
}

// addVolume gives a Deployment's pods the ConfigMap as a volume of its name.
func addVolume(u *unstructured.Unstructured, configMap string) error {
	path := append(podSpec[:len(podSpec):len(podSpec)], "volumes")
	volumes, _, err := unstructured.NestedSlice(u.Object, path...)
	if err != nil {
		return err
	}
	volumes = append(volumes, map[string]any{"name": configMap, "configMap": map[string]any{"name": configMap}})
	return unstructured.SetNestedSlice(u.Object, volumes, path...)
}

func setAll(u *unstructured.Unstructured, values map[string]string, path ...string) error {
	for key, value := range values {
		if err := unstructured.SetNestedField(u.Object, value, append(path[:len(path):len(path)], key)...); err != nil {
			return err
		}
	}
	return nil
}

func toAny(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
