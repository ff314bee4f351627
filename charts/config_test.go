package charts

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controller"
)

// TestControllerReadsItsConfiguration: a key the program does not know stops its start.
func TestControllerReadsItsConfiguration(t *testing.T) {
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		config := find(objects, "ConfigMap", v1alpha1.SystemNamespace+"/kubernaut-controller")
		text, _, err := unstructured.NestedString(config.Object, "data", "config.yaml")
		if err != nil {
			t.Fatal(err)
		}
		read, err := controller.ParseConfig([]byte(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if read.DataStorage.TokenFile == "" || read.DataStorage.CAFile == "" || !read.LeaderElection {
			t.Errorf("the controller would read %+v", read)
		}
	})
}
