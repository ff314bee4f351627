package environment

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/run"
)

func TestAServerThatDoesNotAnswerIsTheCause(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close() // nothing listens there any more
	began := time.Now()

	seen, err := DiagnoseNamespaces(t.Context(), &rest.Config{Host: "https://" + address}, "shop")

	if err != nil {
		t.Fatal(err)
	}
	if len(seen.Findings) != 1 || seen.Findings[0].Code != diagnose.ServerGone || !strings.Contains(seen.Findings[0].Sentence, address) {
		t.Errorf("got\n%s", seen.Text())
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	var bundle bytes.Buffer
	if err := seen.Bundle(&bundle); err != nil || bundle.Len() == 0 {
		t.Errorf("a bundle of %d bytes, %v", bundle.Len(), err)
	}
}

// A failed environment is diagnosed by what its journal says, also when nothing of it runs.
func TestAFailedStepIsDiagnosedFromTheJournal(t *testing.T) {
	w := worldOf(build.Cache{Dir: t.TempDir()}, Options{Name: "failed"})
	if err := os.MkdirAll(w.dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	journal := `{"at":"2026-11-25T03:00:00Z","step":"machine","state":"ready"}
{"at":"2026-11-25T03:00:01Z","step":"cluster","state":"failed","error":"starting cluster failed: port 16443 on 127.0.0.1 is in use by another program"}
{"at":"2026-11-25T03:00:01Z","step":"redis","state":"skipped"}
{"at":"2026-11-25T03:00:01Z","state":"failed","error":"cluster: ..."}
`
	if err := os.WriteFile(w.dir("journal.jsonl"), []byte(journal), 0o600); err != nil {
		t.Fatal(err)
	}
	last := w.lastJournal()
	steps := last.failed()
	if len(last) != 4 || len(steps) != 1 || last.finished() || !slices.Equal(steps[0].Skipped, []string{"redis"}) {
		t.Fatalf("read %d events with %d failed steps", len(last), len(steps))
	}
	d := diagnose.Of(diagnose.Snapshot{Steps: steps})
	if len(d.Findings) != 1 || d.Findings[0].Code != diagnose.PortInUse || !strings.Contains(d.Findings[0].Sentence, "of the last `kubernaut env up` (2026-11-25 03:00:01 UTC)") {
		t.Errorf("got\n%s", d.Text())
	}
}

func TestOnlyAnUpThatReachedItsEndAppliedEverything(t *testing.T) {
	for why, c := range map[string]struct {
		last progress.Event
		want bool
	}{
		"it is ready":      {progress.Event{State: progress.Ready}, true},
		"it failed":        {progress.Event{State: progress.Failed}, false},
		"it was killed":    {progress.Event{Step: "redis", State: progress.Running}, false},
		"its last is done": {progress.Event{Step: "redis", State: progress.Ready}, false},
	} {
		if got := (journal{{Step: "machine", State: progress.Ready}, c.last}).finished(); got != c.want {
			t.Errorf("%s: finished %v", why, got)
		}
	}
	if (journal{}).finished() {
		t.Error("where none is, nothing is known")
	}
}

func TestTheObjectThatAStepWaitedFor(t *testing.T) {
	for text, want := range map[string]plan.Object{
		"Deployment \"web\" in shop: not ready in time\n  more": {Kind: "Deployment", Namespace: "shop", Name: "web"},
		"CustomResourceDefinition \"a.b\": not ready in time":   {Kind: "CustomResourceDefinition", Name: "a.b"},
		"applying Deployment \"web\" in shop: refused":          {},
	} {
		if diff := cmp.Diff(want, objectOf(text)); diff != "" {
			t.Error(diff)
		}
	}
}

// elsewhere is an environment on a cluster that does not answer, whose last Up
// wrote this journal.
func elsewhere(t *testing.T, lines string) (Options, *world) {
	t.Helper()
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	raw, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"a": {Server: "https://127.0.0.1:1"}},
		Contexts:       map[string]*clientcmdapi.Context{"a": {Cluster: "a"}},
		CurrentContext: "a",
	})
	if err == nil {
		err = os.WriteFile(kubeconfig, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Name: "test", Place: Place{Cluster: Existing, Kubeconfig: kubeconfig}}
	w, err := existing(o)
	if err != nil {
		t.Fatal(err)
	}
	file, err := w.createJournal()
	if err == nil {
		_, err = file.WriteString(lines)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return o, w
}

func TestADiagnosisThatIsInterruptedIsAnError(t *testing.T) {
	o, _ := elsewhere(t, `{"at":"2026-11-25T03:00:00Z","state":"ready"}`+"\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Diagnose(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Where no Secret can be read, what looks like one is taken out.
func TestABundleHoldsNoSecretOfTheJournal(t *testing.T) {
	o, w := elsewhere(t, `{"at":"2026-11-25T03:00:00Z","step":"schema","state":"failed","note":"token=open-sesame","error":"{\"password\":\"open-sesame\"} postgres://owner:open-sesame@database"}`+"\n")
	info, err := os.Stat(w.dir("journal.jsonl"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the journal has mode %v, %v", info.Mode(), err)
	}

	seen, err := Diagnose(t.Context(), o)

	if err != nil {
		t.Fatal(err)
	}
	for name, content := range unpacked(t, seen) {
		if strings.Contains(content, "open-sesame") {
			t.Errorf("%s holds the password:\n%s", name, content)
		}
	}
	known := w.lastJournal().masked(diagnose.NewMask([]string{"schema-42"}))
	if !strings.Contains(string(known), `"step":"schema"`) || !strings.Contains(string((journal{{Error: "as schema-42"}}).masked(diagnose.NewMask([]string{"schema-42"}))), "as ***") {
		t.Errorf("the journal became %s", known)
	}
}

// unpacked are the files of the bundle.
func unpacked(t *testing.T, seen Seen) map[string]string {
	t.Helper()
	var packed bytes.Buffer
	if err := seen.Bundle(&packed); err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(&packed)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(plain); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(content)
	}
	if files["diagnosis/journal.jsonl"] == "" || files["diagnosis/snapshot.json"] == "" {
		t.Fatalf("the bundle has %v", slices.Sorted(maps.Keys(files)))
	}
	return files
}

func TestAFailedUpTellsTheCausesAndNotTheSteps(t *testing.T) {
	failure := &run.Failure{Causes: []run.Cause{{Step: "web", Err: errors.New("not ready in time")}}}
	f := &FailedUp{diagnose.Diagnosis{Findings: []diagnose.Finding{{Code: diagnose.ContainerCrash, Sentence: "it ends with exit code 3", Hopeless: true}}}, failure}
	if text := f.Error(); text != "the environment does not come up; failed: web\nContainerCrash: it ends with exit code 3" {
		t.Errorf("got %s", text)
	}
	var inner *run.Failure
	if !errors.As(error(f), &inner) {
		t.Error("the steps' errors are lost")
	}
	if f.Findings = nil; f.Error() != failure.Error() {
		t.Errorf("without a cause it says %s", f.Error())
	}
}
