-- A cluster that is restored to a moment keeps its identifier and counts transactions
-- on from there: what tells it from what it was is its timeline.

-- +goose Up
ALTER TABLE audit_epoch ADD COLUMN timeline integer; -- NULL: not known

-- Who is on the first timeline has never left it. Else the migration begins an epoch.
-- +goose StatementBegin
CREATE FUNCTION audit_timeline() RETURNS integer
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION audit_timeline() FROM PUBLIC;
UPDATE audit_epoch SET timeline = 1 WHERE audit_timeline() = 1 AND epoch = (SELECT max(epoch) FROM audit_epoch);
