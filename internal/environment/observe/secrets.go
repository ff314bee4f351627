package observe

import (
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// fill moves what was read into the snapshot, in a fixed order and without any
// value of a Secret.
func (l *looker) fill(s *diagnose.Snapshot) {
	var values []string
	for _, u := range l.objects {
		if u.GetKind() == "Secret" {
			values = append(values, l.openSecret(u, s)...)
		}
		trim(u)
	}
	mask := diagnose.NewMask(values)
	for _, u := range l.objects {
		mask.Values(u.Object)
	}
	for i := range l.read {
		l.read[i].Lines = mask.Lines(l.read[i].Lines)
	}
	s.Mask = mask
	s.MaskSteps()
	slices.SortFunc(l.objects, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetKind(), b.GetKind()), cmp.Compare(a.GetName(), b.GetName()))
	})
	slices.SortFunc(l.read, func(a, b diagnose.Log) int {
		return cmp.Compare(a.Namespace+"/"+a.Pod+"/"+a.Container+last(a), b.Namespace+"/"+b.Pod+"/"+b.Container+last(b))
	})
	slices.Sort(l.unreadable)
	s.Objects, s.Logs, s.Requested, s.Unreadable = l.objects, l.read, l.requested, l.unreadable
}

func last(l diagnose.Log) string {
	if l.Previous {
		return "/previous"
	}
	return ""
}

// trim leaves out what says nothing and takes room.
func trim(u *unstructured.Unstructured) {
	u.SetManagedFields(nil)
	unstructured.RemoveNestedField(u.Object, "metadata", "annotations", corev1.LastAppliedConfigAnnotation)
	switch u.GetKind() {
	case "Node":
		unstructured.RemoveNestedField(u.Object, "status", "images")
	case "CustomResourceDefinition":
		unstructured.RemoveNestedField(u.Object, "spec", "versions")
	case "ConfigMap":
		data, _, _ := unstructured.NestedStringMap(u.Object, "data")
		for key, value := range data {
			if len(value) > mostConfig {
				_ = unstructured.SetNestedField(u.Object, value[:mostConfig]+"…", "data", key) // it is a map of texts
			}
		}
	}
}

// mostConfig is how much of a ConfigMap's entry is kept.
const mostConfig = 32 << 10

// public are keys of Secrets whose values are no secrets.
var public = regexp.MustCompile(`(?i)(^|[-_.])(user(name)?|host(name)?|port|db(name)?|database|namespace|email|registry)$|^(ca|tls)\.crt$|^ca\.pem$`)

// openSecret reads what of a Secret is not secret, and returns the values that
// are. The object keeps its keys.
func (l *looker) openSecret(u *unstructured.Unstructured, s *diagnose.Snapshot) []string {
	data, _, _ := unstructured.NestedStringMap(u.Object, "data")
	var secrets []string
	for key, encoded := range data {
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		of := derive.Of(u).WithKey(key)
		certificates := certificatesOf(of, raw)
		s.Certificates = append(s.Certificates, certificates...)
		switch {
		case key == corev1.DockerConfigJsonKey:
			logins, hidden := loginsOf(of.WithKey(""), raw)
			s.Logins, secrets = append(s.Logins, logins...), append(secrets, hidden...)
		case !public.MatchString(key) && len(certificates) == 0:
			secrets = append(secrets, string(raw))
		}
		data[key] = diagnose.Masked
	}
	if len(data) > 0 {
		_ = unstructured.SetNestedStringMap(u.Object, data, "data") // it was such a map before
	}
	slices.SortFunc(s.Certificates, func(a, b diagnose.Certificate) int { return cmp.Compare(a.Secret.String(), b.Secret.String()) })
	slices.SortFunc(s.Logins, func(a, b diagnose.Login) int { return cmp.Compare(a.Secret.String()+a.Host, b.Secret.String()+b.Host) })
	return secrets
}

// certificatesOf reads the first certificate of a PEM file: the one that is
// shown to others. Authorities are left out.
func certificatesOf(of plan.Object, raw []byte) []diagnose.Certificate {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil // what cannot be read is somebody else's trouble
	}
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return []diagnose.Certificate{{Secret: of, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Names: names}}
}

// loginsOf reads the names in a pull secret; hidden are its passwords.
func loginsOf(of plan.Object, raw []byte) (logins []diagnose.Login, hidden []string) {
	var config struct {
		Auths map[string]struct{ Username, Password, Auth string }
	}
	if json.Unmarshal(raw, &config) != nil {
		return nil, []string{string(raw)}
	}
	for host, login := range config.Auths {
		host = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://"), "/")
		host, _, _ = strings.Cut(host, "/")
		user := login.Username
		hidden = append(hidden, login.Password, login.Auth)
		if plain, err := base64.StdEncoding.DecodeString(login.Auth); err == nil && user == "" {
			var password string
			user, password, _ = strings.Cut(string(plain), ":")
			hidden = append(hidden, password)
		}
		logins = append(logins, diagnose.Login{Secret: of, Host: host, User: user})
	}
	return logins, hidden
}
