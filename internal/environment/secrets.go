package environment

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	theirs "kubernaut.ai/kubernaut/internal/cluster/existing"
	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/pki"
	"kubernaut.ai/kubernaut/internal/registry"
)

// registryUser is who pushes to the registry and pulls from it.
const registryUser = "kubernaut"

// password is a Secret with passwords: made once, then kept. make returns its
// content.
type password struct {
	name string
	keys []string
	make func() (map[string]string, error)
}

// generated are all of them.
var generated = []password{
	{databaseSecret, []string{ownerPassword, servicePassword}, func() (map[string]string, error) {
		return map[string]string{ownerPassword: rand.Text(), servicePassword: rand.Text()}, nil
	}},
	{redisSecret, []string{"password"}, func() (map[string]string, error) {
		return map[string]string{"password": rand.Text()}, nil
	}},
	{registryLogin, []string{"username", "password", "htpasswd"}, newRegistryLogin},
}

func newRegistryLogin() (map[string]string, error) {
	password := rand.Text()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return nil, fmt.Errorf("hashing the registry's password: %w", err)
	}
	return map[string]string{
		"username": registryUser, "password": password, "htpasswd": registryUser + ":" + string(hash) + "\n",
	}, nil
}

// encrypted are the Services with TLS, by the Secret of their certificate.
var encrypted = map[string]service{registryTLS: registryService, dataStorageTLS: dataStorageService}

// passwords are the generated Secrets that this environment needs: a registry of
// others has a login of its own.
func (w *world) passwords() []password {
	return slices.DeleteFunc(slices.Clone(generated), func(p password) bool {
		return p.name == registryLogin && !w.options.ownsCluster()
	})
}

// served are the Services with TLS, by the Secret of their certificate.
func (w *world) served() map[string]service {
	all := maps.Clone(encrypted)
	if !w.options.ownsCluster() {
		delete(all, registryTLS)
	}
	return all
}

// pulling are the namespaces whose pods read the registry: runs, which pull from it,
// and Data Storage, which looks at what is registered.
func (w *world) pulling() []string {
	if w.options.ownsCluster() {
		return []string{v1alpha1.SystemNamespace, v1alpha1.WorkflowNamespace}
	}
	return w.pullers()
}

// secretsComponent makes passwords and certificates.
func (w *world) secretsComponent() component {
	step := plan.Step{
		Name: "secrets", Expected: time.Second,
		Needs: needs(clusterObject, authority, derive.Namespace(v1alpha1.SystemNamespace)),
	}
	provide := func(o plan.Object, keys ...string) {
		step.Provides = append(step.Provides, o)
		for _, key := range keys {
			step.Provides = append(step.Provides, o.WithKey(key))
		}
	}
	for _, s := range w.passwords() {
		provide(systemObject("Secret", s.name), s.keys...)
	}
	for name := range w.served() {
		provide(systemObject("Secret", name), corev1.TLSCertKey, corev1.TLSPrivateKeyKey, authorityKey)
	}
	provide(systemObject("ConfigMap", authorityConfigMap), authorityKey)
	for _, namespace := range w.pulling() {
		step.Needs = append(step.Needs, needs(derive.Namespace(namespace))...)
		provide(plan.Object{Kind: "Secret", Namespace: namespace, Name: pullSecretName}, corev1.DockerConfigJsonKey)
	}
	return component{step, w.makeSecrets}
}

func (w *world) makeSecrets(ctx context.Context, say func(string)) error {
	k, err := w.kube()
	if err != nil {
		return err
	}
	made := 0
	passwords := w.passwords()
	for _, s := range passwords {
		fresh, err := k.createSecret(ctx, s.name, s.make)
		if err != nil {
			return fmt.Errorf("Secret %s: %w", s.name, err)
		}
		if fresh {
			made++
		}
	}
	derived, err := w.derivedSecrets(ctx, k)
	if err != nil {
		return err
	}
	_, err = k.apply(ctx, derived)
	if err := errors.Join(err, k.applied.keep()); err != nil {
		return err
	}
	say(fmt.Sprintf("%d passwords made, %d kept", made, len(passwords)-made))
	return nil
}

// createSecret makes the Secret unless there is one: a password in use is never replaced.
func (k *kube) createSecret(ctx context.Context, name string, content func() (map[string]string, error)) (fresh bool, err error) {
	secrets := k.Core.CoreV1().Secrets(v1alpha1.SystemNamespace)
	if _, err := secrets.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return false, err
	}
	data, err := content()
	if err != nil {
		return false, err
	}
	secret := &corev1.Secret{ObjectMeta: meta(v1alpha1.SystemNamespace, name), StringData: data}
	if k.owner != "" {
		secret.Labels[theirs.OwnerLabel] = k.owner
	}
	_, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: manager})
	if apierrors.IsAlreadyExists(err) { // another process was faster
		return false, nil
	}
	return err == nil, err
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app.kubernetes.io/managed-by": manager}}
}

// derivedSecrets follow from what is kept: the certificates from the
// environment's authority, the pull secret from the registry's password.
func (w *world) derivedSecrets(ctx context.Context, k *kube) ([]*unstructured.Unstructured, error) {
	ca, err := w.authority()
	if err != nil {
		return nil, err
	}
	trusted, err := w.trusted()
	if err != nil {
		return nil, err
	}
	pulls, err := w.pullSecrets(ctx, k)
	if err != nil {
		return nil, err
	}
	objects := []runtime.Object{&corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: meta(v1alpha1.SystemNamespace, authorityConfigMap),
		Data:       map[string]string{authorityKey: string(trusted)},
	}}
	for _, s := range pulls {
		objects = append(objects, s)
	}
	for name, s := range w.served() {
		pair, err := w.certificates().Leaf(ca, s.name, pki.Request{CommonName: s.host(), Hosts: s.hosts(), Server: true})
		if err != nil {
			return nil, fmt.Errorf("certificate of %s: %w", s.name, err)
		}
		objects = append(objects, &corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: meta(v1alpha1.SystemNamespace, name), Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{corev1.TLSCertKey: pair.Cert, corev1.TLSPrivateKeyKey: pair.Key, authorityKey: ca.Cert},
		})
	}
	return toUnstructured(objects)
}

// trusted are the authorities that clients need: ours, and in a cluster of
// others that of their registry.
func (w *world) trusted() ([]byte, error) {
	ca, err := w.authority()
	if err != nil || w.options.ownsCluster() {
		if err != nil {
			return nil, err
		}
		return ca.Cert, nil
	}
	registry, err := w.options.registryCA()
	if err != nil {
		return nil, err
	}
	return slices.Concat(ca.Cert, registry), nil
}

// pullSecrets let pods pull from the environment's registry.
func (w *world) pullSecrets(ctx context.Context, k *kube) ([]*corev1.Secret, error) {
	if !w.options.ownsCluster() {
		return w.theirPullSecrets()
	}
	login, err := k.Core.CoreV1().Secrets(v1alpha1.SystemNamespace).Get(ctx, registryLogin, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the registry's password: %w", err)
	}
	secret, err := pullSecret(w.options.Place, string(login.Data["username"]), string(login.Data["password"]))
	if err != nil {
		return nil, err
	}
	var all []*corev1.Secret
	for _, namespace := range w.pulling() {
		s := secret.DeepCopy()
		s.Namespace = namespace
		all = append(all, s)
	}
	return all, nil
}

// pullSecret is for the pods of runs; it also tells clients which registry it is.
func pullSecret(p Place, username, password string) (*corev1.Secret, error) {
	config, err := json.Marshal(map[string]any{"auths": map[string]any{
		p.registryHost(): map[string]any{
			"username": username, "password": password, "auth": []byte(username + ":" + password), // bytes become base64
		},
	}})
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: meta(v1alpha1.WorkflowNamespace, pullSecretName),
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: config},
	}
	if p.Registry != "" {
		secret.Annotations = map[string]string{v1alpha1.AnnotationRegistry: p.Registry}
	}
	return secret, nil
}

// pullSecret is the name of the Secret that images are pulled with; empty where
// they are on the nodes.
func (w *world) pullSecret() string {
	if w.options.ownsCluster() {
		return ""
	}
	return pullSecretName
}

func toUnstructured(objects []runtime.Object) ([]*unstructured.Unstructured, error) {
	all := make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return nil, err
		}
		all[i] = &unstructured.Unstructured{Object: raw}
	}
	return all, nil
}

// registry is how the registry is reached from here.
func (w *world) registry(ctx context.Context) (registry.Options, error) {
	if !w.options.ownsCluster() {
		return w.theirRegistry()
	}
	k, err := w.kube()
	if err != nil {
		return registry.Options{}, err
	}
	ca, err := w.authority()
	if err != nil {
		return registry.Options{}, err
	}
	login, err := k.Core.CoreV1().Secrets(v1alpha1.SystemNamespace).Get(ctx, registryLogin, metav1.GetOptions{})
	if err != nil {
		return registry.Options{}, fmt.Errorf("reading the registry's password: %w", err)
	}
	return registry.Options{
		Dial: k.dial, CA: ca.Cert,
		Credentials: registry.Credentials{Username: string(login.Data["username"]), Password: string(login.Data["password"])},
	}, nil
}
