package connect

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
)

// Explain adds the likely cause and the next step to an error of the API server.
func Explain(err error) error {
	var (
		network net.Error
		group   *discovery.ErrGroupDiscoveryFailed
	)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the cluster does not answer: %w; is it running? see: kubernaut env status", err)
	case meta.IsNoMatchError(err), errors.As(err, &group):
		return fmt.Errorf("this cluster does not know Kubernaut's objects: %w; install it with: kubernaut env up", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("you may not do that: %w", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the cluster does not know who you are: %w; are the credentials of the kubeconfig still valid?", err)
	case errors.As(err, &network):
		return fmt.Errorf("the cluster cannot be reached: %w; see: kubernaut env status", err)
	}
	return err
}
