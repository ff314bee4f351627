package environment

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/environment"
)

const diagnoseHelp = `Diagnose looks at everything of the environment, or of a namespace of any cluster, and names the
root causes of what is not well: a code, a sentence, what proves it, and what to type next. What
only follows from another cause is not listed. docs/diagnosis.md explains the codes.

It changes nothing. It ends with 0 when no cause is found, and with 6 when there is one.`

// diagnoseOptions are the flags of diagnose.
type diagnoseOptions struct {
	kubeconfig, context string
	namespaces          []string
	all                 bool
	output              cli.Format
	bundle              string
}

// elsewhere tells whether another place than the environment is meant.
func (o diagnoseOptions) elsewhere() bool {
	return o.kubeconfig != "" || o.context != ""
}

func newDiagnose(f *cli.Factory, name *string) *cobra.Command {
	var o diagnoseOptions
	cmd := &cobra.Command{
		Use:   "diagnose",
		Short: "Name the root causes of what is not well",
		Long:  diagnoseHelp,
		Example: "  kubernaut env diagnose\n  kubernaut env diagnose -n payment\n" +
			"  kubernaut env diagnose --context staging -n payment --bundle payment.tar.gz",
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), f, *name)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`path` of the kubeconfig of another cluster")
	flags.StringVar(&o.context, "context", "", "`name` of the kubeconfig's context of another cluster")
	flags.StringSliceVarP(&o.namespaces, "namespace", "n", nil, "`namespaces` to look at (default: those of the environment)")
	flags.BoolVarP(&o.all, "all-namespaces", "A", false, "look at all namespaces")
	flags.StringVar(&o.bundle, "bundle", "", "write all that was seen, without secrets, to this `file` (tar.gz)")
	cli.OutputFlag(flags, &o.output, cli.JSON, cli.YAML)
	return cmd
}

func (o diagnoseOptions) run(ctx context.Context, f *cli.Factory, name string) error {
	seen, err := o.look(ctx, f, name)
	if err != nil {
		return connect.Explain(err)
	}
	if o.bundle != "" {
		if err := writeBundle(o.bundle, seen); err != nil {
			return err
		}
		f.IO.Say("All that was seen is in %s, without secrets.", o.bundle)
	}
	switch {
	case o.output != cli.Table:
		err = o.output.Encode(f.IO.Out, seen.Diagnosis)
	case len(seen.Findings) == 0 && len(seen.Waiting) == 0:
		f.IO.Say("Nothing is wrong.")
	default:
		_, err = fmt.Fprint(f.IO.Out, seen.Text())
	}
	if err == nil && len(seen.Findings) > 0 {
		return cli.End(cli.CausesFound)
	}
	return err
}

// look diagnoses what the flags choose.
func (o diagnoseOptions) look(ctx context.Context, f *cli.Factory, name string) (environment.Seen, error) {
	if !o.elsewhere() && len(o.namespaces) == 0 && !o.all {
		return environment.Diagnose(ctx, environment.Options{Name: name})
	}
	options := connect.Options{Kubeconfig: o.kubeconfig, Context: o.context, Local: func(ctx context.Context) ([]byte, string, error) {
		raw, err := environment.Kubeconfig(ctx, name)
		if errors.Is(err, environment.ErrNotRunning) {
			return nil, "", nil // then it is another cluster, and that is said
		}
		return raw, name, err
	}}
	c, err := connect.Open(ctx, options)
	if err != nil {
		return environment.Seen{}, err
	}
	f.IO.Say("%s", f.IO.ErrPaint.Faint("cluster: "+c.Source))
	namespaces := o.namespaces
	if len(namespaces) == 0 && !o.all {
		namespaces = []string{c.Namespace}
	}
	return environment.DiagnoseNamespaces(ctx, c.Config, namespaces...)
}

func writeBundle(path string, seen environment.Seen) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	if err := seen.Bundle(file); err != nil {
		file.Close()
		return fmt.Errorf("writing the bundle %s: %w", path, err)
	}
	return file.Close()
}
