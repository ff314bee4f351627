package readiness

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// referenced are the kinds a pod refers to, which must exist before it starts.
var referenced = map[string]schema.GroupVersionKind{
	"Secret":                {Version: "v1", Kind: "Secret"},
	"ConfigMap":             {Version: "v1", Kind: "ConfigMap"},
	"ServiceAccount":        {Version: "v1", Kind: "ServiceAccount"},
	"PersistentVolumeClaim": {Version: "v1", Kind: "PersistentVolumeClaim"},
}

// missing says which object the workload refers to does not exist, or lacks the
// key it asks for; nothing when all are there. What the cluster adds to each
// namespace by itself is only late, never missing.
func (c *Cluster) missing(ctx context.Context, workload *unstructured.Unstructured) (string, error) {
	needs, err := derive.Needs(workload)
	if err != nil {
		return "", err
	}
	implied := derive.Implied(workload.GetNamespace())
	for _, n := range needs {
		gvk, checked := referenced[n.Of.Kind]
		if !checked || n.Optional || slices.Contains(implied, n.Of) {
			continue
		}
		problem, err := c.absent(ctx, gvk, n.Of)
		if err != nil || problem != "" {
			return problem, err
		}
	}
	return "", nil
}

func (c *Cluster) absent(ctx context.Context, gvk schema.GroupVersionKind, o plan.Object) (string, error) {
	r, err := c.resource(gvk, o.Namespace)
	if err != nil {
		return "", err
	}
	found, err := r.Get(ctx, o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Sprintf("it refers to %s, which does not exist%s", o.WithKey(""), c.similar(ctx, gvk, o)), nil
	}
	if err != nil || o.Key == "" || slices.Contains(derive.Provides(found), o) {
		return "", err
	}
	var keys []string
	for _, p := range derive.Provides(found) {
		if p.Key != "" {
			keys = append(keys, p.Key)
		}
	}
	if len(keys) == 0 {
		return fmt.Sprintf("it refers to %s, which is empty", o), nil
	}
	slices.Sort(keys)
	return fmt.Sprintf("it refers to %s, which has no such key; its keys are: %s", o, strings.Join(keys, ", ")), nil
}

// similar lists what of that kind does exist in the namespace, the most alike first.
func (c *Cluster) similar(ctx context.Context, gvk schema.GroupVersionKind, o plan.Object) string {
	r, err := c.resource(gvk, o.Namespace)
	if err != nil {
		return ""
	}
	list, err := r.List(ctx, metav1.ListOptions{})
	if err != nil {
		return "" // the hint is lost, the cause is not
	}
	var names []string
	for _, item := range list.Items {
		names = append(names, item.GetName())
	}
	alike := closest(o.Name, names)
	if len(alike) == 0 {
		return fmt.Sprintf(" (there is no %s at all)", o.Kind)
	}
	return " (there is " + strings.Join(alike, ", ") + ")"
}

// closest returns up to three names, those that differ least from the wanted one first.
func closest(wanted string, names []string) []string {
	names = slices.Clone(names)
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(wanted, a), distance(wanted, b)), cmp.Compare(a, b))
	})
	return names[:min(3, len(names))]
}

// distance counts the letters to insert, remove or change from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
