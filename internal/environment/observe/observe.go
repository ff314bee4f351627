// Package observe reads from a cluster what a diagnosis must know.
//
//	Reader, Scope ──► Snapshot ──► diagnose.Snapshot, without any secret value
//
// It decides nothing. What may not be read, or is not served, is named in the
// snapshot, so that nothing is concluded from its absence.
package observe

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// Reader is what a cluster is read through.
type Reader struct {
	Dynamic dynamic.Interface
	Core    kubernetes.Interface
	Mapper  meta.RESTMapper
}

// Scope says what is looked at.
type Scope struct {
	Namespaces []string // whose content is read
	Whole      bool     // also what takes longer: definitions, and the logs of containers that are well
	Awaited    []plan.Object
	Steps      []diagnose.Step
}

// atOnce is how many requests are sent side by side.
const atOnce = 8

// answerWithin is how long the API server may take to say that it is there.
const answerWithin = 5 * time.Second

// Snapshot reads the scope. An API server that does not answer is part of the
// snapshot, not an error.
func Snapshot(ctx context.Context, r Reader, scope Scope) (diagnose.Snapshot, error) {
	s := diagnose.Snapshot{Taken: time.Now(), Namespaces: scope.Namespaces, Awaited: scope.Awaited, Steps: scope.Steps}
	if err := r.answers(ctx); err != nil {
		if ctx.Err() != nil {
			return s, ctx.Err()
		}
		s.Server.Error = err.Error()
		s.MaskSteps() // no Secret could be read: by their form
		return s, nil
	}
	l := looker{Reader: r, scope: scope}
	l.lists(ctx)
	l.logs(ctx)
	if err := ctx.Err(); err != nil {
		return s, err
	}
	l.fill(&s)
	return s, nil
}

// answers asks the API server whether it is ready. Whoever may not ask is told
// so by it, and then it is there.
func (r Reader) answers(ctx context.Context) error {
	client := r.Core.Discovery().RESTClient()
	if client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_, err := client.Get().AbsPath("/readyz").DoRaw(ctx)
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// kinds of objects, and where they are.
var (
	inNamespace = []schema.GroupVersionKind{
		{Version: "v1", Kind: "Pod"}, {Version: "v1", Kind: "Event"}, {Version: "v1", Kind: "Service"},
		{Version: "v1", Kind: "PersistentVolumeClaim"}, {Version: "v1", Kind: "ConfigMap"}, {Version: "v1", Kind: "Secret"},
		{Version: "v1", Kind: "ServiceAccount"}, {Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice"},
		{Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: "apps", Version: "v1", Kind: "ReplicaSet"},
		{Group: "apps", Version: "v1", Kind: "StatefulSet"}, {Group: "apps", Version: "v1", Kind: "DaemonSet"},
		{Group: "batch", Version: "v1", Kind: "Job"}, {Group: "batch", Version: "v1", Kind: "CronJob"},
		{Group: "tekton.dev", Version: "v1", Kind: "PipelineRun"}, {Group: "tekton.dev", Version: "v1", Kind: "TaskRun"},
	}
	ofCluster = []schema.GroupVersionKind{
		{Version: "v1", Kind: "Node"}, {Version: "v1", Kind: "Namespace"}, {Version: "v1", Kind: "PersistentVolume"},
		{Group: "storage.k8s.io", Version: "v1", Kind: "StorageClass"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingWebhookConfiguration"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "MutatingWebhookConfiguration"},
		{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
	}
)

// Reads tells whether objects of that kind are looked at, in the namespaces or in
// the whole of a cluster.
func Reads(kind string) bool {
	is := func(gvk schema.GroupVersionKind) bool { return gvk.Kind == kind }
	return slices.ContainsFunc(inNamespace, is) || slices.ContainsFunc(ofCluster, is)
}

// looker collects; its methods run side by side.
type looker struct {
	Reader
	scope Scope

	mu         sync.Mutex
	objects    []*unstructured.Unstructured
	read       []diagnose.Log
	requested  map[string]corev1.ResourceList
	unreadable []string
}

// lists reads what is in the namespaces, and of the cluster what that calls for.
// What cannot be read is noted.
func (l *looker) lists(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, namespace := range l.scope.Namespaces {
		for _, gvk := range inNamespace {
			group.Go(func() error { l.list(ctx, gvk, namespace); return nil })
		}
	}
	_ = group.Wait() // nothing is returned
	asks := l.asks()
	for _, gvk := range ofCluster {
		if l.scope.Whole || asks[gvk.Kind] {
			group.Go(func() error { l.list(ctx, gvk, ""); return nil })
		}
	}
	if l.scope.Whole || asks["Node"] {
		group.Go(func() error { l.requests(ctx); return nil })
	}
	_ = group.Wait() // nothing is returned
	l.behindWebhooks(ctx)
	l.remaining(ctx)
}

// asks finds out which kinds of the cluster could explain what is in the
// namespaces: a wait that looks again and again must not read everything.
func (l *looker) asks() map[string]bool {
	asks := map[string]bool{}
	need := func(kinds ...string) {
		for _, k := range kinds {
			asks[k] = true
		}
	}
	for _, u := range l.objects {
		switch u.GetKind() {
		case "Pod":
			node, _, _ := unstructured.NestedString(u.Object, "spec", "nodeName")
			reason, _, _ := unstructured.NestedString(u.Object, "status", "reason")
			if node == "" || reason != "" {
				need("Node")
			}
		case "PersistentVolumeClaim":
			if phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); phase != string(corev1.ClaimBound) {
				need("PersistentVolume", "StorageClass")
			}
		case "Event":
			message, _, _ := unstructured.NestedString(u.Object, "message")
			switch {
			case strings.Contains(message, "webhook"):
				need("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
			case strings.Contains(message, "being terminated"):
				need("Namespace")
			case strings.Contains(message, "exec format error"):
				need("Node")
			}
		}
	}
	return asks
}

func (l *looker) list(ctx context.Context, gvk schema.GroupVersionKind, namespace string) {
	mapping, err := l.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return // there can be none
	}
	if err == nil {
		var found *unstructured.UnstructuredList
		found, err = l.Dynamic.Resource(mapping.Resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if err == nil {
			l.add(found.Items, gvk)
			return
		}
	}
	if ctx.Err() == nil {
		l.cannotRead(gvk.Kind)
	}
}

func (l *looker) cannotRead(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.unreadable, kind) {
		l.unreadable = append(l.unreadable, kind)
	}
}

func (l *looker) add(items []unstructured.Unstructured, gvk schema.GroupVersionKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range items {
		items[i].SetGroupVersionKind(gvk) // entries of a list need not say it
		l.objects = append(l.objects, &items[i])
	}
}

// requests sums up what the pods of each node ask for, in all namespaces.
func (l *looker) requests(ctx context.Context) {
	pods, err := l.Core.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"})
	if err != nil {
		l.cannotRead("pods of other namespaces") // how much room is left is then not told
		return
	}
	sums := map[string]corev1.ResourceList{}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Spec.NodeName == "" {
			continue
		}
		if sums[p.Spec.NodeName] == nil {
			sums[p.Spec.NodeName] = corev1.ResourceList{}
		}
		diagnose.Add(sums[p.Spec.NodeName], diagnose.Requests(p))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requested = sums
}

// behindWebhooks reads the endpoints of the Services that webhooks call.
func (l *looker) behindWebhooks(ctx context.Context) {
	seen := map[string]bool{}
	for _, u := range slices.Clone(l.objects) {
		hooks, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
		for _, h := range hooks {
			hook, _ := h.(map[string]any)
			namespace, _, _ := unstructured.NestedString(hook, "clientConfig", "service", "namespace")
			name, _, _ := unstructured.NestedString(hook, "clientConfig", "service", "name")
			if name == "" || seen[namespace+"/"+name] || slices.Contains(l.scope.Namespaces, namespace) {
				continue
			}
			seen[namespace+"/"+name] = true
			l.service(ctx, namespace, name)
		}
	}
}

func (l *looker) service(ctx context.Context, namespace, name string) {
	slices := schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	found, err := l.Dynamic.Resource(slices).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + name})
	if err == nil {
		l.add(found.Items, slices.GroupVersion().WithKind("EndpointSlice"))
	}
	s, err := l.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "services"}).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		l.add([]unstructured.Unstructured{*s}, schema.GroupVersionKind{Version: "v1", Kind: "Service"})
	}
}

// Unreachable tells whether an error says that the API server itself is not
// there, and not that it refused something.
func Unreachable(err error) bool {
	var status apierrors.APIStatus
	return err != nil && !errors.As(err, &status) && !errors.Is(err, context.Canceled)
}
