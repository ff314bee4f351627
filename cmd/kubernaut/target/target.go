// Package target has the commands on targets: who holds them, what is blocked,
// and the clearing of blocks.
package target

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/terminal"
)

// NewTargets returns the command that lists the records of targets.
func NewTargets(f *cli.Factory) *cobra.Command {
	var output cli.Format
	cmd := &cobra.Command{
		Use:   "targets",
		Short: "Tell who holds which target, and what is blocked until when",
		Long:  "Targets lists every target that Kubernaut remembers: who holds it, since when, which workflow is\nblocked on it or cools down, until when and why. The records live in namespace " + v1alpha1.SystemNamespace + ".",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return targets(cmd.Context(), f, output)
		},
	}
	cli.OutputFlag(cmd.Flags(), &output, cli.JSON, cli.YAML, cli.Name)
	return cmd
}

func targets(ctx context.Context, f *cli.Factory, output cli.Format) error {
	c, err := f.Connect(ctx)
	if err != nil {
		return err
	}
	list, err := records(ctx, c)
	if err != nil {
		return err
	}
	switch {
	case output == cli.JSON, output == cli.YAML:
		return output.Encode(f.IO.Out, list)
	case len(list.Items) == 0:
		f.IO.Say("No targets: nothing is held, blocked or cooling down.")
		return nil
	}
	table := terminal.Table{Header: []string{"TARGET", "HOLDER", "SINCE", "WORKFLOW", "STATE"}}
	for i := range list.Items {
		if output == cli.Name {
			_, _ = fmt.Fprintf(f.IO.Out, "remediationtarget.kubernaut.ai/%s\n", list.Items[i].Name)
			continue
		}
		addRows(&table, &list.Items[i], f)
	}
	if output == cli.Name {
		return nil
	}
	return table.Write(f.IO.Out)
}

func records(ctx context.Context, c *connect.Cluster) (*v1alpha1.RemediationTargetList, error) {
	var list v1alpha1.RemediationTargetList
	if err := c.Client.List(ctx, &list, client.InNamespace(v1alpha1.SystemNamespace)); err != nil {
		return nil, connect.Explain(fmt.Errorf("listing the records of targets: %w", err))
	}
	for i := range list.Items {
		list.Items[i].APIVersion, list.Items[i].Kind = v1alpha1.GroupVersion.String(), "RemediationTarget"
		list.Items[i].ManagedFields = nil // kubectl leaves them out too
	}
	list.APIVersion, list.Kind = v1alpha1.GroupVersion.String(), "RemediationTargetList"
	slices.SortFunc(list.Items, func(a, b v1alpha1.RemediationTarget) int { return strings.Compare(a.Spec.Target, b.Spec.Target) })
	return &list, nil
}

// addRows adds one row for each workflow the record knows, or one for the holder.
func addRows(table *terminal.Table, rt *v1alpha1.RemediationTarget, f *cli.Factory) {
	holder, since := "", ""
	if h := rt.Status.Holder; h != nil {
		holder, since = h.Namespace+"/"+h.Name, ago(f.Now(), h.Since.Time)
	}
	if len(rt.Status.Workflows) == 0 {
		table.Add(terminal.Plain(rt.Spec.Target, holder, since, "", "")...)
	}
	for i := range rt.Status.Workflows {
		w := &rt.Status.Workflows[i]
		state, blocked := stateOf(w, f.Now())
		cell := terminal.Cell{Text: state}
		if blocked {
			cell.Style = f.IO.OutPaint.Warn
		}
		table.Add(append(terminal.Plain(rt.Spec.Target, holder, since, w.WorkflowID), cell)...)
	}
}

// stateOf says in words what the past of w means for its next run.
func stateOf(w *v1alpha1.WorkflowHistory, now time.Time) (state string, blocked bool) {
	switch {
	case w.Block != nil:
		return fmt.Sprintf("blocked since %s by %s: %s (%s)", w.Block.Since.Local().Format(time.DateTime), w.Block.Name, w.Block.Reason, w.Block.Failure), true
	case w.NextAllowedTime != nil && w.NextAllowedTime.After(now):
		return fmt.Sprintf("backs off for %s after %d failures before it could begin", left(now, w.NextAllowedTime.Time), w.PreExecutionFailures), true
	case w.CooldownUntil != nil && w.CooldownUntil.After(now):
		return "cools down for " + left(now, w.CooldownUntil.Time), true
	case w.LastOutcome != nil:
		return fmt.Sprintf("free; last: %s %s", w.LastOutcome.Phase, ago(now, w.LastOutcome.At.Time)), false
	}
	return "free", false
}

func ago(now, then time.Time) string { return duration.HumanDuration(now.Sub(then)) + " ago" }

func left(now, until time.Time) string { return duration.HumanDuration(until.Sub(now)) }
