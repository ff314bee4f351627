package execution

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/follow"
)

type logsOptions struct {
	*cli.Factory
	follow     bool
	task, step string
}

// NewLogs returns the command that prints what the steps of a run printed.
func NewLogs(f *cli.Factory) *cobra.Command {
	o := &logsOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what the steps of an execution print",
		Long:  "Logs prints the lines of all steps, each after the names of its task and step. With -f it follows\nan execution that has not ended, and exits like run --wait.\n\n" + cli.Codes,
		Args:  cli.ExactArgs("the NAME of an execution"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return logs(cmd.Context(), o, args[0])
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "follow the execution to its end")
	flags.StringVar(&o.task, "task", "", "only steps of this `task`")
	flags.StringVar(&o.step, "step", "", "only this `step`")
	return cmd
}

func logs(ctx context.Context, o *logsOptions, name string) error {
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	ex, err := read(ctx, c, name)
	if err != nil {
		return err
	}
	if o.follow && !follow.Ended(ex) {
		return o.live(ctx, c, ex)
	}
	if ex.Status.PipelineRunRef == nil {
		return fmt.Errorf("execution %s has no run and so no lines; see: kubernaut explain %s -n %s", name, name, ex.Namespace)
	}
	return o.past(ctx, c, ex)
}

// live prints lines to the result and everything else to the talk.
func (o *logsOptions) live(ctx context.Context, c *connect.Cluster, ex *v1alpha1.WorkflowExecution) error {
	talk := follow.Printer(o.IO.Err, o.IO.ErrPaint, o.Now())
	ended, err := follow.Execution(ctx, c, client.ObjectKeyFromObject(ex), func(e follow.Event) {
		switch {
		case e.Kind != follow.Log:
			talk(e)
		case o.chosen(e.Task, e.Step):
			_, _ = fmt.Fprintf(o.IO.Out, "%s %s\n", o.IO.OutPaint.Faint("["+e.Task+"/"+e.Step+"]"), e.Text)
		}
	})
	if err != nil {
		return cli.WhenInterrupted(ctx, connect.Explain(err), fmt.Sprintf("The execution goes on in the cluster; see: kubernaut get %s -n %s", ex.Name, ex.Namespace))
	}
	return codeOf(ended)
}

func (o *logsOptions) chosen(task, step string) bool {
	return (o.task == "" || o.task == task) && (o.step == "" || o.step == step)
}

// past prints what the pods of the run still know; where they are gone, the
// last lines that the execution kept.
func (o *logsOptions) past(ctx context.Context, c *connect.Cluster, ex *v1alpha1.WorkflowExecution) error {
	tasks, err := follow.StepsOf(ctx, c.Client, ex)
	if err != nil {
		return connect.Explain(err)
	}
	printed := false
	for _, steps := range tasks {
		some, err := o.taskLines(ctx, c, ex, steps)
		if err != nil {
			return err
		}
		printed = printed || some
	}
	if printed {
		return nil
	}
	if d := ex.Status.FailureDetails; d != nil && len(d.Evidence) > 0 {
		o.IO.Say("The pods of the run are gone; these last lines were kept:")
		for _, line := range d.Evidence {
			_, _ = fmt.Fprintln(o.IO.Out, line)
		}
		return nil
	}
	o.IO.Say("No lines: the steps printed nothing, or their pods are gone.")
	return nil
}

func (o *logsOptions) taskLines(ctx context.Context, c *connect.Cluster, ex *v1alpha1.WorkflowExecution, steps []follow.Step) (printed bool, err error) {
	for _, s := range steps {
		if s.Pod == "" || !o.chosen(s.Task, s.Name) {
			continue
		}
		stream, err := c.Core.CoreV1().Pods(v1alpha1.WorkflowNamespace).
			GetLogs(s.Pod, &corev1.PodLogOptions{Container: s.Container}).Stream(ctx)
		if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) {
			continue // the pod is gone, or the step never began
		}
		if err != nil {
			return printed, connect.Explain(fmt.Errorf("reading the lines of step %s of task %s: %w", s.Name, s.Task, err))
		}
		some, err := o.copyLines(stream, ex, s.Task+"/"+s.Name)
		_ = stream.Close() // only read
		if err != nil {
			return printed, err
		}
		printed = printed || some
	}
	return printed, nil
}

func (o *logsOptions) copyLines(from io.Reader, ex *v1alpha1.WorkflowExecution, where string) (bool, error) {
	prefix := o.IO.OutPaint.Faint("[" + where + "]")
	some := false
	err := follow.LinesOf(from, ex, func(line string) {
		some = true
		_, _ = fmt.Fprintf(o.IO.Out, "%s %s\n", prefix, line)
	})
	if err != nil {
		return some, fmt.Errorf("reading the lines of %s: %w", where, err)
	}
	return some, nil
}
