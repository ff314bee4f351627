package audit

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
)

// The forms of an export.
const (
	ndjson cli.Format = "ndjson"
	csv    cli.Format = "csv"
)

type exportOptions struct {
	*source
	filters
	file   string
	output cli.Format
}

func newExport(s *source) *cobra.Command {
	o := &exportOptions{source: s, output: ndjson}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all audit events that match, as NDJSON or CSV",
		Long: `Export writes the events that are there when it begins, the oldest first, however many they are.
It ends with code 0 only when all of them were written.

In CSV a cell that a spreadsheet would run as a formula has an apostrophe before it.`,
		Example: `  kubernaut audit export --since 2026-01-01 --until 2026-02-01 -o csv -f january.csv`,
		Args:    cli.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return export(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	o.add(flags)
	o.addTimes(flags)
	flags.StringVarP(&o.file, "file", "f", "", "`path` of the file to write; default: standard output")
	cli.OutputFlag(flags, &o.output, ndjson, csv)
	return cmd
}

func export(ctx context.Context, o *exportOptions) error {
	storage, cluster, err := o.open(ctx)
	if err != nil {
		return err
	}
	q, err := query[datastorage.ExportAuditEventsParams](ctx, &o.filters, o.source, cluster)
	if err != nil {
		return err
	}
	q.Format = datastorage.ExportAuditEventsParamsFormat(o.output)
	var events int
	err = o.into(func(w io.Writer) (err error) {
		events, err = storage.Export(ctx, q, w)
		return err
	})
	if err != nil {
		return o.explain(ctx, "exporting the audit trail", err)
	}
	o.IO.Say("%d events exported.", events)
	return nil
}

// into writes to the file, which is there only when it is whole, or to the output.
func (o *exportOptions) into(write func(io.Writer) error) error {
	if o.file == "" {
		return write(o.IO.Out)
	}
	aside := o.file + ".part"
	f, err := os.OpenFile(aside, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		os.Remove(aside)
		return err
	}
	if err := os.Rename(aside, o.file); err != nil {
		return fmt.Errorf("the export is whole, but stays in %s: %w", aside, err)
	}
	return nil
}
