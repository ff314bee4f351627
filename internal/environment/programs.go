package environment

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/image"
)

// programGroup is what is compiled in one step.
type programGroup struct {
	name     string
	programs []build.Program
	cold     time.Duration // how long it takes when nothing is in any cache
}

// programGroups lists everything that is compiled. Two compilers on two cores
// are slower than one after the other, so a group counts as two; what the
// cluster waits for goes first, by the longest way to the end.
func programGroups() []programGroup {
	groups := []programGroup{
		{"kubernetes", []build.Program{build.Kubernetes}, 13 * time.Minute},
		{"containerd", []build.Program{build.Containerd, build.ContainerdShim, build.Ctr, build.Pause}, 3 * time.Minute},
		{"coredns", []build.Program{build.CoreDNS}, 100 * time.Second},
		{"registry", []build.Program{build.Registry}, 110 * time.Second},
		{"kubernaut", []build.Program{build.Controller, build.DataStorage}, 2 * time.Minute},
		{"tools", []build.Program{build.Kubectl}, 30 * time.Second},
	}
	tekton := programGroup{name: "tekton", cold: 150 * time.Second}
	for _, command := range image.TektonCommands {
		tekton.programs = append(tekton.programs, build.Tekton(command))
	}
	return append(groups, tekton)
}

// nodePrograms are the groups that only a node of our own is made of.
var nodePrograms = []string{"kubernetes", "containerd", "coredns"}

// buildComponents compile, or find compiled, all programs.
func (w *world) buildComponents() []component {
	var all []component
	for _, g := range programGroups() {
		if w.options.Cluster != Local && slices.Contains(nodePrograms, g.name) || g.name == "tekton" && w.found.tekton {
			continue
		}
		step := plan.Step{Name: buildPrefix + g.name, Expected: 100 * time.Millisecond}
		if !w.built(g) {
			step.Weight, step.Expected = compiler, g.cold
		}
		for _, p := range g.programs {
			step.Provides = append(step.Provides, binary(p.Name))
		}
		all = append(all, component{step, func(ctx context.Context, say func(string)) error {
			return w.build(ctx, g, say)
		}})
	}
	return all
}

// buildPrefix begins the names of the steps that compile.
const buildPrefix = "build-"

// compiler is the weight of a step that compiles.
const compiler = 2

// built tells whether the cache holds all programs of the group.
func (w *world) built(g programGroup) bool {
	return !slices.ContainsFunc(g.programs, func(p build.Program) bool {
		_, ok := w.cache.Lookup(p)
		return !ok
	})
}

func (w *world) build(ctx context.Context, g programGroup, say func(string)) error {
	for i, p := range g.programs {
		progress := say
		if len(g.programs) > 1 {
			progress = func(note string) { say(fmt.Sprintf("%s (%d of %d): %s", p.Name, i+1, len(g.programs), note)) }
		}
		if _, err := w.cache.Build(ctx, p, progress); err != nil {
			return err
		}
	}
	return nil
}
