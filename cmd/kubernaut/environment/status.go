package environment

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/terminal"
)

func newStatus(f *cli.Factory, name *string) *cobra.Command {
	var output cli.Format
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell what of the environment runs",
		Long:  "Status tells what runs, without changing anything. It ends with 0 when everything is ready.",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return status(cmd.Context(), f, *name, output)
		},
	}
	cli.OutputFlag(cmd.Flags(), &output, cli.JSON, cli.YAML)
	return cmd
}

func status(ctx context.Context, f *cli.Factory, name string, output cli.Format) error {
	seen, err := environment.Status(ctx, environment.Options{Name: name})
	if err != nil {
		return connect.Explain(err)
	}
	if output != cli.Table {
		err = output.Encode(f.IO.Out, seen)
	} else {
		err = write(f, seen)
	}
	return errors.Join(err, verdict(seen))
}

// verdict is an error unless everything is ready.
func verdict(s environment.View) error {
	switch {
	case s.Ready():
		return nil
	case s.Cluster.State == cluster.Absent:
		return fmt.Errorf("environment %q does not run; start it with: kubernaut env up%s", s.Name, ownName(s.Name))
	case s.Cluster.State == cluster.Starting && s.Cluster.Logs == "": // it has none on this machine
		return fmt.Errorf("the cluster of environment %q is not ready: %s", s.Name, s.Cluster.Problem)
	case s.Cluster.State == cluster.Starting:
		return fmt.Errorf("the cluster of environment %q is not ready; its logs are in %s", s.Name, s.Cluster.Logs)
	}
	return fmt.Errorf("not everything in environment %q is ready; finish what is missing with: kubernaut env up%s", s.Name, ownName(s.Name))
}

func write(f *cli.Factory, s environment.View) error {
	if s.Cluster.State == cluster.Absent {
		return nil // the verdict says it
	}
	table := terminal.Table{Header: []string{"WHAT", "STATE", "RESTARTS", "SINCE"}}
	add := func(what, state string, good bool, rest ...string) {
		cell := terminal.Cell{Text: state, Style: f.IO.OutPaint.Warn}
		if good {
			cell.Style = f.IO.OutPaint.Good
		}
		table.Add(append([]terminal.Cell{{Text: what}, cell}, terminal.Plain(rest...)...)...)
	}
	add("cluster", string(s.Cluster.State), s.Cluster.State == cluster.Ready, "", ago(f.Now(), s.Cluster.Since))
	for _, c := range s.Cluster.Components {
		state := "Ready"
		if !c.Ready {
			state = "Starting"
		}
		if c.Problem != "" {
			state = c.Problem
		}
		add("  "+c.Name, state, c.Ready, fmt.Sprint(c.Restarts), ago(f.Now(), c.Since))
	}
	for _, w := range s.Workloads {
		add(w.Namespace+"/"+w.Name, fmt.Sprintf("%d of %d ready", w.Ready, w.Wanted), w.Ready >= w.Wanted, "", "")
	}
	if err := table.Write(f.IO.Out); err != nil {
		return err
	}
	var told []string
	if s.Cluster.Server != "" {
		told = append(told, "API server "+s.Cluster.Server)
	}
	if s.Cluster.Logs != "" {
		told = append(told, "logs of the cluster in "+s.Cluster.Logs)
	}
	if len(told) > 0 {
		f.IO.Say("\n%s", strings.Join(told, "; "))
	}
	return nil
}

func ago(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return duration.HumanDuration(now.Sub(then)) + " ago"
}
