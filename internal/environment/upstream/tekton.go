package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Namespaces of Tekton's own objects.
const (
	TektonNamespace    = "tekton-pipelines"
	ResolversNamespace = "tekton-pipelines-resolvers"
)

// TektonVersion is the release that node/tekton pins.
const TektonVersion = "v1.15.0"

// TektonCommands are the commands whose images TektonOptions.Image is asked for.
var TektonCommands = []string{"controller", "entrypoint", "events", "nop", "resolvers", "sidecarlogresults", "webhook", "workingdirinit"}

const (
	builtByKo    = "ko://github.com/tektoncd/pipeline/cmd/"
	certificates = "config-registry-cert" // the ConfigMap Tekton reads registry CAs from
	development  = "devel"                // what the module has where a release has its version
)

// TektonOptions says how the manifests of the module are adapted.
type TektonOptions struct {
	Manifests []*unstructured.Unstructured // of the module's config/ folder; not changed
	Image     func(command string) string  // the image reference of a Tekton command
	Shell     string                       // the image for `script:` steps; needs a numeric non-root user
	CA        []byte                       // PEM bundle that registries are checked against
	// PullSecret, in Tekton's namespaces, is for pulling its images; empty: they
	// are on the nodes.
	PullSecret string
}

// Tekton returns the objects of a Tekton installation in the order of their
// file names: with our images, security contexts set on Tekton's own
// containers, registry certificates trusted by controller and resolvers, and
// without the autoscaler, which needs a metrics server.
func Tekton(o TektonOptions) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, m := range o.Manifests {
		if m.GetKind() == "HorizontalPodAutoscaler" {
			continue
		}
		u := &unstructured.Unstructured{Object: o.replaced(m.Object).(map[string]any)}
		objects = append(objects, u)
		if err := o.adapt(u); err != nil {
			return nil, fmt.Errorf("adapting Tekton's %s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return append(objects, o.certificates(ResolversNamespace)), o.complete(objects)
}

// replaced is a copy of v in which every reference to a command's image and
// every place of a version names ours.
func (o TektonOptions) replaced(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = o.replaced(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = o.replaced(x)
		}
		return out
	case string:
		if command, ok := strings.CutPrefix(v, builtByKo); ok {
			return o.Image(command)
		}
		if v == development {
			return TektonVersion
		}
	}
	return v
}

func (o TektonOptions) adapt(u *unstructured.Unstructured) error {
	switch {
	case u.GetKind() == "ConfigMap" && u.GetName() == "feature-flags":
		return setAll(u, map[string]string{
			"set-security-context":                           "true",
			"set-security-context-read-only-root-filesystem": "true",
		}, "data")
	case u.GetKind() == "ConfigMap" && u.GetName() == certificates:
		return unstructured.SetNestedField(u.Object, string(o.CA), "data", "cert")
	case u.GetKind() == "Deployment":
		return o.adaptDeployment(u)
	}
	return nil
}

func (o TektonOptions) adaptDeployment(u *unstructured.Unstructured) error {
	if o.PullSecret != "" {
		secrets := []any{map[string]any{"name": o.PullSecret}}
		if err := unstructured.SetNestedSlice(u.Object, secrets, "spec", "template", "spec", "imagePullSecrets"); err != nil {
			return err
		}
	}
	resolvers := u.GetName() == "tekton-pipelines-remote-resolvers"
	if resolvers {
		if err := addVolume(u, certificates); err != nil {
			return err
		}
	}
	return eachContainer(u, func(c map[string]any) error {
		o.setShell(c)
		readyAtOnce(c)
		if !resolvers {
			return nil
		}
		delete(c, "command") // tini, which our image neither has nor needs
		return trust(c)
	})
}

// setShell replaces the argument after -shell-image.
func (o TektonOptions) setShell(c map[string]any) {
	args, _, _ := unstructured.NestedStringSlice(c, "args")
	if i := slices.Index(args, "-shell-image"); i >= 0 && i+1 < len(args) {
		args[i+1] = o.Shell
		c["args"] = toAny(args)
	}
}

// readyAtOnce asks for readiness every second from the start, where upstream
// waits for five: nobody else shares this API server.
func readyAtOnce(c map[string]any) {
	if probe, ok := c["readinessProbe"].(map[string]any); ok {
		delete(probe, "initialDelaySeconds")
		probe["periodSeconds"] = int64(1)
	}
}

// trust makes the container check registries against the mounted certificates.
func trust(c map[string]any) error {
	env, _, err := unstructured.NestedSlice(c, "env")
	if err != nil {
		return err
	}
	mounts, _, err := unstructured.NestedSlice(c, "volumeMounts")
	if err != nil {
		return err
	}
	folder := "/etc/" + certificates
	c["env"] = append(env, map[string]any{"name": "SSL_CERT_FILE", "value": folder + "/cert"})
	c["volumeMounts"] = append(mounts, map[string]any{"name": certificates, "mountPath": folder, "readOnly": true})
	return nil
}

func (o TektonOptions) certificates(namespace string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   map[string]any{"name": certificates, "namespace": namespace},
		"data":       map[string]any{"cert": string(o.CA)},
	}}
}

// complete is an error when a manifest of a newer release has places that
// nothing above replaced.
func (o TektonOptions) complete(objects []*unstructured.Unstructured) error {
	var errs []error
	flags, shell := false, false
	for _, u := range objects {
		raw, err := u.MarshalJSON()
		if err != nil {
			return err
		}
		if bytes.Contains(raw, []byte("ko://")) {
			errs = append(errs, fmt.Errorf("%s %s still names an image by ko://", u.GetKind(), u.GetName()))
		}
		flags = flags || u.GetName() == "feature-flags"
		shell = shell || bytes.Contains(raw, []byte(o.Shell))
	}
	if !flags {
		errs = append(errs, errors.New("no ConfigMap feature-flags among Tekton's manifests"))
	}
	if !shell {
		errs = append(errs, errors.New("no -shell-image among the arguments of Tekton's controller"))
	}
	return errors.Join(errs...)
}
