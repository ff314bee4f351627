-- Legal holds, and retention. What retention removes, it removes through the
-- functions below: the role of the service has no right to, see grants.sql.

-- +goose Up

-- A hold keeps every event of a case, also those that come later.
CREATE TABLE audit_holds (
    hold_id        uuid          PRIMARY KEY,
    correlation_id varchar(255)  NOT NULL CHECK (correlation_id <> ''),
    reason         varchar(1024) NOT NULL CHECK (reason <> ''),
    placed_at      timestamptz   NOT NULL DEFAULT now(),
    placed_by      varchar(255)
);
CREATE INDEX audit_holds_correlation ON audit_holds (correlation_id);

-- Rows of holds never change either: that one is released is a row of its own.
CREATE TABLE audit_hold_releases (
    hold_id     uuid          PRIMARY KEY REFERENCES audit_holds,
    reason      varchar(1024) NOT NULL CHECK (reason <> ''),
    released_at timestamptz   NOT NULL DEFAULT now(),
    released_by varchar(255)
);

CREATE VIEW audit_held AS
    SELECT correlation_id FROM audit_holds h
    WHERE NOT EXISTS (SELECT FROM audit_hold_releases r WHERE r.hold_id = h.hold_id);

-- What no policy may go below. Only the owner of the schema changes it. Events may
-- be a week old when they are recorded, so it is more than that.
CREATE TABLE audit_retention_floor (
    single    boolean PRIMARY KEY DEFAULT true CHECK (single), -- there is one row
    keep_days integer NOT NULL CHECK (keep_days >= 8)
);
INSERT INTO audit_retention_floor (keep_days) VALUES (8);

CREATE TABLE audit_retention_runs (
    run_id   uuid         PRIMARY KEY,
    began_at timestamptz  NOT NULL DEFAULT now(),
    begun_by varchar(255)
);

-- What was removed, written by the function that removes it and by nobody else.
CREATE TABLE audit_retention_log (
    run_id   uuid        NOT NULL REFERENCES audit_retention_runs,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    month    date        NOT NULL,
    events   bigint      NOT NULL,
    whole    boolean     NOT NULL, -- the partition was dropped
    policies jsonb       NOT NULL
);
CREATE INDEX audit_retention_log_run ON audit_retention_log (run_id);

-- The condition, over a row e of audit_events, that no policy keeps it any longer.
-- The first policy that matches decides; what none matches is kept.
-- +goose StatementBegin
CREATE FUNCTION audit_expired(policies jsonb) RETURNS text
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    policy    jsonb;
    days      integer;
    least     integer := (SELECT keep_days FROM public.audit_retention_floor);
    matches   text;
    decisions text := '';
    member    text[];
BEGIN
    FOR policy IN SELECT value FROM jsonb_array_elements(policies) WITH ORDINALITY ORDER BY ordinality LOOP
        days := policy ->> 'keep_days';
        IF days IS NULL OR days < least THEN
            RAISE EXCEPTION 'a policy of retention keeps events for % days: the least is %', days, least
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        matches := 'true';
        FOREACH member SLICE 1 IN ARRAY ARRAY[['category', 'event_category'], ['outcome', 'event_outcome'], ['namespace', 'namespace']] LOOP
            IF coalesce(policy ->> member[1], '') <> '' THEN
                matches := matches || format(' AND e.%I = %L', member[2], policy ->> member[1]);
            END IF;
        END LOOP;
        decisions := decisions || format(' WHEN %s THEN e.event_timestamp < now() - make_interval(days => %s)', matches, days);
    END LOOP;
    RETURN CASE decisions WHEN '' THEN 'false' ELSE 'CASE' || decisions || ' ELSE false END' END;
END
$$;
-- +goose StatementEnd

-- The months that have a partition, and its name.
CREATE VIEW audit_months AS
    SELECT c.relname::text AS partition, 
        make_timestamptz(substr(c.relname, 14, 4)::int, substr(c.relname, 18, 2)::int, 1, 0, 0, 0, 'UTC') AS first
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.audit_events'::regclass AND c.relname ~ '^audit_events_[0-9]{6}$';

-- What policies say of each month that has anything to remove, or is empty and past.
-- +goose StatementBegin
CREATE FUNCTION audit_retention_plan(policies jsonb)
    RETURNS TABLE (month date, events bigint, expired bigint, held bigint, whole boolean)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
AS $$
DECLARE
    p record;
    gone text := audit_expired(policies);
BEGIN
    FOR p IN SELECT m.partition, m.first FROM audit_months m WHERE m.first < now() ORDER BY m.first LOOP
        month := p.first;
        EXECUTE format('
            SELECT count(*), count(*) FILTER (WHERE gone AND NOT held), count(*) FILTER (WHERE gone AND held)
            FROM (SELECT %s AS gone, e.correlation_id IN (SELECT correlation_id FROM audit_held) AS held FROM public.%I e) AS row',
            gone, p.partition) INTO events, expired, held;
        whole := gone <> 'false' AND expired = events AND audit_month_is_past(p.first);
        RETURN NEXT;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- Whether no event can come into a month any more but by who may backdate.
CREATE FUNCTION audit_month_is_past(first timestamptz) RETURNS boolean
    LANGUAGE sql
    STABLE
    SET timezone = 'UTC'
    RETURN first + interval '1 month' <= now() - make_interval(days => (SELECT keep_days FROM public.audit_retention_floor));

-- Removes what goes of one month: all at once by dropping its partition, or at most
-- 10,000 events. Meanwhile no hold is placed and nothing comes into the month, so that
-- what is removed is what was looked at. Readers are waited for half a second.
-- +goose StatementBegin
CREATE FUNCTION audit_retention_apply(run uuid, policies jsonb, at timestamptz, OUT removed bigint, OUT whole boolean)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET lock_timeout = '500ms'
    SET timezone = 'UTC'
AS $$
DECLARE
    first timestamptz := date_trunc('month', at);
    part  text := (SELECT m.partition FROM audit_months m WHERE m.first = date_trunc('month', at));
    gone  text := audit_expired(policies) || ' AND e.correlation_id NOT IN (SELECT correlation_id FROM audit_held)';
BEGIN
    removed := 0;
    whole := false;
    IF part IS NULL OR jsonb_array_length(policies) = 0 THEN
        RETURN;
    END IF;
    LOCK TABLE audit_holds, audit_hold_releases IN SHARE MODE;
    EXECUTE format('LOCK TABLE public.%I IN SHARE ROW EXCLUSIVE MODE', part);
    IF audit_month_is_past(first) THEN
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM public.%I e WHERE NOT (%s))', part, gone) INTO whole;
    END IF;
    IF whole THEN
        EXECUTE format('SELECT count(*) FROM public.%I', part) INTO removed;
        EXECUTE format('DROP TABLE public.%I', part);
    ELSE
        EXECUTE format('DELETE FROM public.%1$I WHERE ctid = ANY (ARRAY(SELECT e.ctid FROM public.%1$I e WHERE %2$s LIMIT 10000))', part, gone);
        GET DIAGNOSTICS removed = ROW_COUNT;
    END IF;
    IF whole OR removed > 0 THEN
        INSERT INTO audit_retention_log (run_id, month, events, whole, policies) VALUES (run, first, removed, whole, policies);
    END IF;
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION audit_expired(jsonb), audit_month_is_past(timestamptz), audit_retention_plan(jsonb),
    audit_retention_apply(uuid, jsonb, timestamptz) FROM PUBLIC;
