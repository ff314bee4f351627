package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// certificateFindings finds expired certificates that pods have mounted.
func certificateFindings(v *view) []Finding {
	var all []Finding
	for _, c := range v.Certificates {
		if v.Taken.After(c.NotBefore) && v.Taken.Before(c.NotAfter) || !v.looked(c.Secret.Namespace) || !v.mounted(c.Secret) {
			continue
		}
		all = append(all, v.expiredCertificate(c))
	}
	return all
}

func (v *view) expiredCertificate(c Certificate) Finding {
	f := Finding{
		Code: CertificateExpired, Object: c.Secret, Hopeless: true, Visible: c.NotAfter, merge: "certificate",
		Sentence: fmt.Sprintf("the certificate in %s (for %s) expired at %s", c.Secret, strings.Join(c.Names, ", "), c.NotAfter.UTC().Format(time.RFC3339)),
		Evidence: []Evidence{{From: c.Secret.String(), Text: fmt.Sprintf("valid from %s to %s", c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339)), At: c.NotAfter}},
		Next:     []string{kubectl(c.Secret.Namespace, fmt.Sprintf("get secret %s -o jsonpath='{.data.%s}' | base64 -d | openssl x509 -noout -dates -subject", c.Secret.Name, strings.ReplaceAll(c.Secret.Key, ".", `\.`)))},
	}
	if v.Taken.Before(c.NotBefore) {
		f.Sentence = fmt.Sprintf("the certificate in %s is not valid before %s", c.Secret, c.NotBefore.UTC().Format(time.RFC3339))
		f.Visible = time.Time{}
	}
	return f
}

// mounted tells whether a pod has the Secret as a volume.
func (v *view) mounted(secret plan.Object) bool {
	for _, p := range v.pods {
		for _, vol := range p.Spec.Volumes {
			if p.Namespace == secret.Namespace && vol.Secret != nil && vol.Secret.SecretName == secret.Name {
				return true
			}
		}
	}
	return false
}

// expired is a peer's certificate that somebody refused. The Secret with an
// expired one is at fault where there is one.
func expired(t teller, m []string) Finding {
	log := Evidence{From: "log of " + t.who, Text: shorten(t.lines[t.at], 400)}
	for _, c := range t.view.Certificates {
		if !t.view.Taken.Before(c.NotAfter) && t.view.mounted(c.Secret) {
			f := t.view.expiredCertificate(c)
			f.Evidence = []Evidence{}
			return f
		}
	}
	return Finding{Sentence: fmt.Sprintf("%s meets a certificate that has expired or is not valid yet%s", t.who, m[1]), Evidence: []Evidence{log}}
}

// otherName is a certificate for other names than the one that was called.
func otherName(t teller, m []string) Finding {
	f := Finding{Sentence: t.who + " meets a certificate that is made out for another name"}
	if m[1] == "" {
		return f
	}
	f.Sentence = fmt.Sprintf("%s calls %s and meets a certificate that is valid for %s only", t.who, m[2], m[1])
	names := strings.Split(m[1], ", ")
	for _, c := range t.view.Certificates {
		if slices.Equal(c.Names, names) {
			f.Object, f.merge = c.Secret, "certificate"
			f.Sentence = fmt.Sprintf("the certificate in %s is valid for %s, and not for %s, by which it is called", c.Secret, m[1], m[2])
		}
	}
	return f
}

func unknownAuthority(t teller, _ []string) Finding {
	return Finding{Sentence: t.who + " meets a certificate that is signed by an authority it does not know"}
}
