package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cluster/forward"
)

// How long a token of ours lasts, and how long before its end it is renewed.
const (
	tokenSeconds    = int64(3600)
	tokenRenewEarly = 5 * time.Minute
)

// DataStorage returns a client of the cluster's Data Storage. It authenticates
// with the kubeconfig's bearer token, else with a token of the service account
// kubernaut-cli. It sends no request to Data Storage yet.
func (c *Cluster) DataStorage(ctx context.Context) (*datastorage.Client, error) {
	ca, err := c.authority(ctx, v1alpha1.DataStorageTLS)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("the CA certificate of Data Storage in namespace %s is no PEM certificate", v1alpha1.SystemNamespace)
	}
	over := &http.Client{Transport: &http.Transport{
		DialContext:     c.Dial,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	return datastorage.New(v1alpha1.DataStorageURL, over, c.tokens())
}

// authority reads the CA certificate of a service in the cluster: from the
// public ConfigMap, else from the service's own Secret.
func (c *Cluster) authority(ctx context.Context, secretName string) ([]byte, error) {
	key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.PublicCA}
	var public corev1.ConfigMap
	err := c.Client.Get(ctx, key, &public)
	if ca := public.Data[v1alpha1.CAKey]; err == nil && ca != "" {
		return []byte(ca), nil
	}
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return nil, Explain(fmt.Errorf("reading ConfigMap %s: %w", key, err))
	}
	var secret corev1.Secret
	key.Name = secretName
	err = c.Client.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("Kubernaut is not installed in this cluster, or not wholly: there is neither ConfigMap %s/%s nor Secret %s; install it with: kubernaut env up",
			v1alpha1.SystemNamespace, v1alpha1.PublicCA, key)
	}
	if err != nil {
		return nil, Explain(fmt.Errorf("reading the CA certificate in Secret %s: %w", key, err))
	}
	if len(secret.Data[v1alpha1.CAKey]) == 0 {
		return nil, fmt.Errorf("the Secret %s has no key %s", key, v1alpha1.CAKey)
	}
	return secret.Data[v1alpha1.CAKey], nil
}

// tokens returns a source of bearer tokens for Data Storage.
func (c *Cluster) tokens() datastorage.TokenSource {
	if c.Config.BearerToken != "" || c.Config.BearerTokenFile != "" {
		return func(context.Context) (string, error) { return c.ownToken() }
	}
	issued := &issuedToken{cluster: c}
	return issued.get
}

func (c *Cluster) ownToken() (string, error) {
	if c.Config.BearerTokenFile == "" {
		return c.Config.BearerToken, nil
	}
	raw, err := os.ReadFile(c.Config.BearerTokenFile)
	if err != nil {
		return "", fmt.Errorf("reading the token file of the kubeconfig: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// issuedToken is a token that the API server issues for us, and renews.
type issuedToken struct {
	cluster *Cluster

	mu      sync.Mutex
	token   string
	expires time.Time
}

func (t *issuedToken) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Until(t.expires) > tokenRenewEarly {
		return t.token, nil
	}
	seconds := tokenSeconds
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{datastorage.TokenAudience}, ExpirationSeconds: &seconds,
	}}
	answer, err := t.cluster.Core.CoreV1().ServiceAccounts(v1alpha1.SystemNamespace).
		CreateToken(ctx, v1alpha1.CommandLineAccount, request, metav1.CreateOptions{})
	if err != nil {
		return "", Explain(fmt.Errorf("asking for a token of service account %s/%s: %w", v1alpha1.SystemNamespace, v1alpha1.CommandLineAccount, err))
	}
	t.token, t.expires = answer.Status.Token, answer.Status.ExpirationTimestamp.Time
	return t.token, nil
}

// ExplainDataStorage adds what to do next to an error of Data Storage.
func ExplainDataStorage(err error) error {
	unready, isUnready := errors.AsType[*forward.Unready](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, forward.ErrNoService):
		return fmt.Errorf("Data Storage is not installed in this cluster; install it with: kubernaut env up (%w)", err)
	case isUnready: // how we got there helps nobody
		return fmt.Errorf("Data Storage does not run: %w", unready)
	case errors.Is(err, datastorage.ErrUnauthenticated):
		return fmt.Errorf("%w; it takes tokens of its own cluster, made for the audience %s", err, datastorage.TokenAudience)
	case errors.Is(err, datastorage.ErrForbidden):
		return fmt.Errorf("%w; see who may what: kubectl get clusterroles -l app.kubernetes.io/part-of=kubernaut; "+
			"and bind one: kubectl create clusterrolebinding NAME --clusterrole=ROLE --user=USER (or, with a client certificate, --serviceaccount=%s:%s)",
			err, v1alpha1.SystemNamespace, v1alpha1.CommandLineAccount)
	case errors.Is(err, datastorage.ErrUnavailable):
		return fmt.Errorf("%w; look at: kubectl -n %s get pods, and at the log of deployment/datastorage", err, v1alpha1.SystemNamespace)
	}
	return err
}
