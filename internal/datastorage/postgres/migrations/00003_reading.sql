-- What reading needs. An index costs every write, so each stands beside the query
-- that pays for it; postgres/testdata/plans has their plans.

-- +goose Up

-- The feed: what came after a position, in the order of transactions. Its pages are
-- only ever filled at the right end, and rows of one transaction share an entry.
CREATE INDEX audit_events_feed ON audit_events (epoch, xid);

-- One value of any other member. These indexes say of each block of pages which values
-- it cannot have; they are small, and cost a write next to nothing. A value that is
-- frequent needs none: reading in order soon has a page full.
CREATE INDEX audit_events_kinds ON audit_events USING brin (
    event_type text_bloom_ops, event_category text_bloom_ops, event_action text_bloom_ops, event_outcome text_bloom_ops,
    version text_bloom_ops, severity text_bloom_ops, error_code text_bloom_ops, namespace text_bloom_ops,
    cluster_name text_bloom_ops, resource_type text_bloom_ops, actor_type text_bloom_ops, actor_id text_bloom_ops,
    duration_ms int8_minmax_ops, received_at timestamptz_minmax_ops
) WITH (pages_per_range = 64, autosummarize = on);
CREATE INDEX audit_events_resource_id ON audit_events USING brin (
    resource_id text_bloom_ops (n_distinct_per_range = 512, false_positive_rate = 0.002)
) WITH (pages_per_range = 64, autosummarize = on);
CREATE INDEX audit_events_resource_name ON audit_events USING brin (
    resource_name text_bloom_ops (n_distinct_per_range = 512, false_positive_rate = 0.002)
) WITH (pages_per_range = 64, autosummarize = on);
CREATE INDEX audit_events_parent ON audit_events USING brin (
    parent_event_id uuid_bloom_ops (n_distinct_per_range = 512, false_positive_rate = 0.002)
) WITH (pages_per_range = 64, autosummarize = on);
CREATE INDEX audit_events_trace ON audit_events USING brin (
    trace_id text_bloom_ops (n_distinct_per_range = 512, false_positive_rate = 0.002)
) WITH (pages_per_range = 64, autosummarize = on);
CREATE INDEX audit_events_span ON audit_events USING brin (
    span_id text_bloom_ops (n_distinct_per_range = 512, false_positive_rate = 0.002)
) WITH (pages_per_range = 64, autosummarize = on);
