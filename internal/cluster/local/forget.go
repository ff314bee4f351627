package local

import (
	"context"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/cluster/forget"
)

// forget takes back what the API server still says of pods that ended with the
// node's last start, before the kubelet and the controllers are started.
func (n node) forget(ctx context.Context) error {
	client, err := dynamic.NewForConfig(&rest.Config{
		Host: "https://127.0.0.1:6443", QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAFile: n.cert("ca"), CertFile: n.cert("admin"), KeyFile: n.key("admin")},
	})
	if err != nil {
		return err
	}
	return forget.NodeAndPods(ctx, client)
}
