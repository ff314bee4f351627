-- Retention beside writers. Until here every month was closed to events while it was
-- looked at, also the one that events come into.

-- +goose Up

-- Removes what goes of one month: all at once by dropping its partition, or at most
-- 10,000 events. Meanwhile no hold is placed. A month is closed to events only when
-- nothing stays of it and it is past, so that what is dropped is what was looked at;
-- of any other month, what comes meanwhile is not removed. Readers are waited for half
-- a second.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION audit_retention_apply(run uuid, policies jsonb, at timestamptz, OUT removed bigint, OUT whole boolean)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET lock_timeout = '500ms'
    SET timezone = 'UTC'
AS $$
DECLARE
    first    timestamptz := date_trunc('month', at);
    part     text := (SELECT m.partition FROM audit_months m WHERE m.first = date_trunc('month', at));
    gone     text := audit_expired(policies) || ' AND e.correlation_id NOT IN (SELECT correlation_id FROM audit_held)';
    all_gone text;
BEGIN
    removed := 0;
    whole := false;
    IF part IS NULL OR jsonb_array_length(policies) = 0 THEN
        RETURN;
    END IF;
    all_gone := format('SELECT NOT EXISTS (SELECT FROM public.%I e WHERE NOT (%s))', part, gone);
    LOCK TABLE audit_holds, audit_hold_releases IN SHARE MODE;
    IF audit_month_is_past(first) THEN
        EXECUTE all_gone INTO whole;
    END IF;
    IF whole THEN -- unless something came until now
        EXECUTE format('LOCK TABLE public.%I IN SHARE ROW EXCLUSIVE MODE', part);
        EXECUTE all_gone INTO whole;
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
