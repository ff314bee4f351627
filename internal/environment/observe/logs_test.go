package observe

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// What is left out is named.
func TestWhatIsLeftOutIsNamed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/log") {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		fmt.Fprintln(w, "a line")
	}))
	defer server.Close()
	core, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	l := looker{Reader: Reader{Core: core}, scope: Scope{Namespaces: []string{"shop"}}}
	for i := range mostLogs + 7 {
		l.objects = append(l.objects, &unstructured.Unstructured{Object: map[string]any{
			"kind": "Pod", "metadata": map[string]any{"name": fmt.Sprintf("web-%d", i), "namespace": "shop"},
			"status": map[string]any{"containerStatuses": []any{map[string]any{"name": "main", "containerID": "a", "ready": false}}},
		}})
	}

	l.logs(t.Context())
	l.requests(t.Context())

	if len(l.read) != mostLogs {
		t.Errorf("%d logs were read", len(l.read))
	}
	slices.Sort(l.unreadable)
	if diff := cmp.Diff([]string{"7 of 207 logs", "pods of other namespaces"}, l.unreadable); diff != "" {
		t.Error(diff)
	}
}
