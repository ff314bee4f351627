package charts

import (
	"encoding/json"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

func jsonText(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// typed turns the objects of one kind into T.
func typed[T any](t *testing.T, objects []*unstructured.Unstructured, kind string) []T {
	t.Helper()
	var found []T
	for _, o := range objects {
		if o.GetKind() != kind {
			continue
		}
		var one T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &one, true); err != nil {
			t.Fatalf("%s %s: %v", kind, o.GetName(), err)
		}
		found = append(found, one)
	}
	return found
}

// rules returns the rules of every role, by the role's name.
func rules(t *testing.T, objects []*unstructured.Unstructured) map[string][]rbacv1.PolicyRule {
	t.Helper()
	found := map[string][]rbacv1.PolicyRule{}
	for _, role := range typed[rbacv1.ClusterRole](t, objects, "ClusterRole") {
		found["ClusterRole "+role.Name] = role.Rules
	}
	for _, role := range typed[rbacv1.Role](t, objects, "Role") {
		found["Role "+role.Namespace+"/"+role.Name] = role.Rules
	}
	return found
}

// TestNoRuleAllowsWhatItDoesNotName: no wildcard, and no verb or resource by
// which a right begets further rights.
func TestNoRuleAllowsWhatItDoesNotName(t *testing.T) {
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		for name, list := range rules(t, objects) {
			for _, rule := range list {
				words := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs)
				for _, forbidden := range []string{"*", "escalate", "bind", "impersonate", "pods/exec", "serviceaccounts/token", "roles", "clusterroles"} {
					if slices.Contains(words, forbidden) {
						t.Errorf("%s allows %q: %+v", name, forbidden, rule)
					}
				}
				if len(rule.NonResourceURLs) > 0 {
					t.Errorf("%s allows URLs: %+v", name, rule)
				}
			}
		}
	})
}

// TestSecretsAreReadByNameInOneNamespace: nobody lists Secrets, and only the
// controller reads them, where the runs mount them.
func TestSecretsAreReadByNameInOneNamespace(t *testing.T) {
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		for name, list := range rules(t, objects) {
			for _, rule := range list {
				if !slices.Contains(rule.Resources, "secrets") {
					continue
				}
				if name != "Role kubernaut-workflows/kubernaut-controller" || !slices.Equal(rule.Verbs, []string{"get"}) {
					t.Errorf("%s may %q Secrets", name, rule.Verbs)
				}
			}
		}
	})
}

func TestBindingsLeadFromAccountsToRoles(t *testing.T) {
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		check := func(binding, namespace string, role rbacv1.RoleRef, subjects []rbacv1.Subject) {
			if find(objects, role.Kind, namespace+"/"+role.Name) == nil {
				t.Errorf("%s binds %s %s, which the chart does not have", binding, role.Kind, role.Name)
			}
			for _, s := range subjects {
				if s.Kind != "ServiceAccount" || find(objects, s.Kind, s.Namespace+"/"+s.Name) == nil {
					t.Errorf("%s binds %s %s/%s, which the chart does not have", binding, s.Kind, s.Namespace, s.Name)
				}
			}
		}
		for _, b := range typed[rbacv1.ClusterRoleBinding](t, objects, "ClusterRoleBinding") {
			check(b.Name, "", b.RoleRef, b.Subjects)
		}
		for _, b := range typed[rbacv1.RoleBinding](t, objects, "RoleBinding") {
			check(b.Name, b.Namespace, b.RoleRef, b.Subjects)
		}
	})
}
