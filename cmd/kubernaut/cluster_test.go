package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/terminal"
	"kubernaut.ai/kubernaut/test/servers"
)

// TestOnAnAPIServer runs the scripts that speak to a real API server. No
// controller runs there: the scripts write statuses where one would.
func TestOnAnAPIServer(t *testing.T) {
	cfg := servers.APIServer(t)
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: connect.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	stand := &stand{client: c}
	kubeconfig := servers.Kubeconfig(t, cfg)
	t.Run("Watch", func(t *testing.T) { watching(t, stand, kubeconfig) })
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/cluster",
		UpdateScripts: update,
		Setup: func(e *testscript.Env) error {
			if err := apart(e); err != nil {
				return err
			}
			e.Setenv("KUBECONFIG", kubeconfig)
			e.Setenv("NS", filepath.Base(e.WorkDir))
			return stand.namespace(e.Getenv("NS"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"create":  stand.create,
			"settle":  stand.settle,
			"appears": stand.appears,
		},
	})
}

// stand is the world of the scripts: it creates what they need, and writes
// statuses as a controller would.
type stand struct{ client client.WithWatch }

// patience is how long a script waits for what a command does.
const patience = 30 * time.Second

// namespace makes a namespace for one script, called $NS there.
func (s *stand) namespace(name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, n := range []string{name, v1alpha1.SystemNamespace} {
		ns.ObjectMeta = metav1.ObjectMeta{Name: n}
		if err := s.client.Create(context.Background(), ns); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// create FILE creates the object in a file, with its status: the record of a target
// where all of them are, anything else in the script's namespace.
func (s *stand) create(ts *testscript.TestScript, _ bool, args []string) {
	object := s.read(ts, args[0])
	object.SetNamespace(ts.Getenv("NS"))
	if _, ok := object.(*v1alpha1.RemediationTarget); ok {
		object.SetNamespace(v1alpha1.SystemNamespace)
	}
	status := object.DeepCopyObject().(client.Object)
	ts.Check(s.client.Create(context.Background(), object))
	status.SetResourceVersion(object.GetResourceVersion())
	switch status.(type) {
	case *v1alpha1.WorkflowExecution, *v1alpha1.RemediationTarget:
		ts.Check(s.client.Status().Update(context.Background(), status))
	}
}

// settle NAME FILE gives an execution the status in a file.
func (s *stand) settle(ts *testscript.TestScript, _ bool, args []string) {
	var ex v1alpha1.WorkflowExecution
	ts.Check(s.client.Get(context.Background(), client.ObjectKey{Namespace: ts.Getenv("NS"), Name: args[0]}, &ex))
	ts.Check(yaml.UnmarshalStrict([]byte(ts.ReadFile(args[1])), &ex.Status))
	ts.Check(s.client.Status().Update(context.Background(), &ex))
}

// appears NAME waits until an execution exists.
func (s *stand) appears(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w, err := s.client.Watch(ctx, &v1alpha1.WorkflowExecutionList{},
		client.InNamespace(ts.Getenv("NS")), client.MatchingFields{"metadata.name": args[0]})
	ts.Check(err)
	defer w.Stop()
	if _, open := <-w.ResultChan(); !open {
		ts.Fatalf("execution %s does not appear", args[0])
	}
}

func (s *stand) read(ts *testscript.TestScript, file string) client.Object {
	raw, err := os.ReadFile(ts.MkAbs(file))
	ts.Check(err)
	var kind metav1.TypeMeta
	ts.Check(yaml.Unmarshal(raw, &kind))
	object, err := connect.Scheme.New(kind.GroupVersionKind())
	ts.Check(err)
	ts.Check(yaml.UnmarshalStrict(raw, object))
	return object.(client.Object)
}

// watching checks that `get -w` lists what there is, then each change, and ends
// in order when it is interrupted.
func watching(t *testing.T, s *stand, kubeconfig string) {
	const namespace = "watching"
	if err := s.namespace(namespace); err != nil {
		t.Fatal(err)
	}
	ex := &v1alpha1.WorkflowExecution{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "watched"},
		Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef:    v1alpha1.WorkflowRef{WorkflowID: "increase-memory", Version: "1.0.0"},
			TargetResource: "payment/deployment/payment-api",
		},
	}
	if err := s.client.Create(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, in := io.Pipe()
	root := newRoot(&cli.Factory{IO: terminal.Streams{Out: in, Err: io.Discard}, Now: time.Now})
	root.SetArgs([]string{"get", "-w", "-n", namespace, "--kubeconfig", kubeconfig})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()

	lines := bufio.NewScanner(out)
	expectLine(t, lines, "NAME")
	expectLine(t, lines, "watched   increase-memory")
	for _, phase := range []v1alpha1.Phase{v1alpha1.PhaseRunning, v1alpha1.PhaseCompleted} {
		ex.Status.Phase = phase
		if err := s.client.Status().Update(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		expectLine(t, lines, string(phase))
	}
	interrupt()
	err := <-ended
	if cli.CodeOf(ctx, err) != cli.Interrupted || !strings.Contains(err.Error(), "Watching changes nothing") {
		t.Errorf("an interrupted watch ended with code %d: %v", cli.CodeOf(ctx, err), err)
	}
}

func expectLine(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	if !lines.Scan() || !strings.Contains(lines.Text(), want) {
		t.Fatalf("read %q (%v), want a line with %q", lines.Text(), lines.Err(), want)
	}
}
