package execution

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/follow"
	"kubernaut.ai/kubernaut/internal/terminal"
)

type getOptions struct {
	*cli.Factory
	name   string
	all    bool
	watch  bool
	phase  string
	target string
	output cli.Format
}

// NewGet returns the command that lists executions.
func NewGet(f *cli.Factory) *cobra.Command {
	o := &getOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "get [NAME]",
		Short: "List executions",
		Long:  "Get lists the executions of a namespace, or one of them, the way kubectl does.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.name = args[0]
			}
			return get(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all-namespaces", "A", false, "list the executions of all namespaces")
	flags.BoolVarP(&o.watch, "watch", "w", false, "go on and list each change")
	flags.StringVar(&o.phase, "phase", "", "only executions in this `phase`: Pending, Running, Completed, Failed, Skipped or Cancelled")
	flags.StringVarP(&o.target, "target", "t", "", "only executions for this `target`")
	cli.OutputFlag(flags, &o.output, cli.JSON, cli.YAML, cli.Wide, cli.Name)
	return cmd
}

func get(ctx context.Context, o *getOptions) error {
	if o.name != "" && o.all {
		return cli.Usagef("a name and --all-namespaces do not go together: names are unique in a namespace only")
	}
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	if o.name != "" && !o.watch {
		ex, err := read(ctx, c, o.name)
		if err != nil {
			return err
		}
		return o.one(ex)
	}
	var list v1alpha1.WorkflowExecutionList
	if err := c.Client.List(ctx, &list, o.selection(c)...); err != nil {
		return connect.Explain(fmt.Errorf("listing executions: %w", err))
	}
	list.Items = o.wanted(list.Items)
	if len(list.Items) == 0 && o.name != "" {
		_, err := read(ctx, c, o.name)
		return err
	}
	if err := o.many(c, &list); err != nil || !o.watch {
		return err
	}
	return o.follow(ctx, c, list.ResourceVersion)
}

func (o *getOptions) selection(c *connect.Cluster) []client.ListOption {
	var selection []client.ListOption
	if !o.all {
		selection = append(selection, client.InNamespace(c.Namespace))
	}
	fields := client.MatchingFields{}
	if o.name != "" {
		fields["metadata.name"] = o.name
	}
	if o.phase != "" {
		fields["status.phase"] = o.phase
	}
	if len(fields) > 0 {
		selection = append(selection, fields)
	}
	return selection
}

// wanted keeps the executions for the target that is asked for.
func (o *getOptions) wanted(items []v1alpha1.WorkflowExecution) []v1alpha1.WorkflowExecution {
	kept := items[:0]
	for _, ex := range items {
		setKind(&ex)
		key := ""
		if ex.Status.Target != nil {
			key = ex.Status.Target.Key
		}
		if o.target == "" || o.target == ex.Spec.TargetResource || o.target == key {
			kept = append(kept, ex)
		}
	}
	return kept
}

func (o *getOptions) one(ex *v1alpha1.WorkflowExecution) error {
	switch o.output {
	case cli.JSON, cli.YAML:
		return o.output.Encode(o.IO.Out, follow.Masked(ex))
	}
	return o.rows(true, *ex)
}

func (o *getOptions) many(c *connect.Cluster, list *v1alpha1.WorkflowExecutionList) error {
	switch {
	case o.output == cli.JSON, o.output == cli.YAML:
		for i := range list.Items {
			list.Items[i] = *follow.Masked(&list.Items[i])
		}
		list.APIVersion, list.Kind = v1alpha1.GroupVersion.String(), "WorkflowExecutionList"
		return o.output.Encode(o.IO.Out, list)
	case len(list.Items) == 0 && o.all:
		o.IO.Say("No executions found.")
		return nil
	case len(list.Items) == 0:
		o.IO.Say("No executions found in namespace %s.", c.Namespace)
		return nil
	}
	return o.rows(true, list.Items...)
}

// follow prints each change after resourceVersion, until ctx ends.
func (o *getOptions) follow(ctx context.Context, c *connect.Cluster, resourceVersion string) error {
	options := append(o.selection(c), &client.ListOptions{Raw: rawFrom(resourceVersion)})
	w, err := c.Client.Watch(ctx, &v1alpha1.WorkflowExecutionList{}, options...)
	if err != nil {
		return connect.Explain(fmt.Errorf("watching executions: %w", err))
	}
	defer w.Stop()
	err = o.printChanges(ctx, w.ResultChan())
	if ctx.Err() != nil { // what a watch that is torn down says of itself tells nobody anything
		return cli.WhenInterrupted(ctx, ctx.Err(), "Watching changes nothing; nothing is lost.")
	}
	return err
}

func (o *getOptions) printChanges(ctx context.Context, changes <-chan watch.Event) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, open := <-changes:
			if !open {
				return errors.New("the cluster ended the watch; start it again")
			}
			if err := o.changed(e); err != nil {
				return err
			}
		}
	}
}

func (o *getOptions) changed(e watch.Event) error {
	ex, ok := e.Object.(*v1alpha1.WorkflowExecution)
	if !ok {
		return fmt.Errorf("the cluster ended the watch: %w; start it again", apierrors.FromObject(e.Object))
	}
	kept := o.wanted([]v1alpha1.WorkflowExecution{*ex})
	switch {
	case len(kept) == 0:
		return nil
	case o.output == cli.JSON, o.output == cli.YAML:
		return o.output.Encode(o.IO.Out, follow.Masked(&kept[0]))
	}
	return o.rows(false, kept...)
}

// rows prints executions as a table, or as names.
func (o *getOptions) rows(header bool, items ...v1alpha1.WorkflowExecution) error {
	if o.output == cli.Name {
		for _, ex := range items {
			if _, err := fmt.Fprintf(o.IO.Out, "workflowexecution.kubernaut.ai/%s\n", ex.Name); err != nil {
				return err
			}
		}
		return nil
	}
	table := terminal.Table{}
	if header {
		table.Header = o.header()
	}
	for i := range items {
		table.Add(o.row(&items[i])...)
	}
	return table.Write(o.IO.Out)
}

func (o *getOptions) header() []string {
	header := []string{"NAME", "WORKFLOW", "TARGET", "PHASE", "REASON", "DURATION", "AGE"}
	if o.all {
		header = append([]string{"NAMESPACE"}, header...)
	}
	if o.output == cli.Wide {
		header = append(header, "VERSION", "RUN", "CREATED BY")
	}
	return header
}

func (o *getOptions) row(ex *v1alpha1.WorkflowExecution) []terminal.Cell {
	s := ex.Status
	took := ""
	if s.Duration != nil {
		took = rounded(s.Duration.Duration)
	}
	cells := append(terminal.Plain(ex.Name, ex.Spec.WorkflowRef.WorkflowID, ex.Spec.TargetResource),
		terminal.Cell{Text: string(s.Phase), Style: follow.StyleOf(s.Phase, o.IO.OutPaint)})
	cells = append(cells, terminal.Plain(reason(ex), took, age(o.Now(), ex.CreationTimestamp.Time))...)
	if o.all {
		cells = append(terminal.Plain(ex.Namespace), cells...)
	}
	if o.output == cli.Wide {
		run := ""
		if s.PipelineRunRef != nil {
			run = s.PipelineRunRef.Name
		}
		cells = append(cells, terminal.Plain(ex.Spec.WorkflowRef.Version, run, ex.Spec.CreatedBy)...)
	}
	return cells
}

// reason is the one word that says most: why it ended, or what it waits for.
func reason(ex *v1alpha1.WorkflowExecution) string {
	s := ex.Status
	switch {
	case s.SkipDetails != nil:
		return string(s.SkipDetails.Reason)
	case s.FailureDetails != nil:
		return string(s.FailureDetails.Reason)
	case follow.Ended(ex):
		return ""
	case s.Waiting != nil:
		return s.Waiting.Reason
	case s.PipelineRunStatus != nil:
		return s.PipelineRunStatus.Reason
	}
	return ""
}

func age(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return duration.HumanDuration(now.Sub(then))
}
