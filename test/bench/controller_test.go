package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/controller"
)

// agent is how the API server's audit log knows the controller.
const agent = "kubernaut-controller"

// asController, in the environment, makes the test program run the controller: what
// is measured is a process of its own.
const asController = "KUBERNAUT_BENCH_KUBECONFIG"

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	if kubeconfig := os.Getenv(asController); kubeconfig != "" {
		if err := control(kubeconfig); err != nil {
			fmt.Fprintln(os.Stderr, "controller:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// control runs the controller until it is told to stop.
func control(kubeconfig string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cluster, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	cluster.UserAgent = agent
	cfg, err := controller.ParseConfig([]byte(`{metricsAddress: "0", probeAddress: "0", execution: {cooldown: 0s}}`))
	if err != nil {
		return err
	}
	mgr, err := controller.NewManager(cluster, cfg)
	if err != nil {
		return err
	}
	if err := controller.Setup(ctx, mgr, cfg, controller.Ports{Catalog: storage{}, Audit: storage{}}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// storage is a Data Storage that is always there and knows every workflow.
type storage struct{}

func (storage) WorkflowVersion(_ context.Context, name, version string) (datastorage.Workflow, error) {
	return datastorage.Workflow{
		WorkflowName: name, Version: version, ContainerImage: "registry/" + name, ContainerDigest: fmt.Sprintf("sha256:%064d", 1),
		ExecutionEngine: "tekton", Status: datastorage.WorkflowStatusActive,
	}, nil
}

func (storage) Record(_ context.Context, e datastorage.AuditEvent) (datastorage.Receipt, error) {
	return datastorage.Receipt{EventID: e.EventID}, nil
}

// process is a running controller.
type process struct {
	b   *testing.B
	cmd *exec.Cmd
	log *bytes.Buffer
}

func (s *stand) control() *process {
	s.b.Helper()
	p := &process{b: s.b, cmd: exec.Command(os.Args[0]), log: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), asController+"="+s.kubeconfig)
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.must(p.cmd.Start())
	return p
}

func (p *process) stop() {
	p.b.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.b.Errorf("the controller ended with %v: %s", err, p.log)
	}
}

// resident is the memory of the process, in MiB.
func (p *process) resident() float64 {
	p.b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.b.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(value, "kB")))
			if err != nil {
				p.b.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	p.b.Fatal("the kernel does not tell the memory of the controller")
	return 0
}
