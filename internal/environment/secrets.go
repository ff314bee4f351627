package environment

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/image"
	"kubernaut.ai/kubernaut/internal/pki"
)

// registryUser is who pushes to the registry and pulls from it.
const registryUser = "kubernaut"

// generated are the Secrets with passwords: made once, then kept. make returns
// their content.
var generated = []struct {
	name string
	keys []string
	make func() (map[string]string, error)
}{
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

// secretsComponent makes passwords and certificates.
func (w *world) secretsComponent() component {
	step := plan.Step{
		Name: "secrets", Expected: time.Second,
		Needs: needs(clusterObject, authority, derive.Namespace(v1alpha1.SystemNamespace), derive.Namespace(v1alpha1.WorkflowNamespace)),
	}
	provide := func(o plan.Object, keys ...string) {
		step.Provides = append(step.Provides, o)
		for _, key := range keys {
			step.Provides = append(step.Provides, o.WithKey(key))
		}
	}
	for _, s := range generated {
		provide(systemObject("Secret", s.name), s.keys...)
	}
	for name := range encrypted {
		provide(systemObject("Secret", name), corev1.TLSCertKey, corev1.TLSPrivateKeyKey, authorityKey)
	}
	provide(systemObject("ConfigMap", authorityConfigMap), authorityKey)
	pull := plan.Object{Kind: "Secret", Namespace: v1alpha1.WorkflowNamespace, Name: v1alpha1.DefaultPullSecret}
	provide(pull, corev1.DockerConfigJsonKey)
	return component{step, w.makeSecrets}
}

func (w *world) makeSecrets(ctx context.Context, say func(string)) error {
	k, err := w.kube()
	if err != nil {
		return err
	}
	made := 0
	for _, s := range generated {
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
	say(fmt.Sprintf("%d passwords made, %d kept", made, len(generated)-made))
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
	login, err := k.Core.CoreV1().Secrets(v1alpha1.SystemNamespace).Get(ctx, registryLogin, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the registry's password: %w", err)
	}
	pull, err := pullSecret(login)
	if err != nil {
		return nil, err
	}
	objects := []runtime.Object{pull, &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: meta(v1alpha1.SystemNamespace, authorityConfigMap),
		Data:       map[string]string{authorityKey: string(ca.Cert)},
	}}
	for name, s := range encrypted {
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

func pullSecret(login *corev1.Secret) (*corev1.Secret, error) {
	config, err := json.Marshal(map[string]any{"auths": map[string]any{
		registryService.address(): map[string]any{
			"username": string(login.Data["username"]), "password": string(login.Data["password"]),
			"auth": append(append(login.Data["username"], ':'), login.Data["password"]...), // bytes become base64
		},
	}})
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: meta(v1alpha1.WorkflowNamespace, v1alpha1.DefaultPullSecret),
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: config},
	}, nil
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
func (w *world) registry(ctx context.Context) (image.Options, error) {
	k, err := w.kube()
	if err != nil {
		return image.Options{}, err
	}
	ca, err := w.authority()
	if err != nil {
		return image.Options{}, err
	}
	login, err := k.Core.CoreV1().Secrets(v1alpha1.SystemNamespace).Get(ctx, registryLogin, metav1.GetOptions{})
	if err != nil {
		return image.Options{}, fmt.Errorf("reading the registry's password: %w", err)
	}
	return image.Options{
		Dial: k.dial, CA: ca.Cert, Username: string(login.Data["username"]), Password: string(login.Data["password"]),
	}, nil
}
