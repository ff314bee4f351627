package readiness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/diagnose"
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      containers: [{name: main, image: web, env: [{name: A, valueFrom: {secretKeyRef: {name: database, key: url}}}]}]
      volumes: [{name: m, configMap: {name: mabye, optional: true}}]
`

const available = `{apiVersion: v1, kind: X, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, conditions: [{type: Available, status: "True"}, {type: Progressing, status: "True", reason: NewReplicaSetAvailable}]}}`

// waiting begins a wait and returns when the object was seen for the first time.
func (w world) waiting(ctx context.Context, objects ...*unstructured.Unstructured) <-chan error {
	w.Helper()
	seen, result := make(chan string, 100), make(chan error, 1)
	go func() { result <- running.Wait(ctx, objects, func(note string) { seen <- note }) }()
	select {
	case <-seen:
	case err := <-result:
		result <- err
	case <-time.After(30 * time.Second):
		w.Fatal("the object was not seen")
	}
	return result
}

func (w world) result(result <-chan error) error {
	w.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(30 * time.Second):
		w.Fatal("the wait does not end")
		return nil
	}
}

// fails waits for the object and returns the Failure that must come of it.
func (w world) fails(result <-chan error) *Failure {
	w.Helper()
	err := w.result(result)
	var failure *Failure
	if !errors.As(err, &failure) {
		w.Fatalf("got %v, want a Failure", err)
	}
	return failure
}

func TestWaitEndsWhenTheObjectIsReady(t *testing.T) {
	w := newWorld(t)
	web := w.create(deployment)
	account := w.create("{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}")
	result := w.waiting(t.Context(), web, account)
	w.setStatus(web, w.status(available))
	if err := w.result(result); err != nil {
		t.Error(err)
	}
}

func TestWhatIsReadyNeedsNoWatch(t *testing.T) {
	w := newWorld(t)
	account := w.create("{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // any request would fail
	if err := running.Wait(ctx, []*unstructured.Unstructured{account}, func(string) {}); err != nil {
		t.Error(err)
	}
}

func TestANameThatDoesNotExist(t *testing.T) {
	w := newWorld(t)
	w.create(strings.Replace(deployment, "name: web", "name: postgresql", 1))
	w.create(strings.Replace(deployment, "name: web", "name: datastorage", 1))
	f := w.fails(w.waiting(t.Context(), w.parse(strings.Replace(deployment, "name: web", "name: postgres", 1))))
	want := fmt.Sprintf(`Deployment "postgres" in %s is waited for and does not exist (there is postgresql, datastorage)`, w.namespace)
	if f.Cause != want || !f.Hopeless {
		t.Errorf("got %+v, want the cause %q", f, want)
	}
}

func TestAnObjectReplacedByAnotherOfItsName(t *testing.T) {
	w := newWorld(t)
	old := w.create(deployment)
	w.remove(old)
	w.create(deployment)
	f := w.fails(w.waiting(t.Context(), old))
	if !strings.Contains(f.Cause, "replaced by another object") {
		t.Errorf("got %s", f.Cause)
	}
}

func TestAnObjectDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	web := w.create(deployment)
	result := w.waiting(t.Context(), web)
	w.remove(web)
	if f := w.fails(result); f.Cause != "it was deleted while it was waited for" {
		t.Errorf("got %s", f.Cause)
	}
}

func TestLateTellsWhatWasMissing(t *testing.T) {
	w := newWorld(t)
	web := w.create(deployment)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	result := w.waiting(ctx, web)
	w.setStatus(web, w.status(`{apiVersion: v1, kind: X, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, unavailableReplicas: 1, conditions: [{type: Available, status: "False", reason: MinimumReplicasUnavailable, message: too few}]}}`))
	f := w.fails(result)
	if !strings.HasPrefix(f.Cause, "not ready in time: ") || f.Hopeless {
		t.Errorf("got %+v", f)
	}
	if diff := cmp.Diff([]string{"Available=False (MinimumReplicasUnavailable: too few)"}, f.Conditions); diff != "" {
		t.Error(diff)
	}
}

func TestCancelledIsNoFailure(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := w.waiting(ctx, w.create(deployment))
	cancel()
	if err := w.result(result); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFailedJob(t *testing.T) {
	w := newWorld(t)
	job := w.create(`{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}`)
	result := w.waiting(t.Context(), job)
	w.create(`{apiVersion: v1, kind: Event, metadata: {name: e}, type: Warning, reason: BackoffLimitExceeded, message: it failed, involvedObject: {kind: Job, name: migrate, namespace: ` + w.namespace + `}}`)
	w.setStatus(job, w.status(`{apiVersion: v1, kind: X, status: {startTime: "2026-11-22T03:00:00Z", failed: 1, conditions: [
		{type: FailureTarget, status: "True", reason: BackoffLimitExceeded, message: limit reached, lastProbeTime: "2026-11-22T03:00:00Z", lastTransitionTime: "2026-11-22T03:00:00Z"},
		{type: Failed, status: "True", reason: BackoffLimitExceeded, message: limit reached, lastProbeTime: "2026-11-22T03:00:00Z", lastTransitionTime: "2026-11-22T03:00:00Z"}]}}`))
	f := w.fails(result)
	if f.Cause != "Job Failed. failed: 1/1; limit reached" {
		t.Errorf("got %s", f.Cause)
	}
	if diff := cmp.Diff([]string{"BackoffLimitExceeded of migrate: it failed"}, f.Events); diff != "" {
		t.Error(diff)
	}
}

func TestAJobThatRunsIsNotReady(t *testing.T) {
	v, err := judge(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "status": map[string]any{"startTime": "2026-11-22T03:00:00Z", "active": int64(1)},
	}})
	if err != nil || v.ready || v.failed {
		t.Errorf("got %+v, %v", v, err)
	}
}

// pod is one of the Deployment's pods as the given replica set made it.
func (w world) pod(set *unstructured.Unstructured, container string) {
	w.create(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  generateName: web-
  labels: {app: web}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: %s, uid: %s, controller: true}]
spec: {containers: [{name: main, image: web, env: [{name: A, valueFrom: {secretKeyRef: {name: database, key: url}}}]}]}
status: {phase: Pending, containerStatuses: [{name: main, image: web, imageID: "", ready: false, %s}]}
`, set.GetName(), set.GetUID(), container))
}

// revision makes a replica set of the Deployment.
func (w world) revision(web *unstructured.Unstructured, number int) *unstructured.Unstructured {
	return w.create(fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  generateName: web-
  annotations: {deployment.kubernetes.io/revision: "%d"}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: %s, controller: true}]
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: web}]}}}
`, number, web.GetUID()))
}

// current is the Deployment in its second revision.
func (w world) current() *unstructured.Unstructured {
	web := strings.Replace(deployment, "name: web}", `name: web, annotations: {deployment.kubernetes.io/revision: "2"}}`, 1)
	return w.create(web + "status: {observedGeneration: 1, replicas: 1, unavailableReplicas: 1}\n")
}

const crashing = `restartCount: 2, state: {waiting: {reason: CrashLoopBackOff, message: back-off 20s}}, lastState: {terminated: {exitCode: 3, reason: Error}}`

func TestACrashLoopEndsTheWait(t *testing.T) {
	w := newWorld(t)
	web := w.current()
	result := w.waiting(t.Context(), web)
	w.pod(w.revision(web, 2), crashing)
	f := w.fails(result)
	if want := fmt.Sprintf(`container main of Deployment "web" in %s ends with exit code 3 and writes nothing`, w.namespace); f.Cause != want {
		t.Errorf("got %s, want %s", f.Cause, want)
	}
	if len(f.Findings) != 1 || f.Findings[0].Code != diagnose.ContainerCrash || !strings.Contains(f.Error(), "CrashLoopBackOff: back-off 20s (exit code 3, 2 restarts)") {
		t.Errorf("got %v", f)
	}
}

func TestCrashesOfAnOlderRevisionDoNotCount(t *testing.T) {
	w := newWorld(t)
	web := w.current()
	w.pod(w.revision(web, 1), crashing)
	result := w.waiting(t.Context(), web)
	w.setStatus(web, w.status(available))
	if err := w.result(result); err != nil {
		t.Error(err)
	}
}

func TestAnImageThatCannotBePulled(t *testing.T) {
	w := newWorld(t)
	web := w.current()
	result := w.waiting(t.Context(), web)
	w.pod(w.revision(web, 2), `restartCount: 0, state: {waiting: {reason: ImagePullBackOff, message: not found}}`)
	if f := w.fails(result); !strings.Contains(f.Cause, "image web cannot be pulled: it does not exist in its registry") {
		t.Errorf("got %s", f.Cause)
	}
}

func TestASecretThatDoesNotExist(t *testing.T) {
	w := newWorld(t)
	w.create("{apiVersion: v1, kind: Secret, metadata: {name: databse}}")
	web := w.current()
	result := w.waiting(t.Context(), web)
	w.pod(w.revision(web, 2), `restartCount: 0, state: {waiting: {reason: CreateContainerConfigError, message: x}}`)
	f := w.fails(result)
	if want := fmt.Sprintf(`Deployment "web" in %[1]s refers to Secret "database" in %[1]s, which does not exist (there is databse)`, w.namespace); f.Cause != want {
		t.Errorf("got %s, want %s", f.Cause, want)
	}
}

func TestAKeyThatASecretLacks(t *testing.T) {
	w := newWorld(t)
	w.create("{apiVersion: v1, kind: Secret, metadata: {name: database}, stringData: {uri: x, name: z}}")
	web := w.current()
	result := w.waiting(t.Context(), web)
	w.pod(w.revision(web, 2), `restartCount: 0, state: {waiting: {reason: CreateContainerConfigError, message: x}}`)
	f := w.fails(result)
	if want := fmt.Sprintf(`Deployment "web" in %[1]s refers to key "url" of Secret "database" in %[1]s, which has no such key; its keys are: name, uri`, w.namespace); f.Cause != want {
		t.Errorf("got %s, want %s", f.Cause, want)
	}
}

func TestAWarningAloneIsNoReasonToGiveUp(t *testing.T) {
	w := newWorld(t)
	w.create("{apiVersion: v1, kind: Secret, metadata: {name: database}, stringData: {url: x}}")
	web := w.current()
	result := w.waiting(t.Context(), web)
	w.create(`{apiVersion: v1, kind: Event, metadata: {name: e}, type: Warning, reason: FailedMount, message: x, involvedObject: {kind: Pod, name: web-1, namespace: ` + w.namespace + `}}`)
	w.setStatus(web, w.status(available))
	if err := w.result(result); err != nil {
		t.Error(err)
	}
}

func TestAFailureTellsNoSecret(t *testing.T) {
	w := newWorld(t)
	w.create("{apiVersion: v1, kind: Secret, metadata: {name: database}, stringData: {key: cog-wheel-42}}")
	job := w.create(`{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}`)
	w.create(`{apiVersion: v1, kind: Event, metadata: {name: e}, type: Warning, reason: Failed, message: "no login with cog-wheel-42, password=open-sesame", involvedObject: {kind: Job, name: migrate, namespace: ` + w.namespace + `}}`)
	seen := w.setStatus(job, w.status(`{apiVersion: v1, kind: X, status: {startTime: "2026-11-22T03:00:00Z", conditions: [{type: Suspended, status: "True", message: cog-wheel-42}]}}`))
	notes := &waiter{cluster: running, wanted: job, seen: seen, say: func(string) {}}

	err := notes.failure(t.Context(), "psql: postgres://owner:open-sesame@database", false)

	if text := err.Error(); strings.Contains(text, "open-sesame") || strings.Contains(text, "cog-wheel-42") || !strings.Contains(text, "Failed of migrate: no login with ***") {
		t.Errorf("got %s", text)
	}
	if notes.tell("password: open-sesame"); notes.message != "password: ***" {
		t.Errorf("it says %s", notes.message)
	}
}

// What a container wrote is shown where no cause is proved.
func TestALogLineIsMaskedByItsForm(t *testing.T) {
	f := &Failure{Cause: "late", Log: &Log{Pod: "web-1", Container: "main", Lines: []string{"login", "PGPASSWORD=open-sesame psql"}}}
	f.mask(diagnose.Mask{})
	if diff := cmp.Diff([]string{"login", "PGPASSWORD=*** psql"}, f.Log.Lines); diff != "" {
		t.Error(diff)
	}
}

func TestFailureReadsTopDown(t *testing.T) {
	f := &Failure{
		Object: named(&unstructured.Unstructured{Object: map[string]any{"kind": "Deployment", "metadata": map[string]any{"name": "web", "namespace": "pay"}}}),
		Cause:  "it crashes", Conditions: []string{"Available=False"}, Pods: []string{"pod web-1: Running"},
		Events: []string{"BackOff of web-1: x"}, Log: &Log{Pod: "web-1", Container: "main", Lines: []string{"a", "b"}},
	}
	want := `Deployment "web" in pay: it crashes
  condition Available=False
  pod web-1: Running
  event BackOff of web-1: x
  last lines of container main of pod web-1:
    | a
    | b`
	if diff := cmp.Diff(want, f.Error()); diff != "" {
		t.Error(diff)
	}
}
