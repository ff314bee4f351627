-- What reading needs. An index costs every write, so each stands here with the query
-- that pays for it; internal/datastorage/postgres/testdata/plans.txt has their plans.

-- +goose Up

-- The feed: what came after a position, in the order of transactions. It grows at its
-- right end only, and the rows of one transaction share an entry.
CREATE INDEX audit_events_feed ON audit_events (epoch, xid);

-- The trail of one execution, by its UID, and whatever else bears an id.
CREATE INDEX audit_events_resource ON audit_events (resource_id, event_timestamp);

-- What happened in a namespace. Values that many events have, scattered over all time,
-- need an index in the order of time.
CREATE INDEX audit_events_namespace ON audit_events (namespace, event_timestamp);

-- What failed, and why; what took long. Few events have these, the others cost nothing.
CREATE INDEX audit_events_error ON audit_events (error_code, event_timestamp) WHERE error_code IS NOT NULL;
CREATE INDEX audit_events_message ON audit_events USING hash (error_message) WHERE error_message IS NOT NULL;
CREATE INDEX audit_events_severity ON audit_events (severity, event_timestamp) WHERE severity IS NOT NULL;
CREATE INDEX audit_events_duration ON audit_events (duration_ms) WHERE duration_ms IS NOT NULL;

-- Members with few values: which of them a block of pages cannot have. That finds what
-- is rare; what is frequent is soon found by reading in order.
CREATE INDEX audit_events_kinds ON audit_events USING brin (
    event_type     text_bloom_ops (n_distinct_per_range = 32),
    event_category text_bloom_ops (n_distinct_per_range = 16),
    event_action   text_bloom_ops (n_distinct_per_range = 32),
    event_outcome  text_bloom_ops (n_distinct_per_range = 16),
    version        text_bloom_ops (n_distinct_per_range = 16),
    cluster_name   text_bloom_ops (n_distinct_per_range = 16),
    resource_type  text_bloom_ops (n_distinct_per_range = 16),
    actor_type     text_bloom_ops (n_distinct_per_range = 16),
    actor_id       text_bloom_ops (n_distinct_per_range = 64),
    received_at    timestamptz_minmax_ops
) WITH (pages_per_range = 64, autosummarize = on);
ALTER TABLE audit_events ALTER COLUMN actor_id SET STATISTICS 1000, ALTER COLUMN namespace SET STATISTICS 1000;

-- Names and ids whose events stand close together in time, hence in the same blocks.
-- received_at stands beside them for the planner: see where.addMember.
CREATE INDEX audit_events_name ON audit_events USING brin (
    resource_name text_bloom_ops (n_distinct_per_range = 256, false_positive_rate = 0.005), received_at timestamptz_minmax_ops
) WITH (pages_per_range = 64, autosummarize = on);
CREATE INDEX audit_events_parent ON audit_events USING brin (
    parent_event_id uuid_bloom_ops (n_distinct_per_range = 256, false_positive_rate = 0.005), received_at timestamptz_minmax_ops
) WITH (pages_per_range = 64, autosummarize = on);
CREATE INDEX audit_events_trace ON audit_events USING brin (
    trace_id text_bloom_ops (n_distinct_per_range = 256, false_positive_rate = 0.005), received_at timestamptz_minmax_ops
) WITH (pages_per_range = 64, autosummarize = on);
CREATE INDEX audit_events_span ON audit_events USING brin (
    span_id text_bloom_ops (n_distinct_per_range = 256, false_positive_rate = 0.005), received_at timestamptz_minmax_ops
) WITH (pages_per_range = 64, autosummarize = on);
