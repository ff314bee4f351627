package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"text/template"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/environment/manifest"
	"kubernaut.ai/kubernaut/internal/image"
	"kubernaut.ai/kubernaut/internal/pki"
	"kubernaut.ai/kubernaut/internal/registry"
)

// inject makes the fault's namespace and applies its manifests there.
func (r *injected) inject(ctx context.Context, w *world) error {
	if err := r.makeNamespace(ctx, w); err != nil {
		return err
	}
	objects, err := r.render(ctx, w)
	if err != nil {
		return err
	}
	r.began = time.Now()
	for _, u := range objects {
		where, err := r.cluster.Resource(u)
		if err != nil {
			return err
		}
		made, err := where.Create(ctx, u, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("injecting %s: creating %s %s: %w", r.name, u.GetKind(), u.GetName(), err)
		}
		r.created = append(r.created, made)
	}
	if r.name == "namespace-stuck" {
		return w.Core.CoreV1().Namespaces().Delete(ctx, r.namespace, metav1.DeleteOptions{})
	}
	return nil
}

// makeNamespace gives the namespace the login for the environment's registry,
// and waits for what the cluster adds to it, which is no part of any fault.
func (r *injected) makeNamespace(ctx context.Context, w *world) error {
	core := w.Core.CoreV1()
	if _, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.namespace}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	login, err := core.Secrets(v1alpha1.WorkflowNamespace).Get(ctx, v1alpha1.DefaultPullSecret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pull := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: login.Type, Data: login.Data}
	if _, err := core.Secrets(r.namespace).Create(ctx, pull, metav1.CreateOptions{}); err != nil {
		return err
	}
	account := &unstructured.Unstructured{}
	account.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"})
	account.SetNamespace(r.namespace)
	account.SetName("default")
	return r.cluster.WaitToAppear(ctx, []*unstructured.Unstructured{account}, func(string) {})
}

// render reads the fault's manifests.
func (r *injected) render(ctx context.Context, w *world) ([]*unstructured.Unstructured, error) {
	functions := template.FuncMap{
		"namespace":   func() string { return r.namespace },
		"database":    func() string { return "postgresql." + v1alpha1.SystemNamespace + ".svc" },
		"server":      func() string { return "kubernetes.default.svc:443" }, // its authority is the cluster's own
		"registry":    func() string { return v1alpha1.RegistryHost },
		"image":       func(name string) (string, error) { return localImage(ctx, w, name) },
		"certificate": r.certificate,
		"pushed":      func() (string, error) { return pushed(ctx, w) },
	}
	parsed, err := template.New(r.name).Funcs(functions).Parse(r.manifests)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	if err := parsed.Execute(&text, nil); err != nil {
		return nil, err
	}
	objects, err := manifest.Decode([]byte(text.String()))
	if err != nil {
		return nil, fmt.Errorf("injecting %s: %w\n%s", r.name, err, text.String())
	}
	for _, u := range objects {
		switch u.GetKind() {
		case "CustomResourceDefinition", "ValidatingWebhookConfiguration":
		default:
			u.SetNamespace(r.namespace)
		}
	}
	return objects, nil
}

// localImage is the reference of an image that the node has.
func localImage(ctx context.Context, w *world, name string) (string, error) {
	nodes, err := w.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, n := range nodes.Items {
		for _, i := range n.Status.Images {
			for _, reference := range i.Names {
				if strings.HasPrefix(reference, image.Host+"/"+name+":") {
					return reference, nil
				}
			}
		}
	}
	return "", fmt.Errorf("no node has an image %s", name)
}

// certificate is the data of a TLS Secret: valid, or expired an hour ago. A host
// without a dot is a Service of the fault's namespace.
func (r *injected) certificate(state, host string) (string, error) {
	now := time.Now()
	if state == "expired" {
		now = now.AddDate(-2, 0, 0)
	}
	ca, err := pki.NewAuthority("faults", now)
	if err != nil {
		return "", err
	}
	if net.ParseIP(host) == nil && !strings.Contains(host, ".") {
		host += "." + r.namespace + ".svc"
	}
	pair, err := ca.Issue(pki.Request{CommonName: host, Hosts: []string{host}, Server: true}, now)
	if err != nil {
		return "", err
	}
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("{ca.crt: %s, tls.crt: %s, tls.key: %s}", encode(ca.Cert), encode(pair.Cert), encode(pair.Key)), nil
}

// pushed puts an image into the environment's registry whose program is for the
// processors of another architecture: the head of an ELF file says so.
func pushed(ctx context.Context, w *world) (string, error) {
	program := make([]byte, 120)
	copy(program, "\x7fELF\x02\x01\x01")
	program[16], program[18], program[20] = byte(elf.ET_EXEC), byte(elf.EM_AARCH64), byte(elf.EV_CURRENT)
	if runtime.GOARCH == "arm64" {
		program[18] = byte(elf.EM_X86_64)
	}
	var packed bytes.Buffer
	archive := tar.NewWriter(&packed)
	err := archive.WriteHeader(&tar.Header{Name: "program", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))})
	_, writeErr := archive.Write(program)
	if err := errors.Join(err, writeErr, archive.Close()); err != nil {
		return "", err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil })
	if err != nil {
		return "", err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return "", err
	}
	img, err = mutate.ConfigFile(img, foreign(img))
	if err != nil {
		return "", err
	}
	home, err := w.Registry(ctx)
	if err != nil {
		return "", err
	}
	reference := home.Prefix + "/faults/foreign:1"
	_, err = registry.Push(ctx, reference, img, home.Options)
	return reference, err
}

// foreign is the image's configuration with the program as its entrypoint. It
// claims to be for this machine, as an image does that was built wrongly.
func foreign(img v1.Image) *v1.ConfigFile {
	config, err := img.ConfigFile()
	if err != nil {
		panic(err) // it was made in memory
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{"/program"}
	return config
}

// remove takes the fault away, and what holds it.
func (r *injected) remove(w *world) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), patience)
	defer cancel()
	if r.name == "namespace-stuck" {
		patch := []byte(`{"metadata": {"finalizers": null}}`)
		_, err := w.Core.CoreV1().ConfigMaps(r.namespace).Patch(ctx, "held", "application/merge-patch+json", patch, metav1.PatchOptions{})
		if err != nil {
			w.Errorf("letting go of namespace %s: %v", r.namespace, err)
		}
		return
	}
	_ = w.Core.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, r.namespace, metav1.DeleteOptions{}) // most have none
	for _, plural := range []string{"widgets", "gadgets"} {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		where, err := r.cluster.Resource(crd)
		if err == nil && r.name == "definition-refused" {
			_ = where.Delete(ctx, plural+"."+r.namespace+".example.com", metav1.DeleteOptions{}) // a leftover is seen by nobody
		}
	}
	if err := w.Core.CoreV1().Namespaces().Delete(ctx, r.namespace, metav1.DeleteOptions{}); err != nil {
		w.Errorf("removing namespace %s: %v", r.namespace, err)
	}
}
