package audit

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/terminal"
)

type summaryOptions struct {
	*source
	filters
	by     []string
	bucket string
	limit  int
	output cli.Format
}

func newSummary(s *source) *cobra.Command {
	o := &summaryOptions{source: s}
	cmd := &cobra.Command{
		Use:   "summary",
		Short: "Count audit events, and tell how long they took",
		Long:  "Summary counts the events of the last 7 days, or of --since and --until, by up to four keys.",
		Example: `  # how the workflows did, day by day
  kubernaut audit summary --by workflow,outcome --bucket day --since 30d

  # which targets fail, and why
  kubernaut audit summary --outcome failure --by target,error_code`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return summarize(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	o.add(flags)
	o.addTimes(flags)
	flags.StringSliceVar(&o.by, "by", []string{"type", "outcome"}, "`keys` of the groups: type, category, action, outcome, workflow, target, namespace, actor, severity, error_code, resource_type, cluster_name")
	flags.StringVar(&o.bucket, "bucket", "", "also by `span` of time: minute, hour, day, week, month")
	flags.IntVar(&o.limit, "limit", 50, "how many groups at most, up to 1000")
	cli.OutputFlag(flags, &o.output, cli.JSON, cli.YAML)
	return cmd
}

// keysByShortName are keys whose names people need not write in full.
var keysByShortName = map[string]datastorage.SummaryKey{
	"type": datastorage.SummaryKeyEventType, "category": datastorage.SummaryKeyEventCategory,
	"action": datastorage.SummaryKeyEventAction, "outcome": datastorage.SummaryKeyEventOutcome,
	"actor": datastorage.SummaryKeyActorID,
}

func (o *summaryOptions) keys() (keys []datastorage.SummaryKey, err error) {
	for _, name := range o.by {
		key, ok := keysByShortName[name]
		if !ok {
			key = datastorage.SummaryKey(name)
		}
		if !key.Valid() || slices.Contains(keys, key) {
			return nil, cli.Usagef("--by %s: expected different keys; see: kubernaut audit summary --help", name)
		}
		keys = append(keys, key)
	}
	if len(keys) > 4 {
		return nil, cli.Usagef("--by takes up to four keys")
	}
	return keys, nil
}

func summarize(ctx context.Context, o *summaryOptions) error {
	keys, err := o.keys()
	if err != nil {
		return err
	}
	bucket := datastorage.SummarizeAuditEventsParamsBucket(o.bucket)
	if o.bucket != "" && !bucket.Valid() {
		return cli.Usagef("--bucket %s: expected minute, hour, day, week or month", o.bucket)
	}
	if o.limit < 1 || o.limit > 1000 {
		return cli.Usagef("--limit is between 1 and 1000")
	}
	storage, cluster, err := o.open(ctx)
	if err != nil {
		return err
	}
	q, err := query[datastorage.SummarizeAuditEventsParams](ctx, &o.filters, o.source, cluster)
	if err != nil {
		return err
	}
	q.GroupBy, q.Bucket, q.Limit = keys, bucket, o.limit
	summary, err := storage.Summary(ctx, q)
	if err != nil {
		return o.explain(ctx, "summarizing the audit trail", err)
	}
	return o.show(summary, keys)
}

func (o *summaryOptions) show(s datastorage.Summary, keys []datastorage.SummaryKey) error {
	if o.output != cli.Table {
		return o.output.Encode(o.IO.Out, s)
	}
	if len(s.Data) == 0 {
		o.IO.Say("No audit events match since %s.", s.Since.Local().Format(time.DateTime))
		return nil
	}
	table := &terminal.Table{}
	if o.bucket != "" {
		table.Header = append(table.Header, "FROM")
	}
	for _, key := range keys {
		table.Header = append(table.Header, strings.ToUpper(strings.ReplaceAll(string(key), "_", " ")))
	}
	table.Header = append(table.Header, "EVENTS", "MEDIAN", "P95", "LONGEST")
	for _, g := range s.Data {
		table.Add(terminal.Plain(o.row(g, keys)...)...)
	}
	if err := table.Write(o.IO.Out); err != nil {
		return err
	}
	if s.HasMore {
		o.IO.Say("There are more groups; see --limit.")
	}
	return nil
}

func (o *summaryOptions) row(g datastorage.SummaryGroup, keys []datastorage.SummaryKey) (row []string) {
	if o.bucket != "" {
		row = append(row, g.Bucket.UTC().Format("2006-01-02 15:04Z"))
	}
	for _, key := range keys {
		row = append(row, g.Group[string(key)])
	}
	row = append(row, strconv.FormatInt(g.Count, 10))
	if g.Durations == nil {
		return append(row, "", "", "")
	}
	for _, ms := range []int64{g.Durations.P50MS, g.Durations.P95MS, g.Durations.MaxMS} {
		row = append(row, (time.Duration(ms) * time.Millisecond).String())
	}
	return row
}
