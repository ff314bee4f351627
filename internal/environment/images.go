package environment

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/image"
	"kubernaut.ai/kubernaut/internal/registry"
)

// imageGroup is a set of images that are made in one step and loaded in another.
type imageGroup struct {
	name   string
	images []string
}

// tektonServers are the commands of Tekton that run all the time; the others
// are started in the pods of runs.
var tektonServers = []string{"controller", "events", "resolvers", "webhook"}

// imageGroups lists the images that the node gets. The one that holds pods
// together belongs to the cluster itself, the tools are pushed.
func imageGroups() []imageGroup {
	servers, steps := imageGroup{name: "tekton"}, imageGroup{"steps", []string{image.Shell}}
	for _, command := range image.TektonCommands {
		group := &steps
		if slices.Contains(tektonServers, command) {
			group = &servers
		}
		group.images = append(group.images, image.Tekton(command))
	}
	return []imageGroup{
		{"dns", []string{image.CoreDNS}},
		{"databases", []string{image.PostgreSQL, image.Redis}},
		{"registry", []string{image.Registry}},
		{"kubernaut", []string{image.DataStorage, image.Controller}},
		servers, steps,
	}
}

// imageGroups are those that this environment's cluster needs: one that is not
// ours has its own DNS, and pulls from a registry that is there; it may have Tekton.
func (w *world) imageGroups() []imageGroup {
	return slices.DeleteFunc(imageGroups(), func(g imageGroup) bool {
		switch g.name {
		case "dns":
			return w.options.Cluster != Local
		case "registry":
			return !w.options.ownsCluster()
		case "tekton", "steps":
			return w.found.tekton
		}
		return false
	})
}

func recipe(name string) (image.Recipe, error) {
	recipes := image.Recipes()
	i := slices.IndexFunc(recipes, func(r image.Recipe) bool { return r.Name == name })
	if i < 0 {
		return image.Recipe{}, fmt.Errorf("there is no recipe for image %s", name)
	}
	return recipes[i], nil
}

// imageComponents make every image and give it to the node.
func (w *world) imageComponents() ([]component, error) {
	var all []component
	for _, g := range w.imageGroups() {
		assembled := plan.Step{Name: "image-" + g.name, Weight: 1, Expected: time.Second}
		given := plan.Step{Name: w.giving() + g.name, Weight: 1, Expected: 2 * time.Second, Needs: needs(clusterObject)}
		for _, name := range g.images {
			r, err := recipe(name)
			if err != nil {
				return nil, err
			}
			for _, p := range r.Programs {
				assembled.Needs = append(assembled.Needs, plan.Need{By: archive(name), Of: binary(p.Name)})
			}
			assembled.Provides = append(assembled.Provides, archive(name))
			given.Needs = append(given.Needs, needs(archive(name))...)
			given.Provides = append(given.Provides, derive.Image(derive.LocalHost+"/"+name))
		}
		all = append(all,
			component{assembled, func(ctx context.Context, say func(string)) error { return w.makeImages(ctx, g, say) }},
			component{given, func(ctx context.Context, say func(string)) error { return w.giveImages(ctx, g, say) }},
		)
	}
	tools, err := w.toolsComponents()
	return append(all, tools...), err
}

func (w *world) makeImages(ctx context.Context, g imageGroup, say func(string)) error {
	for _, name := range g.images {
		r, err := recipe(name)
		if err != nil {
			return err
		}
		err = w.times.note(name, made, func() error {
			archive, err := w.images.Archive(ctx, r, say)
			w.made.put(name, archive)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// giving begins the names of the steps that give images to nodes.
func (w *world) giving() string {
	if w.options.ownsCluster() {
		return "load-"
	}
	return "push-"
}

// giveImages puts images where the nodes find them.
func (w *world) giveImages(ctx context.Context, g imageGroup, say func(string)) error {
	if w.options.ownsCluster() {
		return w.loadImages(ctx, g, say)
	}
	return w.pushImages(ctx, g, say)
}

// loadImages gives the node what it does not have. An image is called by its
// content, so one of that name is that image.
func (w *world) loadImages(ctx context.Context, g imageGroup, say func(string)) error {
	there, err := w.nodeImages(ctx)
	if err != nil {
		return err
	}
	c, err := w.cluster()
	if err != nil {
		return err
	}
	count := 0
	for _, name := range g.images {
		archive := w.made.get(name)
		if there[archive.Reference] {
			continue
		}
		say("loading " + archive.Reference)
		if err := w.times.note(name, loaded, func() error { return c.LoadImage(ctx, archive.Path) }); err != nil {
			return err
		}
		count++
	}
	say(fmt.Sprintf("%d of %d images loaded, the others were there", count, len(g.images)))
	return nil
}

// nodeImages are the images that the cluster's nodes say they have.
func (w *world) nodeImages(ctx context.Context) (map[string]bool, error) {
	k, err := w.kube()
	if err != nil {
		return nil, err
	}
	nodes, err := k.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking the node for its images: %w", err)
	}
	there := map[string]bool{}
	for _, n := range nodes.Items {
		for _, i := range n.Status.Images {
			addNames(there, i)
		}
	}
	return there, nil
}

func addNames(there map[string]bool, i corev1.ContainerImage) {
	for _, name := range i.Names {
		there[name] = true
	}
}

// toolsComponents make the image for the steps of workflows and push it to the
// environment's registry.
func (w *world) toolsComponents() ([]component, error) {
	r, err := recipe(image.Tools)
	if err != nil {
		return nil, err
	}
	assembled := plan.Step{Name: "image-" + image.Tools, Weight: 1, Expected: time.Second, Provides: []plan.Object{archive(image.Tools)}}
	for _, p := range r.Programs {
		assembled.Needs = append(assembled.Needs, needs(binary(p.Name))...)
	}
	sent := plan.Step{
		Name: "push-" + image.Tools, Weight: 1, Expected: 2 * time.Second,
		Provides: []plan.Object{derive.Image(w.toolsImage())}, Needs: needs(clusterObject, archive(image.Tools)),
	}
	if w.options.ownsCluster() {
		sent.Needs = append(sent.Needs, needs(part(partRegistry), authority, systemObject("Secret", registryLogin))...)
	}
	return []component{
		{assembled, func(ctx context.Context, say func(string)) error {
			return w.makeImages(ctx, imageGroup{image.Tools, []string{image.Tools}}, say)
		}},
		{sent, func(ctx context.Context, say func(string)) error { return w.pushTools(ctx, r, say) }},
	}, nil
}

// pushTools pushes the image unless the registry's tag is that image already.
func (w *world) pushTools(ctx context.Context, r image.Recipe, say func(string)) error {
	options, err := w.registry(ctx)
	if err != nil {
		return err
	}
	if there, err := registry.Resolve(ctx, w.toolsImage(), options); err == nil && there == w.made.get(r.Name).Digest {
		say("it was there")
		return nil
	}
	img, err := w.images.Image(ctx, r, say)
	if err != nil {
		return err
	}
	say("pushing " + w.toolsImage())
	return w.times.note(r.Name, pushed, func() error {
		_, err := registry.Push(ctx, w.toolsImage(), img, options)
		return err
	})
}
