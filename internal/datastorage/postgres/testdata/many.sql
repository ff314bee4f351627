-- Many events, as three months of an installation leave them: cases of four events,
-- in the order of time, in transactions of their own epoch's past. %[1]d is how
-- many there are in all; those from number %[2]d to before %[3]d are made.
-- Frequent values, rare ones, and ones of a single case are there of each kind.
SELECT audit_make_month('2026-01-01'::timestamptz + make_interval(months => m)) FROM generate_series(0, 2) AS m;

CREATE TEMPORARY TABLE many AS
SELECT
    n, n / 4 AS c, (ARRAY['created', 'locked', 'started', 'completed'])[n %% 4 + 1] AS action,
    md5('event ' || n)::uuid AS event_id,
    '2026-01-01'::timestamptz + make_interval(secs => n * (86400.0 * 88 / %[1]d)) AS at,
    n %% 4 = 3 AND n / 4 %% 20 = 0 AS failed
FROM generate_series(%[2]d, %[3]d - 1) AS n;

CREATE TEMPORARY TABLE rows AS
SELECT m.*,
    'rr-' || md5('case ' || c) AS correlation_id, md5('uid ' || c)::uuid::text AS resource_id,
    'heal-' || substr(md5('name ' || c), 1, 10) AS resource_name, 'team-' || c::bigint * 7919 %% 300 AS namespace,
    md5('trace ' || c) AS trace_id, substr(md5('span ' || n), 1, 16) AS span_id,
    CASE WHEN n %% 4 > 0 THEN md5('event ' || n - 1)::uuid END AS parent_event_id,
    CASE WHEN n %% 4 = 3 THEN 1000 + c::bigint * 7907 %% 60000 + CASE WHEN c %% 9973 = 7 THEN 3600000 ELSE 0 END END AS duration_ms,
    CASE WHEN failed THEN (ARRAY['OOMKilled', 'TaskFailed', 'DeadlineExceeded'])[c / 20 %% 3 + 1] END AS error_code,
    CASE WHEN failed THEN 'the step of case ' || c || ' ended with exit code 137' END AS error_message,
    CASE WHEN c %% 5000 = 3 THEN 'critical' WHEN failed THEN 'high' END AS severity,
    jsonb_build_object(
        'workflow', jsonb_build_object('workflow_id', 'workflow-' || c %% 17, 'version', '1.0.' || c %% 3),
        'target', 'team-' || c::bigint * 7919 %% 300 || '/deployment.apps/app-' || c %% 2000,
        'run', jsonb_build_object('name', 'run-' || c, 'namespace', 'kubernaut-workflows', 'uid', md5('run ' || c)),
        'parameters', jsonb_build_object('MEMORY_LIMIT', '256Mi', 'REASON', repeat('because ', 8))
    ) AS event_data
FROM many m;

CREATE TEMPORARY TABLE filled AS
SELECT r.*, convert_to(
    '{"cluster_name":"local","correlation_id":' || to_json(correlation_id) || ',"duration_ms":' || coalesce(duration_ms::text, 'null')
    || ',"error_code":' || coalesce(to_json(error_code)::text, 'null') || ',"error_message":' || coalesce(to_json(error_message)::text, 'null')
    || ',"event_action":' || to_json(action) || ',"event_category":"workflowexecution","event_data":' || event_data
    || ',"event_id":"' || event_id || '","event_outcome":"' || CASE WHEN failed THEN 'failure' ELSE 'success' END
    || '","event_timestamp":"' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '","event_type":"workflowexecution.' || action
    || '","namespace":' || to_json(namespace) || ',"parent_event_id":' || coalesce('"' || parent_event_id || '"', 'null')
    || ',"resource_id":' || to_json(resource_id) || ',"resource_name":' || to_json(resource_name)
    || ',"resource_type":"WorkflowExecution","severity":' || coalesce(to_json(severity)::text, 'null')
    || ',"span_id":' || to_json(span_id) || ',"trace_id":' || to_json(trace_id) || ',"version":"1"}', 'UTF8') AS content
FROM rows r;

INSERT INTO audit_event_id (event_id, digest, event_timestamp) SELECT event_id, sha256(content), at FROM filled ORDER BY n;

INSERT INTO audit_events (
    event_timestamp, event_id, epoch, xid, received_at, duration_ms, parent_event_id, version, event_type, event_category,
    event_action, event_outcome, correlation_id, actor_type, actor_id, resource_type, resource_id, resource_name, namespace,
    cluster_name, severity, trace_id, span_id, error_code, error_message, event_data, content
) SELECT
    at, event_id, 0, (10 + n / 50)::text::xid8, at + '5ms', duration_ms, parent_event_id, '1', 'workflowexecution.' || action, 'workflowexecution',
    action, CASE WHEN failed THEN 'failure' ELSE 'success' END, correlation_id, 'serviceaccount',
    'system:serviceaccount:kubernaut-system:' || CASE WHEN c %% 10000 = 11 THEN 'somebody' ELSE 'kubernaut-controller' END,
    'WorkflowExecution', resource_id, resource_name, namespace, 'local', severity, trace_id, span_id, error_code, error_message,
    event_data, content
FROM filled ORDER BY n;

DROP TABLE many, rows, filled;
