package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
)

// filters are the flags that say which events are meant.
type filters struct {
	members      map[string]*string // flags that are members of an event, by the member
	execution    string
	where        []string
	data         []string
	since, until string
	longer       time.Duration
	shorter      time.Duration
}

// shorthands are the flags for the members that are asked for most. The others are
// asked for by --where.
var shorthands = []struct{ flag, member, usage string }{
	{"correlation-id", "correlation_id", "only events of the case with this `id`"},
	{"type", "event_type", "only events of this `type`"},
	{"outcome", "event_outcome", "only events with this `outcome`: success, failure or pending"},
	{"actor", "actor_id", "only events that this `user` caused"},
	{"error-code", "error_code", "only events with this error `code`"},
}

// add adds the flags. Times are flags of their own: the feed has none.
func (f *filters) add(flags *pflag.FlagSet) {
	f.members = map[string]*string{}
	for _, s := range shorthands {
		f.members[s.member] = flags.String(s.flag, "", s.usage)
	}
	flags.StringVar(&f.execution, "execution", "", "only events of the execution with this `name` in the namespace")
	flags.StringArrayVar(&f.where, "where", nil, "only events with this `MEMBER=VALUE`, such as severity=critical; may be given again")
	flags.StringArrayVar(&f.data, "data", nil, "only events with this in their data: `PATH=VALUE`, PATH>=NUMBER or PATH; may be given again")
	flags.DurationVar(&f.longer, "longer-than", 0, "only events that took at least this `duration`")
	flags.DurationVar(&f.shorter, "shorter-than", 0, "only events that took at most this `duration`")
}

func (f *filters) addTimes(flags *pflag.FlagSet) {
	flags.StringVar(&f.since, "since", "", "only events from this `time` on: RFC 3339, a date, or how long ago (24h, 7d)")
	flags.StringVar(&f.until, "until", "", "only events before this `time`")
}

// query turns the flags into parameters of an operation.
func query[Params any](ctx context.Context, f *filters, s *source, cluster *connect.Cluster) (Params, error) {
	var params Params
	asked, err := f.asked(ctx, s, cluster)
	if err != nil {
		return params, err
	}
	raw, err := json.Marshal(asked)
	if err != nil {
		return params, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&params); err != nil {
		return params, cli.Usagef("--where: %w; members are named as in the output of -o json", err)
	}
	return params, nil
}

// asked is what the flags ask for, by the names of parameters.
func (f *filters) asked(ctx context.Context, s *source, cluster *connect.Cluster) (map[string]any, error) {
	asked := map[string]any{}
	set := func(name, value string) {
		if value != "" {
			asked[name] = value
		}
	}
	for member, value := range f.members {
		set(member, *value)
	}
	set("since", f.since)
	set("until", f.until)
	set("namespace", s.Cluster.Namespace)
	for _, pair := range f.where {
		member, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" || member == "" {
			return nil, cli.Usagef("--where %q: expected MEMBER=VALUE", pair)
		}
		asked[member] = value
	}
	if len(f.data) > 0 {
		asked["event_data"] = f.data
	}
	if f.longer > 0 {
		asked["min_duration_ms"] = f.longer.Milliseconds()
	}
	if f.shorter > 0 {
		asked["max_duration_ms"] = f.shorter.Milliseconds()
	}
	if f.execution == "" {
		return asked, nil
	}
	return asked, f.ofExecution(ctx, cluster, asked)
}

// ofExecution asks for the events of one execution. Where its object is still there,
// its correlation id is the shortest way to them.
func (f *filters) ofExecution(ctx context.Context, cluster *connect.Cluster, asked map[string]any) error {
	asked["resource_name"] = f.execution
	if cluster == nil {
		return nil
	}
	asked["namespace"] = cluster.Namespace
	var ex v1alpha1.WorkflowExecution
	err := cluster.Client.Get(ctx, client.ObjectKey{Namespace: cluster.Namespace, Name: f.execution}, &ex)
	switch {
	case err == nil && asked["correlation_id"] == nil:
		asked["correlation_id"] = ex.CorrelationID()
	case client.IgnoreNotFound(err) != nil && !apierrors.IsForbidden(err):
		return connect.Explain(fmt.Errorf("reading execution %s/%s: %w", cluster.Namespace, f.execution, err))
	}
	return nil
}
