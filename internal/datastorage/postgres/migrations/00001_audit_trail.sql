-- The audit trail. Rows are written once and never changed: the role of the
-- service gets no right to, see grants.sql.

-- +goose Up

-- One id names one event for ever. This table is not partitioned, because a
-- unique index of a partitioned table cannot be on event_id alone.
CREATE TABLE audit_event_id (
    event_id        uuid        PRIMARY KEY,
    digest          bytea       NOT NULL CHECK (octet_length(digest) = 32), -- SHA-256 of audit_events.content
    event_timestamp timestamptz NOT NULL                                    -- leads to the partition
);

-- The clusters this database has lived in. Transaction ids start again in
-- another cluster (restored from a dump), so a position is (epoch, xid).
CREATE TABLE audit_epoch (
    epoch             smallint    PRIMARY KEY,
    system_identifier bigint      NOT NULL,
    began_at          timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE audit_events (
    event_timestamp timestamptz   NOT NULL,
    event_id        uuid          NOT NULL,
    epoch           smallint      NOT NULL,
    xid             xid8          NOT NULL DEFAULT pg_current_xact_id(), -- who is visible is known from it
    received_at     timestamptz   NOT NULL,
    duration_ms     bigint        CHECK (duration_ms >= 0),
    parent_event_id uuid,
    version         varchar(20)   NOT NULL CHECK (version <> ''),
    event_type      varchar(100)  NOT NULL CHECK (event_type <> ''),
    event_category  varchar(50)   NOT NULL CHECK (event_category <> ''),
    event_action    varchar(50)   NOT NULL CHECK (event_action <> ''),
    event_outcome   varchar(10)   NOT NULL CHECK (event_outcome IN ('success', 'failure', 'pending')),
    correlation_id  varchar(255)  NOT NULL CHECK (correlation_id <> ''),
    actor_type      varchar(50),
    actor_id        varchar(255),
    resource_type   varchar(100),
    resource_id     varchar(255),
    resource_name   varchar(255),
    namespace       varchar(253),
    cluster_name    varchar(253),
    severity        varchar(20),
    trace_id        varchar(64),
    span_id         varchar(32),
    error_code      varchar(100),
    error_message   varchar(8192),
    event_data      jsonb         NOT NULL CHECK (jsonb_typeof(event_data) = 'object'), -- for queries
    content         bytea         NOT NULL,                                             -- the bytes the digest is of
    PRIMARY KEY (event_timestamp, event_id) -- the order of reading
) PARTITION BY RANGE (event_timestamp);

-- The trail of one case.
CREATE INDEX audit_events_correlation ON audit_events (correlation_id, event_timestamp, event_id);

-- Makes the partition of the month that a time is in, unless it is there, and
-- says whether it did. The table is made aside and then attached, which waits
-- for no reader; whoever waits too long gives up and is called again.
-- +goose StatementBegin
CREATE FUNCTION audit_make_month(at timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET lock_timeout = '2s'
    SET timezone = 'UTC'
AS $$
DECLARE
    first     timestamptz := date_trunc('month', at);
    next      timestamptz := first + interval '1 month';
    partition text := 'audit_events_' || to_char(first, 'YYYYMM');
BEGIN
    IF at IS NULL OR at < '2000-01-01' OR at >= '10000-01-01' THEN
        RAISE EXCEPTION 'audit events of % are not kept: the years 2000 to 9999 are', at
            USING ERRCODE = 'datetime_field_overflow';
    END IF;
    PERFORM pg_advisory_xact_lock('public.audit_events'::regclass::bigint);
    IF EXISTS (SELECT FROM pg_inherits
               WHERE inhparent = 'public.audit_events'::regclass AND inhrelid = to_regclass('public.' || partition)) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.audit_events INCLUDING ALL)', partition);
    EXECUTE format('ALTER TABLE public.audit_events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                   partition, first, next);
    RETURN true;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION audit_make_month(timestamptz) FROM PUBLIC;
