package diagnose

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// serverGone is an API server that does not answer. What of the cluster itself
// does not run is told with its last lines.
func serverGone(s Server) Finding {
	f := Finding{
		Code: ServerGone, Object: plan.Object{Kind: "Cluster", Name: s.Address}, Hopeless: true,
		Sentence: fmt.Sprintf("the API server at %s does not answer: %s", s.Address, s.Error),
		Evidence: []Evidence{{From: "GET " + s.Address, Text: s.Error}},
		Next:     []string{"kubernaut env status", "kubernaut env up"},
	}
	var down []string
	for _, c := range s.Components {
		down = append(down, c.Name+" ("+c.Problem+")")
		text := strings.Join(lastOf(c.Lines, 5), "\n")
		if text == "" {
			text = c.Problem
		}
		f.Evidence = append(f.Evidence, Evidence{From: "log of " + c.Name + " " + c.Log, Text: text})
	}
	if len(down) > 0 {
		f.Sentence += "; of the cluster itself do not run: " + strings.Join(down, ", ")
	}
	return f
}

// nodeFindings finds nodes that lack something.
func nodeFindings(v *view) []Finding {
	var all []Finding
	for _, n := range v.nodes {
		self := plan.Object{Kind: "Node", Name: n.Name}
		for _, c := range n.Status.Conditions {
			f := Finding{
				Object: self, Visible: c.LastTransitionTime.Time,
				Evidence: []Evidence{{From: "condition of Node " + n.Name, Text: fmt.Sprintf("%s=%s (%s: %s)", c.Type, c.Status, c.Reason, c.Message), At: c.LastTransitionTime.Time}},
				Next:     []string{"kubectl describe node " + n.Name},
			}
			switch {
			case c.Type == corev1.NodeDiskPressure && c.Status == corev1.ConditionTrue:
				f.Code, f.Hopeless = DiskFull, true
				f.Sentence = fmt.Sprintf("the disk of node %s is full: it takes no more pods and puts out those it has", n.Name)
			case (c.Type == corev1.NodeMemoryPressure || c.Type == corev1.NodePIDPressure) && c.Status == corev1.ConditionTrue:
				f.Code = NodeNotReady
				f.Sentence = fmt.Sprintf("node %s has %s: %s", n.Name, c.Type, c.Message)
			case c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue:
				f.Code = NodeNotReady
				f.Sentence = fmt.Sprintf("node %s is not ready: %s", n.Name, c.Message)
			default:
				continue
			}
			all = append(all, f)
		}
	}
	return all
}

// resolutions tell by the words of the registry why a bundle cannot be had; the
// first that matches decides.
var resolutions = []struct {
	code Code
	text *regexp.Regexp
	says string
}{
	{BundleAbsent, regexp.MustCompile(`\b(?:MANIFEST_UNKNOWN|NAME_UNKNOWN)\b|` + answered("404")), "the registry has no such bundle"},
	{BundleAbsent, regexp.MustCompile(`could not find object in image`), "the bundle does not hold what is asked for"},
	{BundleUnauthorized, regexp.MustCompile(`\b(?:UNAUTHORIZED|DENIED)\b|` + answered("40[13]")), "the registry wants a login, and that of the run is missing or wrong"},
	{AuthorityUnknown, regexp.MustCompile(`signed by unknown authority`), "the certificate of the registry is signed by an authority that Tekton's resolvers do not know"},
	{CertificateExpired, regexp.MustCompile(`certificate has expired`), "the certificate of the registry has expired"},
	{CertificateOtherName, regexp.MustCompile(`certificate is valid for|certificate is not valid`), "the certificate of the registry is made out for another name"},
	{RegistryUnknown, regexp.MustCompile(`no such host|server misbehaving`), "the name of the registry does not resolve"},
	{RegistryDown, regexp.MustCompile(`connection refused|i/o timeout|no route to host`), "the registry does not answer"},
}

// resolutionReasons are Tekton's for what it could not fetch.
var resolutionReasons = map[string]bool{"CouldntGetPipeline": true, "CouldntGetTask": true, "TaskRunResolutionFailed": true, "ResolutionFailed": true}

// tektonFindings finds runs whose Pipeline or Task could not be fetched.
func tektonFindings(v *view) []Finding {
	var all []Finding
	for _, kind := range []string{"PipelineRun", "TaskRun"} {
		for _, u := range v.kind(kind, "") {
			c, ok := conditionOf(u, "Succeeded")
			if !ok || c.status == "True" || !resolutionReasons[c.reason] || !v.looked(u.GetNamespace()) {
				continue
			}
			all = append(all, v.unresolved(u, c))
		}
	}
	return all
}

func (v *view) unresolved(u *unstructured.Unstructured, c condition) Finding {
	self := derive.Of(u)
	bundle := bundleOf(u)
	f := Finding{
		Code: BundleUnresolved, Object: self, Hopeless: c.status == "False", Visible: c.time(),
		Sentence: fmt.Sprintf("%s cannot be run: its bundle %s cannot be resolved", self, bundle),
		Evidence: []Evidence{c.evidence(self)},
		Next:     []string{kubectl(self.Namespace, fmt.Sprintf("get %s %s -o yaml", strings.ToLower(self.Kind), self.Name)), kubectl("tekton-pipelines-resolvers", "logs deployment/tekton-pipelines-remote-resolvers")},
	}
	bare := strings.ReplaceAll(c.message, bundle, "BUNDLE")
	for _, r := range resolutions {
		if !r.text.MatchString(bare) {
			continue
		}
		f.Code = r.code
		f.Sentence += ": " + r.says
		if r.code == RegistryDown || r.code == RegistryUnknown {
			f.blames = v.servicesAt(registryOf(bundle))
		}
		break
	}
	return f
}

// bundleOf is the bundle that a run names.
func bundleOf(u *unstructured.Unstructured) string {
	for _, ref := range []string{"pipelineRef", "taskRef"} {
		params, _, _ := unstructured.NestedSlice(u.Object, "spec", ref, "params")
		for _, p := range params {
			if m, ok := p.(map[string]any); ok && m["name"] == "bundle" {
				text, _ := m["value"].(string)
				return text
			}
		}
	}
	return "(none named)"
}
