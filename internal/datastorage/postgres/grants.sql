-- The rights of the service's role, set anew by every migration: what stands here
-- is all it may do.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM kubernaut_service;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM kubernaut_service;
REVOKE CREATE ON SCHEMA public FROM PUBLIC, kubernaut_service;
GRANT USAGE ON SCHEMA public TO kubernaut_service;

GRANT SELECT ON goose_db_version, audit_epoch TO kubernaut_service;
GRANT SELECT, INSERT ON audit_events, audit_event_id TO kubernaut_service;
GRANT EXECUTE ON FUNCTION audit_make_month(timestamptz) TO kubernaut_service;

GRANT SELECT, INSERT ON workflows TO kubernaut_service;
GRANT UPDATE (status, status_reason, updated_at, updated_by) ON workflows TO kubernaut_service;
