package environment

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// freeAddress gives back the fixed address of a Service when it is held for that
// very Service, which does not exist: who asked for it was killed while the API
// server made it. The API server itself would notice only after minutes.
// It tells whether there was such an address.
func (k *kube) freeAddress(ctx context.Context, service *unstructured.Unstructured, refused error) (bool, error) {
	address, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP")
	if service.GetKind() != "Service" || address == "" || !apierrors.IsInvalid(refused) || !strings.Contains(refused.Error(), "already allocated") {
		return false, nil
	}
	if _, err := k.get(ctx, service); !apierrors.IsNotFound(err) {
		return false, err
	}
	addresses := k.Core.NetworkingV1().IPAddresses()
	held, err := addresses.Get(ctx, address, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil // the API server was faster
	}
	if err != nil {
		return false, fmt.Errorf("looking who holds address %s: %w", address, err)
	}
	if of := held.Spec.ParentRef; of == nil || of.Resource != "services" || of.Namespace != service.GetNamespace() || of.Name != service.GetName() {
		return false, nil
	}
	err = addresses.Delete(ctx, address, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(held.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("giving back address %s: %w", address, err)
	}
	return true, nil
}
