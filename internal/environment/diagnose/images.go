package diagnose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// pulls tell by the words of registry and runtime why an image cannot be had;
// the first that matches decides.
var pulls = []struct {
	code Code
	text *regexp.Regexp
	says string
}{
	{AuthorityUnknown, regexp.MustCompile(`certificate signed by unknown authority`), "the certificate of its registry is signed by an authority that the node does not know"},
	{CertificateExpired, regexp.MustCompile(`certificate has expired or is not yet valid`), "the certificate of its registry has expired or is not valid yet"},
	{CertificateOtherName, regexp.MustCompile(`certificate is (not )?valid for|doesn't contain any IP SANs|certificate is not valid for any names`), "the certificate of its registry is made out for another name"},
	{ImageArchitecture, regexp.MustCompile(`no match for platform|no matching manifest|does not match the specified platform`), "the registry has it for other architectures only"},
	{ImageNoLogin, regexp.MustCompile(answered("40[13]") + `|(?i:\bunauthorized\b|authorization failed|no basic auth credentials|insufficient_scope|(?:^|: )denied: |\b(?:access|is) denied\b)`), "its registry wants a login"},
	{RegistryUnknown, regexp.MustCompile(`lookup [^ ]+?( on [^ ]+)?: |no such host`), "the name of its registry cannot be resolved by the node"},
	{RegistryDown, regexp.MustCompile(`connection refused|i/o timeout|no route to host|network is unreachable|connection reset|: EOF|context deadline exceeded|` + answered("50[0-9]")), "its registry does not answer"},
	{DiskFull, regexp.MustCompile(`no space left on device`), "the disk of the node is full"},
	{ImageAbsent, regexp.MustCompile(`not found|manifest unknown|MANIFEST_UNKNOWN|NAME_UNKNOWN|does not exist`), "it does not exist in its registry"},
}

// answered matches a status of HTTP, and not the same digits in a digest, a name
// or an address.
func answered(status string) string { return `(?:^|[\s:=(])` + status + `(?:[\s:,;.)]|$)` }

// pullReasons are the states of a container whose image is not there.
var pullReasons = []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}

func imageProblem(c container) (Finding, bool) {
	w := c.status.State.Waiting
	if w == nil || !slices.Contains(pullReasons, w.Reason) {
		return Finding{}, false
	}
	image := c.spec.Image
	event, told := c.event("Failed", image)
	if all := c.pullErrors(image); len(all) > 0 {
		event, told = all[len(all)-1], true
	}
	text := w.Message
	if told && !strings.Contains(text, "rpc error") && strings.Contains(event.message, "Failed to pull") {
		text = event.message
	}
	f := Finding{
		Code: ImagePullFailed, Hopeless: w.Reason != "ErrImagePull", merge: image,
		Sentence: fmt.Sprintf("image %s cannot be pulled: %s", image, text),
		Evidence: []Evidence{{From: "state of container " + c.spec.Name + " of Pod " + c.pod.Name, Text: w.Reason + ": " + w.Message}},
	}
	if told {
		f.Visible = event.first
		f.Evidence = []Evidence{event.evidence(c.object())}
	}
	switch w.Reason {
	case "InvalidImageName":
		f.Code, f.Sentence = ImageInvalid, fmt.Sprintf("%q is no reference of an image", image)
		return c.found(f)
	case "ErrImageNeverPull":
		f.Code, f.Sentence = ImageAbsent, fmt.Sprintf("image %s is not on node %s, and its pull policy is Never", image, c.pod.Spec.NodeName)
		return c.found(f)
	}
	return c.classified(f, text)
}

// pullErrors are the events in which the image could not be pulled.
func (c container) pullErrors(image string) []happening {
	var all []happening
	for _, h := range c.view.events[c.object()] {
		if c.meant(h) && h.reason == "Failed" && strings.Contains(h.message, "Failed to pull image") && strings.Contains(h.message, image) {
			all = append(all, h)
		}
	}
	return all
}

func (c container) classified(f Finding, text string) (Finding, bool) {
	// The reference itself may hold any of the words that are searched.
	bare := strings.ReplaceAll(text, c.spec.Image, "IMAGE")
	for _, p := range pulls {
		if !p.text.MatchString(bare) {
			continue
		}
		f.Code = p.code
		f.Sentence = fmt.Sprintf("image %s cannot be pulled: %s", c.spec.Image, p.says)
		if p.code == ImageNoLogin {
			c.login(&f)
		}
		if p.code == RegistryDown || p.code == RegistryUnknown {
			f.blames = c.view.servicesAt(registryOf(c.spec.Image))
			c.triedAgain(&f)
		} else {
			f.Hopeless = true
		}
		break
	}
	f.Next = []string{kubectl(c.pod.Namespace, "describe pod "+c.pod.Name)}
	return c.found(f)
}

// triedAgain: a registry may only be starting, so what decides is that the kubelet
// has tried and waits. Its event may come after the state that shows it.
func (c container) triedAgain(f *Finding) {
	if !f.Hopeless {
		return
	}
	f.Visible = c.view.Taken
	if h, ok := c.event("BackOff", c.spec.Image); ok {
		f.Visible = h.first
	}
}

// login tells a missing login from a wrong one by what the pod's pull secrets hold.
func (c container) login(f *Finding) {
	host := registryOf(c.spec.Image)
	for _, secret := range c.pullSecrets() {
		for _, l := range c.view.Logins {
			if l.Secret == secret && l.Host == host {
				f.Code = ImageWrongLogin
				f.Sentence = fmt.Sprintf("image %s cannot be pulled: its registry does not accept the login %q of %s", c.spec.Image, l.User, secret)
				f.Evidence = append(f.Evidence, Evidence{From: secret.String(), Text: fmt.Sprintf("has a login for %s as %s", host, l.User)})
				return
			}
		}
	}
	f.Sentence = fmt.Sprintf("image %s cannot be pulled: its registry wants a login, and no pull secret of the pod or of its service account %s has one for %s", c.spec.Image, c.account().Name, host)
	f.Evidence = append(f.Evidence, Evidence{From: "pull secrets of Pod " + c.pod.Name, Text: describeAll(c.pullSecrets())})
}

func describeAll(objects []plan.Object) string {
	if len(objects) == 0 {
		return "none"
	}
	var names []string
	for _, o := range objects {
		names = append(names, o.String())
	}
	return strings.Join(names, ", ")
}

func (c container) account() plan.Object {
	name := c.pod.Spec.ServiceAccountName
	if name == "" {
		name = "default"
	}
	return plan.Object{Kind: "ServiceAccount", Namespace: c.pod.Namespace, Name: name}
}

// pullSecrets are those of the pod; admission has copied its account's there.
func (c container) pullSecrets() []plan.Object {
	var all []plan.Object
	for _, s := range c.pod.Spec.ImagePullSecrets {
		all = append(all, plan.Object{Kind: "Secret", Namespace: c.pod.Namespace, Name: s.Name})
	}
	return all
}

// registryOf is the host of an image's registry, as in pull secrets.
func registryOf(image string) string {
	host, _, ok := strings.Cut(image, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return "docker.io"
	}
	return host
}
