package readiness

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"kubernaut.ai/kubernaut/internal/environment/observe"
)

// Cluster is an API server that objects are waited for on.
type Cluster struct {
	Dynamic dynamic.Interface
	Core    kubernetes.Interface
	Mapper  meta.RESTMapper // learns kinds that appear later
}

// New connects to the API server of the configuration. Requests are not
// throttled on our side: the server does that itself.
func New(cfg *rest.Config) (*Cluster, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	cfg.WarningHandler = rest.NoWarnings{}
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", cfg.Host, err)
	}
	return connect(cfg, httpClient)
}

func connect(cfg *rest.Config, httpClient *http.Client) (*Cluster, error) {
	mapper, mapperErr := apiutil.NewDynamicRESTMapper(cfg, httpClient)
	dyn, dynErr := dynamic.NewForConfigAndClient(cfg, httpClient)
	core, coreErr := kubernetes.NewForConfigAndClient(cfg, httpClient)
	if err := errors.Join(mapperErr, dynErr, coreErr); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", cfg.Host, err)
	}
	return &Cluster{Dynamic: dyn, Core: core, Mapper: mapper}, nil
}

// Reader reads the cluster for a diagnosis.
func (c *Cluster) Reader() observe.Reader {
	return observe.Reader{Dynamic: c.Dynamic, Core: c.Core, Mapper: c.Mapper}
}

// Resource is where objects like u are read and written.
func (c *Cluster) Resource(u *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	return c.resource(u.GroupVersionKind(), u.GetNamespace())
}

func (c *Cluster) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	mapping, err := c.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, fmt.Errorf("the API server does not serve %s: %w", gvk, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return c.Dynamic.Resource(mapping.Resource), nil
	}
	return c.Dynamic.Resource(mapping.Resource).Namespace(namespace), nil
}

// change is one thing that was seen on a stream.
type change struct {
	kind   watch.EventType
	object *unstructured.Unstructured
}

// stream hands on what is selected, and every change of it, until ctx ends. It
// lists again when a watch was lost for too long.
func stream(ctx context.Context, r dynamic.ResourceInterface, selected metav1.ListOptions, changes chan<- change) error {
	for {
		list, err := r.List(ctx, selected)
		if err != nil {
			return err
		}
		for i := range list.Items {
			if !send(ctx, changes, change{watch.Added, &list.Items[i]}) {
				return ctx.Err()
			}
		}
		if len(list.Items) == 0 && !send(ctx, changes, change{kind: watch.Bookmark}) { // says: nothing is there
			return ctx.Err()
		}
		if err := follow(ctx, r, selected, follower{list.GetResourceVersion(), changes}); err != nil {
			return err
		}
	}
}

// follower is where a watch begins, and who is told.
type follower struct {
	from    string
	changes chan<- change
}

// follow watches until ctx ends (an error) or the watch is too old (nil).
func follow(ctx context.Context, r dynamic.ResourceInterface, selected metav1.ListOptions, f follower) error {
	source := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		o.LabelSelector, o.FieldSelector = selected.LabelSelector, selected.FieldSelector
		return r.Watch(ctx, o)
	}}
	ctx = klog.NewContext(ctx, logr.Discard()) // it logs that it was cancelled
	w, err := watchtools.NewRetryWatcherWithContext(ctx, f.from, source)
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		u, ok := e.Object.(*unstructured.Unstructured)
		if e.Type == watch.Error || !ok {
			return nil
		}
		if !send(ctx, f.changes, change{e.Type, u}) {
			break
		}
	}
	return ctx.Err()
}

func send(ctx context.Context, changes chan<- change, c change) bool {
	select {
	case changes <- c:
		return true
	case <-ctx.Done():
		return false
	}
}
