package audit

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/completeness"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/terminal"
	"kubernaut.ai/kubernaut/internal/trail"
)

type verifyOptions struct {
	*source
	since  string
	uids   []string
	output cli.Format
}

func newVerify(s *source) *cobra.Command {
	o := &verifyOptions{source: s}
	cmd := &cobra.Command{
		Use:   "verify [EXECUTION]...",
		Short: "Check that the trails of executions are whole and unaltered",
		Long: `Verify reads the trail of each execution as anybody can, and works out anew what must be in it: from
what its events say and, while the object is still there, from its status. It also takes the digest
of each event anew, and compares it with the one that was recorded.

Without names it checks every execution that has an event since --since, in the namespace of -n or in
all. It ends with code 1 when a trail is broken.`,
		Example: `  kubernaut audit verify payment-api-memory-x7k2p -n payment
  kubernaut audit verify --since 7d`,
		RunE: func(cmd *cobra.Command, names []string) error { return verify(cmd.Context(), o, names) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.since, "since", "24h", "without names: executions with an event from this `time` on")
	flags.StringSliceVar(&o.uids, "uid", nil, "the execution with this `UID`, also when its object is gone")
	cli.OutputFlag(flags, &o.output, cli.JSON, cli.YAML)
	return cmd
}

func verify(ctx context.Context, o *verifyOptions, names []string) error {
	storage, cluster, err := o.open(ctx)
	if err != nil {
		return err
	}
	v := &verifier{verifyOptions: o, storage: storage, cluster: cluster}
	uids, err := v.executions(ctx, names)
	if err != nil {
		return o.explain(ctx, "looking for executions", err)
	}
	verdicts := []datastorage.Completeness{}
	for _, uid := range uids {
		verdict, err := v.judge(ctx, uid)
		if err != nil {
			return o.explain(ctx, "verifying the audit trail", err)
		}
		verdicts = append(verdicts, verdict)
	}
	return o.conclude(verdicts)
}

// verifier finds and judges trails.
type verifier struct {
	*verifyOptions
	storage *datastorage.Client
	cluster *connect.Cluster // nil: only the trail is known
	objects map[string]*v1alpha1.WorkflowExecution
}

// executions are the UIDs to look at, each once.
func (v *verifier) executions(ctx context.Context, names []string) (uids []string, err error) {
	v.objects = map[string]*v1alpha1.WorkflowExecution{}
	uids = slices.Clone(v.uids)
	for _, name := range names {
		found, err := v.named(ctx, name)
		if err != nil {
			return nil, err
		}
		uids = append(uids, found...)
	}
	if len(names)+len(v.uids) == 0 {
		if uids, err = v.inTrail(ctx, datastorage.QueryAuditEventsParams{Since: v.since, Namespace: v.Cluster.Namespace}); err != nil {
			return nil, err
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids), nil
}

// named finds executions by name: the object, and all whose events bear the name.
func (v *verifier) named(ctx context.Context, name string) ([]string, error) {
	namespace := v.Cluster.Namespace
	var found []string
	if v.cluster != nil {
		namespace = v.cluster.Namespace
		ex := &v1alpha1.WorkflowExecution{}
		err := v.cluster.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, ex)
		if client.IgnoreNotFound(err) != nil && !apierrors.IsForbidden(err) {
			return nil, connect.Explain(err)
		}
		if err == nil {
			v.objects[string(ex.UID)] = ex
			found = append(found, string(ex.UID))
		}
	}
	earlier, err := v.inTrail(ctx, datastorage.QueryAuditEventsParams{ResourceName: name, Namespace: namespace})
	if found = append(found, earlier...); err == nil && len(found) == 0 {
		err = fmt.Errorf("neither the cluster nor the audit trail knows an execution %s in namespace %q", name, namespace)
	}
	return found, err
}

// inTrail are the executions that have events that match.
func (v *verifier) inTrail(ctx context.Context, q datastorage.QueryAuditEventsParams) (uids []string, err error) {
	q.EventCategory, q.ResourceType, q.Limit = completeness.Category, "WorkflowExecution", 1000
	for e, err := range v.storage.AllEvents(ctx, q) {
		if err != nil {
			return nil, err
		}
		uids = append(uids, e.ResourceID)
	}
	return uids, nil
}

func (v *verifier) judge(ctx context.Context, uid string) (datastorage.Completeness, error) {
	var known []datastorage.Transition
	if ex, ok := v.objects[uid]; ok {
		known = trail.Known(ex)
	}
	return trail.Verify(ctx, v.storage, uid, known...)
}

func (o *verifyOptions) conclude(verdicts []datastorage.Completeness) error {
	if err := o.show(verdicts); err != nil {
		return err
	}
	broken := 0
	for _, v := range verdicts {
		if v.State == datastorage.CompletenessStateBroken {
			broken++
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d of %d trails are broken", broken, len(verdicts))
	}
	return nil
}

func (o *verifyOptions) show(verdicts []datastorage.Completeness) error {
	if o.output != cli.Table {
		return o.output.Encode(o.IO.Out, map[string]any{"executions": verdicts})
	}
	if len(verdicts) == 0 {
		o.IO.Say("No execution has an event since %s.", o.since)
		return nil
	}
	table := &terminal.Table{Header: []string{"EXECUTION", "UID", "TRAIL", "EVENTS", "WHAT IS WRONG"}}
	paint := map[datastorage.CompletenessState]func(string) string{
		datastorage.CompletenessStateComplete: o.IO.OutPaint.Good,
		datastorage.CompletenessStateOpen:     o.IO.OutPaint.Warn,
		datastorage.CompletenessStateBroken:   o.IO.OutPaint.Bad,
	}
	for _, v := range verdicts {
		cells := terminal.Plain(strings.Trim(v.Namespace+"/"+v.Name, "/"), v.ExecutionID, "", strconv.Itoa(len(v.Present)), wrong(v))
		cells[2] = terminal.Cell{Text: string(v.State), Style: paint[v.State]}
		table.Add(cells...)
	}
	return table.Write(o.IO.Out)
}

// wrong says in one line what is wrong with a trail.
func wrong(v datastorage.Completeness) string {
	var all []string
	for _, gap := range v.Gaps {
		all = append(all, fmt.Sprintf("no %s: %s", gap.Action, gap.Because))
	}
	return strings.Join(append(all, v.Problems...), "; ")
}
