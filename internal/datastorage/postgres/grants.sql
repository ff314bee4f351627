-- The rights of the service's role, set anew by every migration: what stands here
-- is all it may do.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM kubernaut_service;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM kubernaut_service;
REVOKE CREATE ON SCHEMA public FROM PUBLIC, kubernaut_service;
GRANT USAGE ON SCHEMA public TO kubernaut_service;

GRANT SELECT ON goose_db_version, audit_epoch TO kubernaut_service;
GRANT SELECT, INSERT ON audit_events, audit_event_id TO kubernaut_service;
GRANT EXECUTE ON FUNCTION audit_make_month(timestamptz) TO kubernaut_service;

-- Holds and retention: rows are added, and removed by functions that look at the holds.
GRANT SELECT ON audit_holds, audit_hold_releases, audit_retention_runs, audit_retention_log TO kubernaut_service;
GRANT INSERT (hold_id, correlation_id, reason, placed_by) ON audit_holds TO kubernaut_service;
GRANT INSERT (hold_id, reason, released_by) ON audit_hold_releases TO kubernaut_service;
GRANT INSERT (run_id, begun_by) ON audit_retention_runs TO kubernaut_service;
GRANT EXECUTE ON FUNCTION audit_retention_plan(jsonb), audit_retention_apply(uuid, jsonb, timestamptz) TO kubernaut_service;

GRANT SELECT, INSERT ON workflows TO kubernaut_service;
GRANT UPDATE (status, status_reason, updated_at, updated_by) ON workflows TO kubernaut_service;
