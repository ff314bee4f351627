// Package pause has the commands that turn the switch of the whole controller.
package pause

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
)

// New returns the command that pauses the controller.
func New(f *cli.Factory) *cobra.Command {
	return turn(f, true, &cobra.Command{
		Use:   "pause --reason WHY",
		Short: "Start nothing new on any target, until resumed",
		Long: "Pause keeps every execution from taking its target until `kubernaut resume`. What runs goes on to\n" +
			"its end; what is created meanwhile waits. Who paused and why stands in what waits, and in\n" +
			"kubectl get pauses -n " + v1alpha1.SystemNamespace + ".",
	})
}

// NewResume returns the command that ends a pause.
func NewResume(f *cli.Factory) *cobra.Command {
	return turn(f, false, &cobra.Command{
		Use:   "resume --reason WHY",
		Short: "Go on after a pause",
		Long:  "Resume ends a pause: what waits goes on, the oldest first.",
	})
}

func turn(f *cli.Factory, on bool, cmd *cobra.Command) *cobra.Command {
	var reason string
	var output cli.Format
	cmd.Args = cli.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if reason == "" {
			return cli.Usagef("why? whoever waits wants to know: --reason WHY")
		}
		p, err := set(cmd.Context(), f, v1alpha1.PauseSpec{Paused: on, Reason: reason})
		if err != nil {
			return err
		}
		return tell(f, p, output)
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who wait (required)")
	cli.OutputFlag(cmd.Flags(), &output, cli.JSON, cli.YAML, cli.Name)
	return cmd
}

// set turns the switch, and makes it where nobody has used it yet.
func set(ctx context.Context, f *cli.Factory, spec v1alpha1.PauseSpec) (*v1alpha1.Pause, error) {
	c, err := f.Connect(ctx)
	if err != nil {
		return nil, err
	}
	p := &v1alpha1.Pause{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.PauseName}}
	err = c.Client.Get(ctx, client.ObjectKeyFromObject(p), p)
	switch {
	case apierrors.IsNotFound(err):
		p.Spec = spec
		err = c.Client.Create(ctx, p)
	case err == nil:
		p.Spec = spec
		err = c.Client.Update(ctx, p)
	}
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return nil, fmt.Errorf("somebody turned the switch at the same time; look at it: kubectl get pauses -n %s", v1alpha1.SystemNamespace)
	case err != nil:
		return nil, connect.Explain(fmt.Errorf("turning the switch of the controller: %w", err))
	}
	p.APIVersion, p.Kind = v1alpha1.GroupVersion.String(), "Pause"
	return p, nil
}

func tell(f *cli.Factory, p *v1alpha1.Pause, output cli.Format) error {
	switch output {
	case cli.JSON, cli.YAML:
		return output.Encode(f.IO.Out, p)
	case cli.Name:
		_, err := fmt.Fprintln(f.IO.Out, "pause.kubernaut.ai/"+p.Name)
		return err
	}
	word := "resumed"
	if p.Spec.Paused {
		word = "paused"
	}
	by := ""
	if p.Spec.SetBy != "" {
		by = " by " + p.Spec.SetBy
	}
	_, err := fmt.Fprintf(f.IO.Out, "pause.kubernaut.ai/%s: %s%s: %s\n", p.Name, word, by, p.Spec.Reason)
	return err
}
