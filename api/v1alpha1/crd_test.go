package v1alpha1_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/servers"
)

type object = map[string]any

// connect returns a client of a real API server.
func connect(t *testing.T) client.Client {
	t.Helper()
	if testing.Short() {
		t.Skip("needs kube-apiserver: run make test")
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(servers.APIServer(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fullSpec has every field but cancel.
func fullSpec() object {
	return object{
		"workflowRef": object{
			"workflowId": "increase-memory", "version": "1.0.0", "containerImage": "registry/a:v1",
			"containerDigest": "sha256:" + strings.Repeat("a", 64),
		},
		"targetResource":        "payment/deployment/payment-api",
		"parameters":            object{"MEMORY": "1Gi"},
		"secretRefs":            []any{"a"},
		"configMapRefs":         []any{"b"},
		"executionConfig":       object{"timeout": "10m", "serviceAccountName": "runner"},
		"onBusy":                "Wait",
		"maxWait":               "5m",
		"remediationRequestRef": object{"name": "rr-1", "kind": "RemediationRequest", "namespace": "x", "apiVersion": "v1", "uid": "u"},
		"confidence":            0.5,
		"rationale":             "because",
		"createdBy":             "alice",
	}
}

func execution(name string, spec object) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: object{
		"apiVersion": "kubernaut.ai/v1alpha1", "kind": "WorkflowExecution",
		"metadata": object{"namespace": "default", "name": name}, "spec": spec,
	}}
}

func minimal() object {
	return object{"workflowRef": object{"workflowId": "w", "version": "1"}, "targetResource": "node/worker-1"}
}

// changed are other values for every field of fullSpec.
var changed = object{
	"workflowRef": object{"workflowId": "increase-memory", "version": "1.0.1"}, "targetResource": "payment/deployment/other",
	"parameters": object{"MEMORY": "2Gi"}, "secretRefs": []any{"c"}, "configMapRefs": []any{"d"},
	"executionConfig": object{"timeout": "11m"}, "onBusy": "Skip", "maxWait": "6m",
	"remediationRequestRef": object{"name": "rr-2"}, "confidence": 0.6, "rationale": "otherwise", "createdBy": "mallory",
}

func TestAPIServerKeepsTheRules(t *testing.T) {
	c := connect(t)
	t.Run("spec is immutable", func(t *testing.T) { specIsImmutable(t, c) })
	t.Run("a field that is not there cannot be added", func(t *testing.T) { nothingCanBeAdded(t, c) })
	t.Run("cancel", func(t *testing.T) { cancelOnlyGrows(t, c) })
	t.Run("values", func(t *testing.T) { valuesAreChecked(t, c) })
	t.Run("every reason can be stored", func(t *testing.T) { everyReasonFits(t, c) })
	t.Run("phase is selectable", func(t *testing.T) { phaseIsSelectable(t, c) })
	t.Run("a record keeps its target", func(t *testing.T) { recordKeepsItsTarget(t, c) })
}

func specIsImmutable(t *testing.T, c client.Client) {
	ex := execution("immutable", fullSpec())
	create(t, c, ex)
	if missing := slices.DeleteFunc(slices.Collect(maps.Keys(fullSpec())), func(f string) bool { return changed[f] != nil }); len(missing) > 0 {
		t.Fatalf("no other value to try for %v", missing)
	}
	for field, other := range changed {
		for how, edit := range map[string]func(object){
			"changed": func(s object) { s[field] = other },
			"removed": func(s object) { delete(s, field) },
		} {
			next := ex.DeepCopy()
			spec := next.Object["spec"].(object)
			edit(spec)
			if err := c.Update(t.Context(), next); err == nil {
				t.Errorf("spec.%s was %s and the API server took it", field, how)
			}
		}
	}
}

func nothingCanBeAdded(t *testing.T, c client.Client) {
	ex := execution("addition", minimal())
	create(t, c, ex)
	for field, value := range fullSpec() {
		if _, there := minimal()[field]; there {
			continue
		}
		next := ex.DeepCopy()
		next.Object["spec"].(object)[field] = value
		if err := c.Update(t.Context(), next); err == nil || !strings.Contains(err.Error(), "immutable") {
			t.Errorf("spec.%s was added: error is %v, want one that says immutable", field, err)
		}
	}
}

func cancelOnlyGrows(t *testing.T, c client.Client) {
	graceful := object{"mode": "Graceful", "reason": "wrong target"}
	immediate := object{"mode": "Immediate", "reason": "wrong target"}
	ex := execution("cancel", minimal())
	create(t, c, ex)
	for _, step := range []struct {
		why    string
		cancel object
		ok     bool
	}{
		{"empty reason", object{"mode": "Graceful", "reason": ""}, false},
		{"unknown mode", object{"mode": "Maybe", "reason": "x"}, false},
		{"first", graceful, true},
		{"taken back", nil, false},
		{"other reason", object{"mode": "Graceful", "reason": "y"}, false},
		{"becomes immediate", immediate, true},
		{"graceful again", graceful, false},
	} {
		next := ex.DeepCopy()
		delete(next.Object["spec"].(object), "cancel")
		if step.cancel != nil {
			next.Object["spec"].(object)["cancel"] = step.cancel
		}
		err := c.Update(t.Context(), next)
		if (err == nil) != step.ok {
			t.Errorf("%s: error is %v, want ok=%v", step.why, err, step.ok)
		}
		if err == nil {
			ex = next
		}
	}
}

func valuesAreChecked(t *testing.T, c client.Client) {
	many := object{}
	for i := range 65 {
		many["P"+strings.Repeat("X", i)] = "v"
	}
	for _, row := range []struct {
		why, field string
		value      any
		ok         bool
	}{
		{"namespaced", "targetResource", "payment/deployment/payment-api", true},
		{"with group", "targetResource", "payment/Deployment.apps/payment-api", true},
		{"cluster-scoped", "targetResource", "node/worker-1.example.com", true},
		{"name of a role", "targetResource", "clusterrole.rbac.authorization.k8s.io/system:node", true},
		{"one part", "targetResource", "payment-api", false},
		{"four parts", "targetResource", "a/b/c/d", false},
		{"empty part", "targetResource", "a//c", false},
		{"white space", "targetResource", "a/b/c ", false},
		{"upper-case namespace", "targetResource", "Pay/deployment/x", false},
		{"lower-case parameter", "parameters", object{"memory": "1"}, false},
		{"long value", "parameters", object{"A": strings.Repeat("x", 8193)}, false},
		{"longest value", "parameters", object{"A": strings.Repeat("x", 8192)}, true},
		{"65 parameters", "parameters", many, false},
		{"no duration", "maxWait", "soon", false},
		{"zero wait", "maxWait", "0s", false},
		{"negative timeout", "executionConfig", object{"timeout": "-1s"}, false},
		{"confidence above one", "confidence", 1.1, false},
		{"digest without image", "workflowRef", object{"workflowId": "w", "version": "1", "containerDigest": "sha256:" + strings.Repeat("a", 64)}, false},
		{"short digest", "workflowRef", object{"workflowId": "w", "version": "1", "containerImage": "i", "containerDigest": "sha256:aa"}, false},
		{"no version", "workflowRef", object{"workflowId": "w"}, false},
		{"the same secret twice", "secretRefs", []any{"a", "a"}, false},
		{"unknown onBusy", "onBusy", "Queue", false},
	} {
		spec := minimal()
		spec[row.field] = row.value
		ex := execution("", spec)
		ex.SetGenerateName("value-")
		if err := c.Create(t.Context(), ex); (err == nil) != row.ok {
			t.Errorf("%s: error is %v, want ok=%v", row.why, err, row.ok)
		}
	}
}

// everyReasonFits: a reason that the controller writes and the schema refuses
// would make an execution loop for ever.
func everyReasonFits(t *testing.T, c client.Client) {
	ex := execution("reasons", minimal())
	create(t, c, ex)
	store := func(status object) {
		t.Helper()
		ex.Object["status"] = status
		if err := c.Status().Update(t.Context(), ex); err != nil {
			t.Errorf("%v: %v", status, err)
		}
	}
	const at = "2026-01-02T03:04:05Z"
	for _, r := range v1alpha1.FailureReasons {
		store(object{"failureDetails": object{
			"failedTaskIndex": int64(-1), "reason": string(r), "message": "m", "failedAt": at, "naturalLanguageSummary": "s",
			"wasExecutionFailure": false, "retrySafe": true,
		}})
	}
	for _, r := range v1alpha1.SkipReasons {
		store(object{"skipDetails": object{"reason": string(r), "message": "m", "skippedAt": at}})
	}
	for _, p := range v1alpha1.Phases {
		store(object{"phase": string(p)})
	}
}

func phaseIsSelectable(t *testing.T, c client.Client) {
	ex := execution("selectable", minimal())
	create(t, c, ex)
	ex.Object["status"] = object{"phase": "Skipped"}
	if err := c.Status().Update(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	var found v1alpha1.WorkflowExecutionList
	if err := c.List(t.Context(), &found, client.MatchingFields{"status.phase": "Skipped"}); err != nil {
		t.Fatal(err)
	}
	if len(found.Items) != 1 || found.Items[0].Name != "selectable" {
		t.Errorf("selecting phase Skipped found %d executions, want only selectable", len(found.Items))
	}
}

func recordKeepsItsTarget(t *testing.T, c client.Client) {
	rt := &v1alpha1.RemediationTarget{Spec: v1alpha1.RemediationTargetSpec{Target: "node/worker-1"}}
	rt.Namespace, rt.Name = "default", "record"
	create(t, c, rt)
	rt.Spec.Target = "node/worker-2"
	if err := c.Update(t.Context(), rt); err == nil {
		t.Error("spec.target was changed and the API server took it")
	}
}

func create(t *testing.T, c client.Client, obj client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
}
