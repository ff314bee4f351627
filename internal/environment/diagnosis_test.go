package environment

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/environment/diagnose"
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
{"at":"2026-11-25T03:00:01Z","state":"failed","error":"cluster: ..."}
`
	if err := os.WriteFile(w.dir("journal.jsonl"), []byte(journal), 0o600); err != nil {
		t.Fatal(err)
	}
	steps, raw := w.failedSteps()
	if string(raw) != journal || len(steps) != 1 {
		t.Fatalf("read %d steps", len(steps))
	}
	d := diagnose.Of(diagnose.Snapshot{Steps: steps})
	if len(d.Findings) != 1 || d.Findings[0].Code != diagnose.PortInUse {
		t.Errorf("got\n%s", d.Text())
	}
}

func TestAFailedUpTellsTheCausesAndNotTheSteps(t *testing.T) {
	failure := &run.Failure{Causes: []run.Cause{{Step: "web", Err: errors.New("not ready in time")}}}
	f := &FailedUp{diagnose.Diagnosis{Findings: []diagnose.Finding{{Code: diagnose.ContainerCrash, Sentence: "it ends with exit code 3", Hopeless: true}}}, failure}
	if text := f.Error(); !strings.HasPrefix(text, "the environment does not come up; failed: web\nContainerCrash: it ends with exit code 3\n") {
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
