// Package imports keeps the rule of ARCHITECTURE.md: commands import internal
// packages, those import pure packages, those import the API; siblings meet
// only through a port.
package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "kubernaut.ai/kubernaut/"

// pure packages decide and cannot act: of ours they see only what is listed,
// and nothing that reads a clock by waiting, a machine, a network or a cluster.
var pure = map[string][]string{
	"internal/execution":            {"api/", "internal/audit"},
	"internal/audit":                {"api/"},
	"internal/completeness":         {"api/"},
	"internal/environment/derive":   {"internal/environment/plan"},
	"internal/environment/diagnose": {"internal/environment/derive", "internal/environment/plan"},
	"internal/environment/plan":     nil,
}

var acting = []string{"context", "os", "os/exec", "net", "net/http", "sigs.k8s.io/controller-runtime", "k8s.io/client-go"}

// leaves import nothing of ours, and everybody may import them.
var leaves = []string{"internal/lockfile", "internal/pki", "internal/registry", "internal/service", "internal/terminal"}

// pillars meet only through ports: what one may import of another is named here.
var pillars = map[string][]string{
	"internal/audit":        nil,
	"internal/build":        nil,
	"internal/cli":          {"internal/connect"},
	"internal/cluster":      {"internal/build", "internal/image"},
	"internal/completeness": nil,
	"internal/connect":      {"internal/cluster/forward"},
	"internal/controller":   {"internal/audit", "internal/engine", "internal/execution", "internal/target"},
	"internal/datastorage":  {"internal/audit", "internal/completeness"},
	"internal/demo":         {"internal/build", "internal/cluster", "internal/connect", "internal/environment", "internal/follow", "internal/image", "internal/trail", "internal/workflow"},
	"internal/engine":       {"internal/execution"},
	"internal/environment":  {"internal/build", "internal/cluster", "internal/datastorage/postgres", "internal/image", "internal/installation"},
	"internal/execution":    {"internal/audit"},
	"internal/follow":       {"internal/connect", "internal/execution"},
	"internal/image":        {"internal/build"},
	"internal/installation": {"internal/cluster/inventory"},
	"internal/target":       {"internal/execution"},
	"internal/trail":        {"internal/completeness", "internal/connect"},
	"internal/workflow":     {"internal/connect", "internal/datastorage/catalog", "internal/datastorage/descriptor", "internal/image"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
}

func TestImportsPointInward(t *testing.T) {
	for _, p := range packages(t) {
		for _, i := range p.Imports {
			if why := refused(p.ImportPath, i); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, i, why)
			}
		}
	}
}

// refused says why pkg may not import path, or nothing when it may.
func refused(pkg, path string) string {
	own, ours := strings.CutPrefix(path, module)
	if _, ok := pure[pkg]; ok && !ours {
		return refusedByPurity(path)
	}
	if !ours {
		return ""
	}
	if allowed, ok := pure[pkg]; ok && !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(own, a) }) {
		return "a pure package sees only the API and what test/imports names"
	}
	switch {
	case strings.HasPrefix(own, "cmd/") && !strings.HasPrefix(own, pkg+"/"):
		return "nobody imports a command but itself"
	case strings.HasPrefix(own, "test/") && !strings.HasPrefix(pkg, "test/"):
		return "test code stays in tests"
	case strings.HasPrefix(pkg, "api/") && !strings.HasPrefix(own, "api/"):
		return "the API imports nothing of ours"
	}
	return refusedByPillar(pkg, own)
}

func refusedByPurity(path string) string {
	for _, a := range acting {
		if path == a || strings.Contains(a, ".") && strings.HasPrefix(path, a) {
			return "a pure package cannot act"
		}
	}
	return ""
}

func refusedByPillar(pkg, own string) string {
	from, to := pillarOf(pkg), pillarOf(own)
	if from == "" || to == "" || from == to || slices.Contains(leaves, to) && !slices.Contains(leaves, from) {
		return ""
	}
	if slices.ContainsFunc(pillars[from], func(a string) bool { return own == a || strings.HasPrefix(own, a+"/") }) {
		return ""
	}
	return "siblings meet only through a port; test/imports names the exceptions"
}

// pillarOf is the first folder below internal/, or nothing elsewhere.
func pillarOf(pkg string) string {
	parts := strings.SplitN(pkg, "/", 3)
	if len(parts) < 2 || parts[0] != "internal" {
		return ""
	}
	return parts[0] + "/" + parts[1]
}

func TestEveryPillarHasItsRule(t *testing.T) {
	for _, p := range packages(t) {
		if pillar := pillarOf(p.ImportPath); pillar != "" {
			if _, ok := pillars[pillar]; !ok && !slices.Contains(leaves, pillar) {
				t.Errorf("%s has no line in test/imports: say which siblings it may meet", pillar)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		pkg, path string
		ok        bool
		why       string
	}{
		{"internal/execution", "sigs.k8s.io/controller-runtime/pkg/client", false, "a decision reads no cluster"},
		{"internal/execution", "context", false, "a decision waits for nothing"},
		{"internal/execution", module + "api/v1alpha1", true, "it decides about the API's objects"},
		{"internal/execution", module + "internal/controller", false, "imports point inward"},
		{"internal/datastorage", module + "internal/controller", false, "pillars are siblings"},
		{"internal/controller", module + "internal/engine/tekton", true, "named exception"},
		{"api/v1alpha1", module + "internal/audit", false, "the API stands alone"},
		{"internal/controller", module + "cmd/controller", false, "nobody imports a command"},
		{"internal/controller", module + "test/servers", false, "test code stays in tests"},
		{"internal/build", module + "internal/lockfile", true, "a leaf serves everybody"},
		{"internal/pki", module + "internal/lockfile", false, "a leaf imports nothing of ours"},
		{"cmd/controller", module + "internal/controller", true, "commands wire"},
	} {
		if got := refused(c.pkg, c.path); (got == "") != c.ok {
			t.Errorf("%s imports %s (%s): refused = %q", c.pkg, c.path, c.why, got)
		}
	}
}
