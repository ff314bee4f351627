package workflow

import (
	"context"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"sigs.k8s.io/yaml"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/datastorage/descriptor"
	"kubernaut.ai/kubernaut/internal/image"
	"kubernaut.ai/kubernaut/internal/registry"
)

// Published is a workflow that can be run.
type Published struct {
	Workflow datastorage.Workflow
	New      bool // false: this version was registered before, with this content
}

// Publish makes the bundle or the image of w, sends it to the cluster's registry
// and registers it in the catalog. say is told what is being done. It may be called
// again: what is there already is left as it is.
func Publish(ctx context.Context, c *connect.Cluster, w *Workflow, say func(string)) (Published, error) {
	home, err := c.Registry(ctx)
	if err != nil {
		return Published{}, err
	}
	publish := w.publishBundle
	if w.Definition.Engine == EngineJob {
		publish = w.publishImage
	}
	reference, digest, err := publish(ctx, home, say)
	if err != nil {
		return Published{}, err
	}
	say("registering it in the catalog")
	catalog, err := c.DataStorage(ctx)
	if err != nil {
		return Published{}, err
	}
	entry, created, err := catalog.CreateWorkflow(ctx, w.Definition.Spec(reference, digest))
	if err != nil {
		return Published{}, connect.ExplainDataStorage(err)
	}
	return Published{Workflow: entry, New: created}, nil
}

// publishBundle sends the Pipeline to the registry as a Tekton bundle.
func (w *Workflow) publishBundle(ctx context.Context, home connect.Registry, say func(string)) (reference, digest string, err error) {
	say("pinning the images of its steps")
	pinned, err := w.pinned(ctx, home)
	if err != nil {
		return "", "", err
	}
	bundle, err := image.Bundle(pinned)
	if err != nil {
		return "", "", fmt.Errorf("bundling workflow %s: %w", w.Definition.Name, err)
	}
	return w.push(ctx, home, bundle, say)
}

// push sends what runs to its place in the registry.
func (w *Workflow) push(ctx context.Context, home connect.Registry, img v1.Image, say func(string)) (reference, digest string, err error) {
	reference = home.Prefix + "/workflows/" + w.Definition.Name + ":" + w.Definition.Version
	say("pushing " + reference)
	pushed, err := registry.Push(ctx, reference, img, home.Options)
	return reference, pushed.String(), err
}

// pinned is the Pipeline as YAML, in which images of the installation's registry
// are named by their digests: the bundle means the same for ever.
func (w *Workflow) pinned(ctx context.Context, home connect.Registry) ([]byte, error) {
	p := w.Pipeline.DeepCopy()
	digests := map[string]string{}
	for _, tasks := range [][]tekton.PipelineTask{p.Spec.Tasks, p.Spec.Finally} {
		for _, task := range tasks {
			for i := range task.TaskSpec.Steps {
				ref := &task.TaskSpec.Steps[i].Image
				if rest, ok := strings.CutPrefix(*ref, descriptor.RegistryVariable); ok {
					*ref = home.Prefix + "/" + rest
				}
				if !strings.HasPrefix(*ref, home.Prefix+"/") || strings.Contains(*ref, "@") {
					continue
				}
				if digests[*ref] == "" {
					digest, err := registry.Resolve(ctx, *ref, home.Options)
					if err != nil {
						return nil, fmt.Errorf("task %s, step %s: %w", task.Name, task.TaskSpec.Steps[i].Name, err)
					}
					digests[*ref] = *ref + "@" + digest.String()
				}
				*ref = digests[*ref]
			}
		}
	}
	return yaml.Marshal(p)
}
