package execution

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/follow"
)

type runOptions struct {
	*cli.Factory
	workflow    string // id or id@version
	target      string
	parameters  []string
	secrets     []string
	configMaps  []string
	name        string
	image       string
	correlation string
	rationale   string
	onBusy      string
	maxWait     time.Duration
	limit       time.Duration
	account     string
	missing     bool // the target need not exist
	wait        bool
	timeout     time.Duration
	output      cli.Format
}

const runExample = `  # raise a memory limit, and watch it happen
  kubernaut run increase-memory --target payment/deployment/payment-api -p MEMORY_LIMIT=256Mi --wait

  # a given version; wait for the target when it is busy
  kubernaut run increase-memory@1.0.0 --target payment/deployment/payment-api -p MEMORY_LIMIT=256Mi --on-busy Wait`

// NewRun returns the command that creates an execution.
func NewRun(f *cli.Factory) *cobra.Command {
	o := &runOptions{Factory: f}
	cmd := &cobra.Command{
		Use:     "run WORKFLOW[@VERSION] --target TARGET [-p KEY=VALUE]...",
		Short:   "Run a workflow on a target",
		Long:    "Run creates a WorkflowExecution and prints its name. With --wait it follows the execution to its end,\nand the exit code tells how it ended. Without a version, the catalog's latest is taken.\n\n" + cli.Codes,
		Example: runExample,
		Args:    cli.ExactArgs("the id of a WORKFLOW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.workflow = args[0]
			return run(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.target, "target", "t", "", "what to work on: namespace/kind/name, or kind/name when cluster-scoped")
	flags.StringArrayVarP(&o.parameters, "param", "p", nil, "a parameter of the workflow, as `KEY=VALUE`; may be given again")
	flags.StringArrayVar(&o.secrets, "secret", nil, "`name` of a Secret of the workflow that the run gets as a workspace; may be given again")
	flags.StringArrayVar(&o.configMaps, "config-map", nil, "`name` of a ConfigMap of the workflow that the run gets as a workspace; may be given again")
	flags.StringVar(&o.name, "name", "", "`name` of the execution; default: the workflow's with a random end")
	flags.StringVar(&o.image, "image", "", "`reference` of the bundle, instead of the catalog's; with @sha256:… nothing else runs")
	flags.StringVar(&o.correlation, "correlation-id", "", "`id` that joins audit events of one case; default: the execution's UID")
	flags.StringVar(&o.rationale, "rationale", "", "why this workflow, for the audit trail")
	flags.StringVar(&o.onBusy, "on-busy", "", "what to do when the target is not free: Skip (default) or Wait")
	flags.DurationVar(&o.maxWait, "max-wait", 0, "how long to wait at most before the run begins (default 15m)")
	flags.DurationVar(&o.limit, "run-timeout", 0, "how long the run may take (default 30m)")
	flags.StringVar(&o.account, "service-account", "", "`name` of the account that runs it; the catalog must allow it")
	flags.BoolVar(&o.missing, "allow-missing-target", false, "do not look whether the target exists")
	flags.BoolVar(&o.wait, "wait", false, "follow it to its end")
	flags.DurationVar(&o.timeout, "timeout", 0, "with --wait: how long to follow at most; the execution goes on (default: no limit)")
	cli.OutputFlag(flags, &o.output, cli.Name, cli.JSON, cli.YAML)
	return cmd
}

func run(ctx context.Context, o *runOptions) error {
	ex, err := o.build()
	if err != nil {
		return err
	}
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	ex.Namespace = c.Namespace
	if err := resolve(ctx, o.Factory, c, ex); err != nil {
		return err
	}
	if err := o.checkTarget(ctx, c); err != nil {
		return err
	}
	if err := c.Client.Create(ctx, ex); err != nil {
		return cli.WhenInterrupted(ctx, refused(ex, err), "Whether the execution was created is not known; look: kubernaut get -n "+ex.Namespace)
	}
	setKind(ex)
	if !o.wait {
		return o.created(ex)
	}
	o.IO.Say("execution %s created in namespace %s", ex.Name, ex.Namespace)
	ended, err := wait(ctx, waiting{Factory: o.Factory, cluster: c, timeout: o.timeout}, ex)
	if err != nil {
		return err
	}
	setKind(ended)
	if err := o.created(ended); err != nil {
		return err
	}
	return codeOf(ended)
}

func (o *runOptions) checkTarget(ctx context.Context, c *connect.Cluster) error {
	if o.missing {
		return nil
	}
	return targetExists(ctx, c, o.target)
}

// build makes the object the flags describe; its namespace and version may be
// missing yet.
func (o *runOptions) build() (*v1alpha1.WorkflowExecution, error) {
	id, version, versioned := strings.Cut(o.workflow, "@")
	if id == "" || (versioned && version == "") {
		return nil, cli.Usagef("workflow %q: expected ID or ID@VERSION, such as increase-memory@1.0.0", o.workflow)
	}
	if err := checkTargetForm(o.target); err != nil {
		return nil, err
	}
	if o.timeout != 0 && !o.wait {
		return nil, cli.Usagef("--timeout bounds --wait, which is not given; for the run itself there is --run-timeout")
	}
	parameters, err := keyValues(o.parameters)
	if err != nil {
		return nil, err
	}
	ex := &v1alpha1.WorkflowExecution{Spec: v1alpha1.WorkflowExecutionSpec{
		WorkflowRef:    v1alpha1.WorkflowRef{WorkflowID: id, Version: version},
		TargetResource: o.target,
		Parameters:     parameters,
		SecretRefs:     o.secrets,
		ConfigMapRefs:  o.configMaps,
		OnBusy:         v1alpha1.OnBusy(o.onBusy),
		Rationale:      o.rationale,
	}}
	ex.Spec.WorkflowRef.ContainerImage, ex.Spec.WorkflowRef.ContainerDigest, _ = strings.Cut(o.image, "@")
	ex.Name = o.name
	if o.name == "" {
		ex.GenerateName = id + "-"
	}
	o.limits(&ex.Spec)
	return ex, nil
}

func (o *runOptions) limits(spec *v1alpha1.WorkflowExecutionSpec) {
	if o.correlation != "" {
		spec.RemediationRequestRef = &v1alpha1.RemediationRequestRef{Name: o.correlation}
	}
	if o.maxWait != 0 {
		spec.MaxWait = &metav1.Duration{Duration: o.maxWait}
	}
	if o.limit == 0 && o.account == "" {
		return
	}
	spec.ExecutionConfig = &v1alpha1.ExecutionConfig{ServiceAccountName: o.account}
	if o.limit != 0 {
		spec.ExecutionConfig.Timeout = &metav1.Duration{Duration: o.limit}
	}
}

// keyValues reads KEY=VALUE pairs. Its errors never repeat a value.
func keyValues(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	values := make(map[string]string, len(pairs))
	for i, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, cli.Usagef("the parameter given as number %d is not KEY=VALUE", i+1)
		}
		if _, twice := values[key]; twice {
			return nil, cli.Usagef("parameter %s is given twice", key)
		}
		values[key] = value
	}
	return values, nil
}

// created prints the result: the name of the execution, or the whole of it.
func (o *runOptions) created(ex *v1alpha1.WorkflowExecution) error {
	switch o.output {
	case cli.JSON, cli.YAML:
		return o.output.Encode(o.IO.Out, follow.Masked(ex))
	case cli.Name:
		_, err := fmt.Fprintf(o.IO.Out, "workflowexecution.kubernaut.ai/%s\n", ex.Name)
		return err
	}
	return summary(o.IO.Out, ex)
}

// summary is one line on an execution.
func summary(w io.Writer, ex *v1alpha1.WorkflowExecution) error {
	state := "created"
	if ex.Status.Phase != "" {
		state = string(ex.Status.Phase)
	}
	_, err := fmt.Fprintf(w, "workflowexecution.kubernaut.ai/%s %s\n", ex.Name, strings.ToLower(state))
	return err
}

// refused explains why the API server did not take ex. The values of its
// parameters are not repeated.
func refused(ex *v1alpha1.WorkflowExecution, err error) error {
	switch {
	case isInvalid(err):
		return fmt.Errorf("the cluster refuses this execution: %s", causes(err))
	case client.IgnoreAlreadyExists(err) == nil:
		return fmt.Errorf("there is an execution %s in namespace %s already; choose another --name", ex.Name, ex.Namespace)
	}
	return connect.Explain(fmt.Errorf("creating an execution in namespace %s: %w", ex.Namespace, err))
}
