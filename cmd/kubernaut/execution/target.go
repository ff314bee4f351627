package execution

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
)

// targetForm is what the API server takes as targetResource, which a test
// compares with the CRD.
var targetForm = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[A-Za-z]([-A-Za-z0-9.]*[A-Za-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9._:]*[A-Za-z0-9])?$`)

// maxTarget is how long a target may be, in characters.
const maxTarget = 512

// checkTargetForm refuses what no cluster takes as a target, before any is asked.
func checkTargetForm(target string) error {
	switch {
	case target == "":
		return cli.Usagef("which target? say --target namespace/kind/name, such as --target payment/deployment/payment-api")
	case len(target) > maxTarget:
		return cli.Usagef("--target is longer than %d characters; it is namespace/kind/name, or kind/name for a cluster-scoped object", maxTarget)
	case !targetForm.MatchString(target):
		return cli.Usagef("target %q: expected namespace/kind/name, such as payment/deployment/payment-api, or kind/name for a cluster-scoped object, such as node/worker-1", target)
	}
	return nil
}

// targetExists refuses a target that is certainly not there. What cannot be
// found out (an unknown kind, missing rights) is left to the cluster, which says
// more about it.
func targetExists(ctx context.Context, c *connect.Cluster, target string) error {
	parts := strings.Split(target, "/")
	namespace, kind, name := "", parts[len(parts)-2], parts[len(parts)-1]
	if len(parts) == 3 {
		namespace = parts[0]
	}
	resource, group, _ := strings.Cut(strings.ToLower(kind), ".")
	found, err := c.Client.RESTMapper().KindFor(schema.GroupVersionResource{Group: group, Resource: resource})
	if err != nil {
		return nil //nolint:nilerr // the cluster tells of unknown kinds, and of not being there
	}
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(found)
	err = c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	if !apierrors.IsNotFound(err) {
		return nil //nolint:nilerr // without rights to look, the controller looks
	}
	where, list := "", fmt.Sprintf("kubectl get %s", resource)
	if namespace != "" {
		where, list = " in namespace "+namespace, list+" -n "+namespace
	}
	return fmt.Errorf("target %s: there is no %s %s%s; see: %s; to run all the same, add --allow-missing-target", target, found.Kind, name, where, list)
}
