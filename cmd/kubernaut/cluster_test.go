package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/connect"
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
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/cluster",
		UpdateScripts: update,
		Setup: func(e *testscript.Env) error {
			if err := apart(e); err != nil {
				return err
			}
			e.Setenv("KUBECONFIG", kubeconfig)
			return stand.namespace(filepath.Base(e.WorkDir), e)
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
func (s *stand) namespace(name string, e *testscript.Env) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, n := range []string{name, v1alpha1.SystemNamespace} {
		ns.ObjectMeta = metav1.ObjectMeta{Name: n}
		if err := s.client.Create(context.Background(), ns); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	e.Setenv("NS", name)
	return nil
}

// create FILE creates the object in a file, in the script's namespace.
func (s *stand) create(ts *testscript.TestScript, _ bool, args []string) {
	object := s.read(ts, args[0])
	object.SetNamespace(ts.Getenv("NS"))
	status := object.DeepCopyObject().(client.Object)
	ts.Check(s.client.Create(context.Background(), object))
	status.SetResourceVersion(object.GetResourceVersion())
	if _, ok := status.(*v1alpha1.WorkflowExecution); ok {
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
