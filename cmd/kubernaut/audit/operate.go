package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/terminal"
)

// group returns a command that only has others below it.
func group(use, short, long string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(below...)
	return cmd
}

// with does something in Data Storage.
func with[T any](ctx context.Context, s *source, doing string, do func(*datastorage.Client) (T, error)) (T, error) {
	storage, _, err := s.open(ctx)
	if err != nil {
		var none T
		return none, err
	}
	result, err := do(storage)
	if err == nil {
		return result, nil
	}
	if s.server.URL == "" {
		err = connect.ExplainDataStorage(err)
	}
	return result, cli.WhenInterrupted(ctx, fmt.Errorf("%s: %w", doing, err), "Data Storage may have done it already: look before you repeat it.")
}

// show prints a result as asked for: encoded, or as a table.
func show(s *source, output cli.Format, result any, table func() *terminal.Table) error {
	if output == cli.JSON || output == cli.YAML {
		return output.Encode(s.IO.Out, result)
	}
	return table().Write(s.IO.Out)
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

// wanted refuses a flag that must be given and is not.
func wanted(flag, value, why string) error {
	if value == "" {
		return cli.Usagef("%s: say --%s", why, flag)
	}
	return nil
}
