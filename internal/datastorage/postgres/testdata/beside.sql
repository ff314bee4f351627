-- What stands beside the events: holds, of which most are released, and a catalog of
-- workflows with ten versions each.
INSERT INTO audit_holds (hold_id, correlation_id, reason)
SELECT md5('hold ' || n)::uuid, 'rr-' || md5('case ' || n), 'court' FROM generate_series(1, 5000) AS n;
INSERT INTO audit_hold_releases (hold_id, reason) SELECT hold_id, 'closed' FROM audit_holds WHERE reason = 'court' ORDER BY hold_id LIMIT 4900;

INSERT INTO workflows (
    workflow_id, workflow_name, version, version_key, prerelease, digest, name, description, content, content_hash, signal_type, severity,
    component, environment, priority, custom_labels, parameters, execution_engine, container_image, secrets, config_maps, status
) SELECT
    md5(n || '/' || v)::uuid, 'heal-' || n, '1.' || v || '.0', '011011' || v || '010~', false, sha256('x'), 'Heal', 'Heals', 'x',
    encode(sha256('x'), 'hex'), 'signal-' || n % 100, 'critical', CASE WHEN n % 3 = 0 THEN '*' ELSE 'component-' || n % 7 END,
    'production', 'P' || n % 4, '{}', '[]', 'tekton', 'registry/heal:1', '{}', '{}', CASE WHEN v = 9 THEN 'disabled' ELSE 'active' END
FROM generate_series(1, 1000) AS n, generate_series(0, 9) AS v;

VACUUM ANALYZE audit_holds;
VACUUM ANALYZE audit_hold_releases;
VACUUM ANALYZE workflows
