package upstream

import (
	_ "embed"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/manifest"
)

//go:embed coredns.yaml
var corednsYAML string

var coredns = template.Must(template.New("coredns.yaml").Parse(corednsYAML))

// CoreDNS returns the objects of the cluster's DNS: the image answers for the
// zone cluster.local at clusterIP, and for nothing outside.
func CoreDNS(image, clusterIP string) ([]*unstructured.Unstructured, error) {
	var out strings.Builder
	if err := coredns.Execute(&out, map[string]string{"Image": image, "ClusterIP": clusterIP}); err != nil {
		return nil, err
	}
	return manifest.Decode([]byte(out.String()))
}
