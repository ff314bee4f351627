package environment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster/local"
	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/upstream"
	"kubernaut.ai/kubernaut/internal/image"
)

func imageObject(name string) plan.Object { return derive.Image(image.Host + "/" + name) }

// clusterComponents check the machine, start the cluster, and give it its DNS.
func (w *world) clusterComponents() ([]component, error) {
	certificates := component{plan.Step{Name: "certificates", Expected: 100 * time.Millisecond, Provides: []plan.Object{authority}}, w.makeAuthority}
	if w.options.Cluster != Local {
		provides := slices.Concat(derive.Given(), w.found.classes, []plan.Object{clusterObject, dns})
		step := plan.Step{Name: "cluster", Expected: time.Second, Provides: provides, Needs: needs(authority)}
		if w.options.Cluster == Kind {
			step.Expected, step.Limit = time.Minute, pulling
		}
		return []component{certificates, {step, w.startCluster}}, nil
	}
	dnsStep, err := w.dnsStep()
	if err != nil {
		return nil, err
	}
	return []component{
		{plan.Step{Name: "machine", Expected: 200 * time.Millisecond, Provides: []plan.Object{machine}}, w.checkMachine},
		certificates,
		{plan.Step{
			Name: "cluster", Expected: 10 * time.Second,
			Provides: append(derive.Given(), clusterObject),
			Needs: needs(machine, authority, binary(build.Kubernetes.Name), binary(build.Containerd.Name),
				binary(build.ContainerdShim.Name), binary(build.Ctr.Name), binary(build.Pause.Name)),
		}, w.startCluster},
		{dnsStep, w.installDNS},
	}, nil
}

// checkMachine looks at the machine before anything is built or started on it.
// Where the cluster runs already, the machine has shown that it can.
func (w *world) checkMachine(ctx context.Context, say func(string)) error {
	if w.running(ctx) {
		say("the cluster runs")
		return nil
	}
	var errs []error
	for _, f := range local.Check(ctx, w.cache) {
		if !f.OK {
			errs = append(errs, fmt.Errorf("%s: %s: %s", f.Name, f.Found, f.Fix))
		}
	}
	return errors.Join(errs...)
}

func (w *world) makeAuthority(context.Context, func(string)) error {
	_, err := w.authority()
	return err
}

func (w *world) startCluster(ctx context.Context, say func(string)) error {
	c, err := w.cluster()
	if err != nil {
		return err
	}
	return c.Up(ctx, say)
}

func (w *world) dnsObjects() (objects, error) {
	return upstream.CoreDNS(w.made.reference(image.CoreDNS), local.ClusterDNS)
}

func (w *world) dnsStep() (plan.Step, error) {
	manifests, err := w.dnsObjects()
	if err != nil {
		return plan.Step{}, err
	}
	step, err := stepOf("dns", manifests, nil)
	step.Expected = 4 * time.Second
	step.Provides = append(step.Provides, dns)
	return step, err
}

func (w *world) installDNS(ctx context.Context, say func(string)) error {
	k, err := w.kube()
	if err != nil {
		return err
	}
	manifests, err := w.dnsObjects()
	if err != nil {
		return err
	}
	return k.settle(ctx, manifests, say)
}
