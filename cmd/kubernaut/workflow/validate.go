package workflow

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/workflow"
)

type validateOptions struct {
	*cli.Factory
	schema bool
	output cli.Format
}

func newValidate(f *cli.Factory) *cobra.Command {
	o := &validateOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "validate FOLDER...",
		Short: "Check the folders of workflows; needs no cluster",
		Long: `Validate checks workflow.yaml by its published schema and the catalog's rules, pipeline.yaml by Tekton's
rules and those of the namespace of the runs, and that both agree on the parameters. It tells everything that
is wrong at once, and ends with exit code 1 then. A shipped workflow may be named without a folder.`,
		Example: `  kubernaut workflow validate ./my-workflow

  # for an editor that checks while you type
  kubernaut workflow validate --schema > workflow.schema.json`,
		RunE: func(_ *cobra.Command, args []string) error { return validate(o, args) },
	}
	cmd.Flags().BoolVar(&o.schema, "schema", false, "print the JSON Schema of workflow.yaml instead")
	cli.OutputFlag(cmd.Flags(), &o.output, cli.JSON, cli.YAML)
	return cmd
}

// verdict is what is said about one folder.
type verdict struct {
	Folder   string            `json:"folder"`
	Valid    bool              `json:"valid"`
	Name     string            `json:"name,omitempty"`
	Version  string            `json:"version,omitempty"`
	Problems workflow.Problems `json:"problems,omitempty"`
}

func validate(o *validateOptions, folders []string) error {
	switch {
	case o.schema && len(folders) > 0:
		return cli.Usagef("--schema takes no folder")
	case o.schema:
		_, err := o.IO.Out.Write(datastorage.WorkflowSchema)
		return err
	case len(folders) == 0:
		return cli.Usagef("kubernaut workflow validate needs the FOLDER of a workflow; see: kubernaut workflow validate --help")
	}
	code := cli.Done
	verdicts := make([]verdict, len(folders))
	for i, folder := range folders {
		if verdicts[i] = judge(folder); !verdicts[i].Valid {
			code = cli.Failed
		}
	}
	if err := o.print(verdicts); err != nil || code == cli.Done {
		return err
	}
	return cli.End(code)
}

func judge(folder string) verdict {
	v := verdict{Folder: folder}
	source, err := open(folder)
	var w *workflow.Workflow
	if err == nil {
		w, err = workflow.Read(source)
	}
	if err == nil {
		v.Valid, v.Name, v.Version = true, w.Definition.Name, w.Definition.Version
		return v
	}
	problems, ok := errors.AsType[workflow.Problems](err)
	if !ok {
		problems = workflow.Problems{{File: folder, Message: err.Error()}}
	}
	v.Problems = problems
	return v
}

func (o *validateOptions) print(verdicts []verdict) error {
	if o.output != cli.Table {
		return o.output.Encode(o.IO.Out, map[string]any{"workflows": verdicts})
	}
	for _, v := range verdicts {
		if v.Valid {
			if _, err := fmt.Fprintf(o.IO.Out, "%s@%s is well formed\n", v.Name, v.Version); err != nil {
				return err
			}
			continue
		}
		o.IO.Say("%s %s", o.IO.ErrPaint.Bad("kubernaut:"), "workflow "+v.Folder+" is not well formed:")
		for _, p := range v.Problems {
			if p.File != v.Folder {
				p.File = v.Folder + "/" + p.File // for editors that jump to it
			}
			o.IO.Say("%s", p)
		}
	}
	return nil
}
