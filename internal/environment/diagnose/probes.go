package diagnose

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probeFailures is how often a probe must have failed before it is taken for
// wrong rather than early.
const probeFailures = 2

// probeProblem is a container that runs and whose readiness or startup probe
// asks for something that it will never answer.
func probeProblem(c container) (Finding, bool) {
	if c.status.State.Running == nil || c.status.Ready {
		return Finding{}, false
	}
	for _, p := range []struct {
		kind  string
		probe *corev1.Probe
	}{{"Startup", c.spec.StartupProbe}, {"Readiness", c.spec.ReadinessProbe}} {
		h, ok := c.event("Unhealthy", p.kind+" probe")
		if !ok || p.probe == nil {
			continue
		}
		if f, ok := c.probe(p.kind, p.probe, h); ok {
			f.Visible = h.first
			if f.Hopeless {
				f.Visible = h.nth(probeFailures)
			}
			f.Evidence = append(f.Evidence, h.evidence(c.object()))
			f.Next = []string{kubectl(c.pod.Namespace, fmt.Sprintf("get pod %s -o jsonpath='{.spec.containers[?(@.name==\"%s\")].%sProbe}'", c.pod.Name, c.spec.Name, strings.ToLower(p.kind)))}
			return c.found(f)
		}
	}
	return Finding{}, false
}

func (c container) probe(kind string, p *corev1.Probe, h happening) (Finding, bool) {
	who := fmt.Sprintf("the %s probe of container %s of %s", strings.ToLower(kind), c.spec.Name, c.view.workload(c.pod))
	switch {
	case strings.Contains(h.message, "statuscode: 404"):
		return Finding{
			Code: ProbePath, Hopeless: h.count >= probeFailures,
			Sentence: fmt.Sprintf("%s asks for path %s, which the container does not know (404)", who, asked(p)),
		}, true
	case strings.Contains(h.message, "connection refused"):
		return c.wrongPort(who, p, h)
	case strings.Contains(h.message, "deadline exceeded"), strings.Contains(h.message, "Client.Timeout"), strings.Contains(h.message, "timed out"):
		return Finding{
			Code:     ProbeTimeout, // never hopeless: the machine may only be busy
			Sentence: fmt.Sprintf("%s gives the container %d s to answer, which is too short for it", who, max(p.TimeoutSeconds, 1)),
		}, true
	}
	return Finding{}, false
}

// wrongPort is proved by the ports that the container declares: one that listens
// late is only late.
func (c container) wrongPort(who string, p *corev1.Probe, h happening) (Finding, bool) {
	asked, ok := port(p, c.spec)
	if !ok || len(c.spec.Ports) == 0 {
		return Finding{}, false
	}
	var declared []string
	for _, d := range c.spec.Ports {
		if d.ContainerPort == asked {
			return Finding{}, false
		}
		declared = append(declared, fmt.Sprint(d.ContainerPort))
	}
	return Finding{
		Code: ProbePort, Hopeless: h.count >= probeFailures,
		Sentence: fmt.Sprintf("%s asks port %d, where nothing listens; the container declares port %s", who, asked, strings.Join(declared, ", ")),
	}, true
}

// port is the port that a probe asks.
func port(p *corev1.Probe, c corev1.Container) (int32, bool) {
	var at intstr.IntOrString
	switch {
	case p.HTTPGet != nil:
		at = p.HTTPGet.Port
	case p.TCPSocket != nil:
		at = p.TCPSocket.Port
	case p.GRPC != nil:
		return p.GRPC.Port, true
	default:
		return 0, false
	}
	if at.Type == intstr.Int {
		return at.IntVal, true
	}
	for _, d := range c.Ports {
		if d.Name == at.StrVal {
			return d.ContainerPort, true
		}
	}
	return 0, false
}

func asked(p *corev1.Probe) string {
	if p.HTTPGet != nil {
		return p.HTTPGet.Path
	}
	return "?"
}
