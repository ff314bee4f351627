package forward

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// servicePort is one port of one Service.
type servicePort struct {
	namespace, name string
	port            int32
}

// endpoint is one port of one pod.
type endpoint struct {
	namespace, name string
	uid             types.UID
	port            int32
}

func parseAddress(network, address string) (servicePort, error) {
	refuse := func(why string) (servicePort, error) {
		return servicePort{}, fmt.Errorf("%w: %s %q %s; expected service.namespace.svc:port", ErrNotCluster, network, address, why)
	}
	if !strings.HasPrefix(network, "tcp") {
		return refuse("is not TCP")
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return refuse("has no port")
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return refuse("has no port between 1 and 65535")
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(labels) < 3 || labels[2] != "svc" || labels[0] == "" || labels[1] == "" {
		return refuse("does not name a Service")
	}
	return servicePort{namespace: labels[1], name: labels[0], port: int32(port)}, nil
}

// Names tells whether host, or host:port, names a Service: then it is reached
// through the API server.
func Names(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := parseAddress("tcp", net.JoinHostPort(host, "1"))
	return err == nil
}

// readyPod asks the cluster for a pod that serves svc now.
func readyPod(ctx context.Context, client kubernetes.Interface, svc servicePort) (endpoint, error) {
	service, err := client.CoreV1().Services(svc.namespace).Get(ctx, svc.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return endpoint{}, fmt.Errorf("%w %s in namespace %s", ErrNoService, svc.name, svc.namespace)
	}
	if err != nil {
		return endpoint{}, fmt.Errorf("reading Service %s/%s: %w", svc.namespace, svc.name, err)
	}
	portName, err := nameOfPort(service, svc.port)
	if err != nil {
		return endpoint{}, err
	}
	slices, err := client.DiscoveryV1().EndpointSlices(svc.namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + svc.name,
	})
	if err != nil {
		return endpoint{}, fmt.Errorf("reading the endpoints of Service %s/%s: %w", svc.namespace, svc.name, err)
	}
	for i := range slices.Items {
		if found, ok := readyIn(&slices.Items[i], portName); ok {
			return found, nil
		}
	}
	selector := metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: service.Spec.Selector})
	return endpoint{}, &Unready{svc.namespace, svc.name, selector}
}

func nameOfPort(service *corev1.Service, port int32) (string, error) {
	var have []string
	for _, p := range service.Spec.Ports {
		if p.Port == port {
			return p.Name, nil
		}
		have = append(have, strconv.Itoa(int(p.Port)))
	}
	return "", fmt.Errorf("Service %s/%s has no port %d; it has %s",
		service.Namespace, service.Name, port, strings.Join(have, ", "))
}

// readyIn finds the first ready pod of slice that serves the named port.
func readyIn(slice *discoveryv1.EndpointSlice, portName string) (endpoint, bool) {
	for _, p := range slice.Ports {
		if p.Port == nil || p.Name == nil || *p.Name != portName {
			continue
		}
		for _, e := range slice.Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			if !ready || e.TargetRef == nil || e.TargetRef.Kind != "Pod" {
				continue
			}
			return endpoint{
				namespace: e.TargetRef.Namespace, name: e.TargetRef.Name,
				uid: e.TargetRef.UID, port: *p.Port,
			}, true
		}
	}
	return endpoint{}, false
}
