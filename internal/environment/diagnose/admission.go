package diagnose

import (
	"fmt"
	"regexp"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// hook is one webhook that must answer before something is accepted.
type hook struct {
	configuration plan.Object
	name          string
	service       plan.Object
	made          *unstructured.Unstructured
}

// hooks are the webhooks that fail closed and are called through a Service.
func (v *view) hooks() []hook {
	var all []hook
	for _, kind := range []string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"} {
		for _, u := range v.kind(kind, "") {
			// Both kinds are alike in what is read here.
			for _, w := range decode[admissionv1.ValidatingWebhookConfiguration](u).Webhooks {
				if s := w.ClientConfig.Service; s != nil && (w.FailurePolicy == nil || *w.FailurePolicy == admissionv1.Fail) {
					all = append(all, hook{derive.Of(u), w.Name, plan.Object{Kind: "Service", Namespace: s.Namespace, Name: s.Name}, u})
				}
			}
		}
	}
	return all
}

// webhookFindings finds webhooks behind which nothing answers.
func webhookFindings(v *view) []Finding {
	var all []Finding
	if !v.readable("Service", "EndpointSlice") {
		return nil
	}
	for _, h := range v.hooks() {
		if !v.looked(h.service.Namespace) || v.served(h.service) {
			continue
		}
		f := v.unserved(h)
		f.idle = true
		all = append(all, f)
	}
	return all
}

func (v *view) unserved(h hook) Finding {
	f := Finding{
		Code: WebhookUnreachable, Object: h.configuration, Visible: h.made.GetCreationTimestamp().Time, merge: h.name,
		Sentence: fmt.Sprintf("webhook %s must answer before objects are accepted, and %s has no ready endpoint", h.name, h.service),
		Evidence: []Evidence{{From: h.configuration.String(), Text: "webhook " + h.name + " calls " + h.service.String() + " and fails closed"}},
		Next:     []string{kubectl(h.service.Namespace, "get endpointslices -l kubernetes.io/service-name="+h.service.Name), fmt.Sprintf("kubectl get %s %s -o yaml", h.configuration.Kind, h.configuration.Name)},
		blames:   []plan.Object{h.service},
	}
	if _, exists := v.objects[h.service]; !exists && v.readable("Service") {
		f.Sentence = fmt.Sprintf("webhook %s must answer before objects are accepted, and %s does not exist%s", h.name, h.service, similar(h.service, v.names("Service", h.service.Namespace)))
		f.Hopeless = true
	}
	return f
}

var webhookText = regexp.MustCompile(`failed calling webhook \\?"([^"\\]+)\\?"`)

// webhookRefused makes a refusal by a webhook one about that webhook.
func (v *view) webhookRefused(f *Finding, message string) {
	f.Code, f.Hopeless = WebhookUnreachable, false
	m := webhookText.FindStringSubmatch(message)
	if m == nil {
		return
	}
	for _, h := range v.hooks() {
		if h.name == m[1] {
			seen := v.unserved(h)
			f.Object, f.merge, f.blames = h.configuration, h.name, []plan.Object{h.service}
			f.Next = seen.Next
			f.Sentence = fmt.Sprintf("webhook %s cannot be called: %s", h.name, reasonOf(message))
			if !v.served(h.service) {
				f.Sentence = seen.Sentence
			}
		}
	}
	if about := tlsOrDisk(message); about != "" {
		f.Code, f.Hopeless = about, true
	}
}

// definitionFindings finds CRDs that the API server does not take.
func definitionFindings(v *view) []Finding {
	var all []Finding
	for _, u := range v.kind("CustomResourceDefinition", "") {
		if u.GetDeletionTimestamp() != nil || conditionStatus(u, "Established") == "True" && conditionStatus(u, "NamesAccepted") == "True" {
			continue
		}
		names, ok := conditionOf(u, "NamesAccepted")
		if !ok || names.status != "False" {
			continue
		}
		self := derive.Of(u)
		all = append(all, Finding{
			Code: DefinitionRefused, Object: self, Hopeless: true, Visible: names.time(),
			Sentence: fmt.Sprintf("%s is not established: %s", self, names.message),
			Evidence: []Evidence{names.evidence(self)},
			Next:     []string{"kubectl get crd", "kubectl describe crd " + self.Name},
		})
	}
	return all
}

// namespaceFindings finds namespaces that do not go away.
func namespaceFindings(v *view) []Finding {
	var all []Finding
	for _, u := range v.kind("Namespace", "") {
		if u.GetDeletionTimestamp() == nil || !v.looked(u.GetName()) {
			continue
		}
		self := derive.Of(u)
		f := Finding{
			Code: NamespaceStuck, Object: self, Hopeless: true,
			Next: []string{"kubectl get namespace " + self.Name + " -o yaml"},
		}
		for _, kind := range []string{"NamespaceDeletionDiscoveryFailure", "NamespaceDeletionContentFailure", "NamespaceFinalizersRemaining", "NamespaceContentRemaining"} {
			if c, ok := conditionOf(u, kind); ok && c.status == "True" {
				f.Evidence = append(f.Evidence, c.evidence(self))
				if f.Sentence == "" {
					f.Visible = c.time()
					f.Sentence = fmt.Sprintf("%s is being deleted and does not go: %s", self, c.message)
					f.Hopeless = kind != "NamespaceContentRemaining"
				}
			}
		}
		if f.Sentence == "" {
			continue
		}
		v.held(&f, self.Name)
		all = append(all, f)
	}
	return all
}

// held names what still keeps the namespace, and its finalizers.
func (v *view) held(f *Finding, namespace string) {
	for _, u := range v.Objects {
		if u.GetNamespace() != namespace || u.GetDeletionTimestamp() == nil || len(u.GetFinalizers()) == 0 {
			continue
		}
		o := derive.Of(u)
		f.Evidence = append(f.Evidence, Evidence{From: o.String(), Text: fmt.Sprintf("is being deleted, held by its finalizers %v", u.GetFinalizers())})
		if !slices.Contains(f.explains, o) {
			f.Next = append(f.Next, kubectl(namespace, fmt.Sprintf("get %s %s -o jsonpath='{.metadata.finalizers}'", o.Kind, o.Name)))
			f.explains = append(f.explains, o)
		}
	}
}
