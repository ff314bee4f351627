package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1apply "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster/local"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/image"
	"kubernaut.ai/kubernaut/internal/terminal"
)

// The broken Deployment: its program fills a cache of cacheMiB, its limit is
// less, and nothing else is wrong with it.
const (
	namespace = "payment"
	workload  = "payment-api"
	target    = namespace + "/deployment/" + workload
	key       = namespace + "/deployment.apps/" + workload // of the target's record
	cacheMiB  = 96
	lowLimit  = "64Mi"
	goodLimit = "256Mi"
)

var ofWorkload = []client.ListOption{client.InNamespace(namespace), client.MatchingLabels{"app": workload}}

// breakPayment deploys payment-api with too low a limit and waits until the
// kernel has killed it.
func breakPayment(ctx context.Context, s *stage) error {
	ref, err := s.paymentImage(ctx)
	if err != nil {
		return err
	}
	if err := s.deploy(ctx, ref); err != nil {
		return err
	}
	s.say("Deployment %s wants %d MiB of memory and may have %s.", s.IO.OutPaint.Accent(namespace+"/"+workload), cacheMiB, lowLimit)
	pods := &corev1.PodList{}
	err = s.until(ctx, expected{
		what: "waiting until payment-api is OOM-killed and started again", list: pods, where: ofWorkload, within: 2 * time.Minute,
		holds: func() (bool, string) { return killed(pods), podStates(pods) },
	})
	if err != nil {
		return err
	}
	if err := s.podTable(pods).Write(s.IO.Out); err != nil {
		return err
	}
	s.shown("it is broken: the kernel kills it again and again")
	return nil
}

// paymentImage makes the image of the payment program and gives it to the node.
func (s *stage) paymentImage(ctx context.Context) (string, error) {
	program := build.Program{Name: "payment", Module: ".", Package: "./internal/demo/payment"}
	store := image.Store{Dir: filepath.Join(s.cache.Dir, "images"), Programs: s.cache}
	defer s.heart.doing("making the image of " + workload)()
	archive, err := store.Archive(ctx, image.FromProgram("payment", "/payment", program), func(string) {}) // the heart speaks
	if err != nil {
		return "", err
	}
	node, err := local.New(s.cache, local.Options{Name: s.Environment.Name})
	if err != nil {
		return "", err
	}
	if err := node.LoadImage(ctx, archive.Path); err != nil {
		return "", err
	}
	return archive.Reference, nil
}

// deploy makes the Deployment as it was at first; what an earlier demonstration
// has left of it goes.
func (s *stage) deploy(ctx context.Context, ref string) error {
	force := metav1.ApplyOptions{FieldManager: "kubernaut-demo", Force: true}
	space := corev1apply.Namespace(namespace).WithLabels(map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	if _, err := s.cluster.Core.CoreV1().Namespaces().Apply(ctx, space, force); err != nil {
		return connect.Explain(fmt.Errorf("making namespace %s: %w", namespace, err))
	}
	if err := s.clear(ctx); err != nil {
		return err
	}
	if _, err := s.cluster.Core.AppsV1().Deployments(namespace).Apply(ctx, payment(ref), force); err != nil {
		return connect.Explain(fmt.Errorf("deploying %s/%s: %w", namespace, workload, err))
	}
	return nil
}

// clear removes the Deployment of an earlier demonstration with its pods.
func (s *stage) clear(ctx context.Context) error {
	err := s.cluster.Core.AppsV1().Deployments(namespace).Delete(ctx, workload, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return connect.Explain(fmt.Errorf("removing the healed %s/%s: %w", namespace, workload, err))
	}
	left := &appsv1.DeploymentList{} // it goes after its pods
	return s.until(ctx, expected{
		what: "waiting until the Deployment of the last demonstration is gone", list: left, where: ofWorkload, within: time.Minute,
		holds: func() (bool, string) { return len(left.Items) == 0, "its pods are still ending" },
	})
}

func payment(ref string) *appsv1apply.DeploymentApplyConfiguration {
	labels := map[string]string{"app": workload}
	container := corev1apply.Container().
		WithName("api").WithImage(ref).WithArgs(fmt.Sprintf("-cache=%d", cacheMiB)).
		WithImagePullPolicy(corev1.PullNever).
		WithPorts(corev1apply.ContainerPort().WithName("http").WithContainerPort(8080)).
		WithReadinessProbe(corev1apply.Probe().WithPeriodSeconds(1).
			WithHTTPGet(corev1apply.HTTPGetAction().WithPath("/ready").WithPort(intstr.FromString("http")))).
		WithResources(corev1apply.ResourceRequirements().
			WithRequests(corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse(lowLimit)}).
			WithLimits(corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(lowLimit)})).
		WithSecurityContext(corev1apply.SecurityContext().
			WithAllowPrivilegeEscalation(false).WithRunAsNonRoot(true).WithReadOnlyRootFilesystem(true).
			WithCapabilities(corev1apply.Capabilities().WithDrop("ALL")).
			WithSeccompProfile(corev1apply.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault)))
	pod := corev1apply.PodTemplateSpec().WithLabels(labels).
		WithSpec(corev1apply.PodSpec().WithContainers(container).
			WithAutomountServiceAccountToken(false).WithTerminationGracePeriodSeconds(1))
	return appsv1apply.Deployment(workload, namespace).WithLabels(labels).
		WithSpec(appsv1apply.DeploymentSpec().WithReplicas(1).
			WithStrategy(appsv1apply.DeploymentStrategy().WithType(appsv1.RecreateDeploymentStrategyType)). // a pod that was healed does not hide that the next is broken
			WithSelector(metav1apply.LabelSelector().WithMatchLabels(labels)).
			WithTemplate(pod))
}

// killed tells whether a container was OOM-killed and started again.
func killed(pods *corev1.PodList) bool {
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			if c.RestartCount > 0 && lastReason(c) == "OOMKilled" {
				return true
			}
		}
	}
	return false
}

// lastReason is why a container ended last.
func lastReason(c corev1.ContainerStatus) string {
	switch {
	case c.State.Terminated != nil:
		return c.State.Terminated.Reason
	case c.LastTerminationState.Terminated != nil:
		return c.LastTerminationState.Terminated.Reason
	}
	return ""
}

// state is what a container does now, in a word.
func state(c corev1.ContainerStatus) string {
	switch {
	case c.State.Waiting != nil:
		return c.State.Waiting.Reason
	case c.State.Terminated != nil:
		return c.State.Terminated.Reason
	case c.Ready:
		return "Ready"
	}
	return "Running"
}

func podStates(pods *corev1.PodList) string {
	if len(pods.Items) == 0 {
		return "no pod yet"
	}
	text := ""
	for _, p := range pods.Items {
		text += fmt.Sprintf("pod %s %s", p.Name, p.Status.Phase)
		for _, c := range p.Status.ContainerStatuses {
			text += fmt.Sprintf(" (%s, %d restarts, last ended by %q)", state(c), c.RestartCount, lastReason(c))
		}
		text += "; "
	}
	return text
}

// podTable shows pods as kubectl would, with what matters here.
func (s *stage) podTable(pods *corev1.PodList) *terminal.Table {
	table := &terminal.Table{Header: []string{"POD", "STATE", "RESTARTS", "LAST ENDED BY", "MEMORY LIMIT"}}
	for _, p := range pods.Items {
		for i, c := range p.Status.ContainerStatuses {
			now := terminal.Cell{Text: state(c), Style: s.IO.OutPaint.Bad}
			if c.Ready {
				now.Style = s.IO.OutPaint.Good
			}
			row := append(terminal.Plain(p.Name), now)
			table.Add(append(row, terminal.Plain(fmt.Sprint(c.RestartCount), lastReason(c), p.Spec.Containers[i].Resources.Limits.Memory().String())...)...)
		}
	}
	return table
}

// healthy waits until the Deployment is rolled out with the good limit.
func (s *stage) healthy(ctx context.Context) error {
	list := &appsv1.DeploymentList{}
	where := []client.ListOption{client.InNamespace(namespace), client.MatchingFields{"metadata.name": workload}}
	err := s.until(ctx, expected{
		what: "waiting until payment-api is healthy", list: list, where: where, within: time.Minute,
		holds: func() (bool, string) { return rolledOut(list) },
	})
	if err != nil {
		return err
	}
	pods := &corev1.PodList{}
	return s.until(ctx, expected{
		what: "waiting until only the healthy pod is left", list: pods, where: ofWorkload, within: time.Minute,
		holds: func() (bool, string) {
			if len(pods.Items) != 1 || len(pods.Items[0].Status.ContainerStatuses) != 1 || !pods.Items[0].Status.ContainerStatuses[0].Ready {
				return false, podStates(pods)
			}
			return s.podTable(pods).Write(s.IO.Out) == nil, podStates(pods)
		},
	})
}

func rolledOut(list *appsv1.DeploymentList) (bool, string) {
	if len(list.Items) != 1 {
		return false, "the Deployment is gone"
	}
	d := list.Items[0]
	limit := d.Spec.Template.Spec.Containers[0].Resources.Limits.Memory().String()
	text := fmt.Sprintf("memory limit %s, %d of %d pods available, %d up to date", limit, d.Status.AvailableReplicas, *d.Spec.Replicas, d.Status.UpdatedReplicas)
	done := limit == goodLimit && d.Status.ObservedGeneration == d.Generation &&
		d.Status.AvailableReplicas == 1 && d.Status.UpdatedReplicas == 1 && d.Status.UnavailableReplicas == 0
	return done, text
}
