package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

// workflowColumns are read in the order of workflow(). The latest version is
// computed at every read, so it cannot go out of date.
const workflowColumns = `
	w.workflow_id, w.workflow_name, w.version, w.name, w.description, w.owner, w.content, w.content_hash,
	w.signal_type, w.severity, w.component, w.environment, w.priority, w.custom_labels, w.parameters,
	w.execution_engine, w.container_image, w.container_digest, w.service_account_name, w.secrets, w.config_maps,
	w.risk, w.status, w.status_reason, w.created_at, w.created_by, w.updated_at, w.updated_by,
	` + isLatest + ` AS is_latest_version`

// scoredColumns leaves out what a search does not look at and what may be large.
var scoredColumns = strings.NewReplacer("w.content,", "'',", "w.parameters,", "'[]'::jsonb,").Replace(workflowColumns)

const oneWorkflow = `SELECT ` + workflowColumns + ` FROM workflows w WHERE w.workflow_id = $1`

const isLatest = `w.version_key IS NOT DISTINCT FROM (
		SELECT max(l.version_key) FROM workflows l
		WHERE l.workflow_name = w.workflow_name AND l.status = 'active' AND NOT l.prerelease)`

// Create keeps one version of a workflow, once.
func (s *Store) Create(ctx context.Context, w api.Workflow) (kept api.Workflow, created bool, err error) {
	digest, err := catalog.Digest(w)
	if err != nil {
		return api.Workflow{}, false, err
	}
	custom := w.CustomLabels
	if custom == nil {
		custom = api.CustomLabels{}
	}
	err = s.inTransaction(context.WithoutCancel(ctx), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			INSERT INTO workflows (
				workflow_id, workflow_name, version, version_key, prerelease, digest, name, description, owner,
				content, content_hash, signal_type, severity, component, environment, priority, custom_labels,
				parameters, execution_engine, container_image, container_digest, service_account_name,
				secrets, config_maps, risk, status, created_by, updated_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
				$18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $27)
			ON CONFLICT DO NOTHING`,
			w.WorkflowID, w.WorkflowName, w.Version, catalog.VersionKey(w.Version), catalog.Prerelease(w.Version), digest[:],
			w.Name, w.Description, orNull(&w.Owner), w.Content, w.ContentHash,
			w.Labels.SignalType, w.Labels.Severity, w.Labels.Component, w.Labels.Environment, w.Labels.Priority, custom,
			w.Parameters, w.ExecutionEngine, w.ContainerImage, orNull(&w.ContainerDigest), orNull(&w.ServiceAccountName),
			listed(w.Secrets), listed(w.ConfigMaps), orNull(&w.Risk), w.Status, orNull(&w.CreatedBy))
		if err != nil {
			return err
		}
		created = tag.RowsAffected() == 1
		kept, err = sameWorkflow(ctx, tx, w.WorkflowID, digest[:])
		return err
	})
	if err != nil {
		return api.Workflow{}, false, fmt.Errorf("registering workflow %s %s: %w", w.WorkflowName, w.Version, err)
	}
	return kept, created, nil
}

// sameWorkflow reads a workflow that is there now, if it has this digest.
func sameWorkflow(ctx context.Context, tx pgx.Tx, id uuid.UUID, digest []byte) (api.Workflow, error) {
	var there []byte
	if err := tx.QueryRow(ctx, `SELECT digest FROM workflows WHERE workflow_id = $1`, id).Scan(&there); err != nil {
		return api.Workflow{}, err
	}
	if !bytes.Equal(there, digest) {
		return api.Workflow{}, datastorage.ErrExists
	}
	return getWorkflow(ctx, tx, id)
}

// Get returns one version of a workflow.
func (s *Store) Get(ctx context.Context, id uuid.UUID) (api.Workflow, error) {
	w, err := getWorkflow(ctx, s.pool, id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = datastorage.ErrNotFound
	}
	return w, classified("reading workflow "+id.String(), err)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func getWorkflow(ctx context.Context, q querier, id uuid.UUID) (api.Workflow, error) {
	rows, err := q.Query(ctx, oneWorkflow, id)
	if err != nil {
		return api.Workflow{}, err
	}
	return pgx.CollectExactlyOneRow(rows, workflow)
}

// List returns one page of workflows, with a total of the same snapshot. It has fewer
// than asked for when they are large.
func (s *Store) List(ctx context.Context, q datastorage.WorkflowQuery) (datastorage.WorkflowPage, error) {
	var page datastorage.WorkflowPage
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := s.inTransaction(ctx, options, func(ctx context.Context, tx pgx.Tx) error {
		sql, args := workflowCountOf(q)
		if err := tx.QueryRow(ctx, sql, args...).Scan(&page.Total); err != nil {
			return err
		}
		sql, args = workflowPageOf(q)
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		page.Workflows, err = collectWorkflows(rows)
		return err
	})
	return page, classified("listing workflows", err)
}

func workflowPageOf(q datastorage.WorkflowQuery) (sql string, args []any) {
	w := wanted(q)
	return fmt.Sprintf(`
		SELECT %s FROM workflows w WHERE %s
		ORDER BY w.workflow_name COLLATE "C", w.version_key DESC LIMIT %d OFFSET %d`,
		workflowColumns, w.sql(), q.Limit, q.Offset), w.args
}

func workflowCountOf(q datastorage.WorkflowQuery) (sql string, args []any) {
	w := wanted(q)
	return `SELECT count(*) FROM workflows w WHERE ` + w.sql(), w.args
}

// wanted are the conditions of a query.
func wanted(q datastorage.WorkflowQuery) *where {
	w := &where{}
	if q.Name != "" {
		w.add("w.workflow_name = $%d", q.Name)
	}
	if q.Version != "" {
		w.add("w.version = $%d", q.Version)
	}
	if q.Status != "" {
		w.add("w.status = $%d", q.Status)
	}
	if q.Latest {
		w.add(isLatest)
	}
	return w
}

// collectWorkflows reads workflows until the page is full. Those after it are not kept.
func collectWorkflows(rows pgx.Rows) (list []api.Workflow, err error) {
	defer rows.Close()
	for size := 0; size < pageBytes && rows.Next(); {
		w, err := workflow(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, w)
		for _, raw := range rows.RawValues() {
			size += len(raw)
		}
	}
	rows.Close()
	return list, rows.Err()
}

// Labelled returns the latest versions with these labels, without content and parameters.
func (s *Store) Labelled(ctx context.Context, f api.WorkflowFilters) ([]api.Workflow, error) {
	sql, args := labelledOf(f)
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, classified("searching workflows", err)
	}
	found, err := pgx.CollectRows(rows, workflow)
	return found, classified("searching workflows", err)
}

func labelledOf(f api.WorkflowFilters) (sql string, args []any) {
	return `
		SELECT ` + scoredColumns + ` FROM workflows w
		WHERE w.signal_type = $1 AND w.severity = $2 AND w.environment = $3 AND w.priority = $4
			AND w.component IN ($5, $6) AND ` + isLatest,
		[]any{f.SignalType, f.Severity, f.Environment, f.Priority, f.Component, catalog.AnyComponent}
}

// SetStatus changes the status of one version.
func (s *Store) SetStatus(ctx context.Context, id uuid.UUID, c datastorage.StatusChange) (w api.Workflow, err error) {
	err = s.inTransaction(context.WithoutCancel(ctx), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE workflows SET status = $2, status_reason = $3, updated_at = now(), updated_by = $4
			WHERE workflow_id = $1`, id, c.Status, orNull(&c.Reason), orNull(&c.By))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return datastorage.ErrNotFound
		}
		w, err = getWorkflow(ctx, tx, id)
		return err
	})
	if err != nil {
		return api.Workflow{}, fmt.Errorf("changing the status of workflow %s: %w", id, err)
	}
	return w, nil
}

// workflow reads one row of workflowColumns.
func workflow(row pgx.CollectableRow) (api.Workflow, error) {
	var w api.Workflow
	var owner, image, account, risk, reason, createdBy, updatedBy *string
	var custom, parameters []byte
	var created, updated time.Time
	err := row.Scan(
		&w.WorkflowID, &w.WorkflowName, &w.Version, &w.Name, &w.Description, &owner, &w.Content, &w.ContentHash,
		&w.Labels.SignalType, &w.Labels.Severity, &w.Labels.Component, &w.Labels.Environment, &w.Labels.Priority,
		&custom, &parameters, &w.ExecutionEngine, &w.ContainerImage, &image, &account, &w.Secrets, &w.ConfigMaps,
		&risk, &w.Status, &reason, &created, &createdBy, &updated, &updatedBy, &w.IsLatestVersion)
	if err != nil {
		return w, err
	}
	w.Owner, w.ContainerDigest, w.ServiceAccountName = orEmpty(owner), orEmpty(image), orEmpty(account)
	w.Risk, w.StatusReason, w.CreatedBy, w.UpdatedBy = orEmpty(risk), orEmpty(reason), orEmpty(createdBy), orEmpty(updatedBy)
	w.CreatedAt, w.UpdatedAt = created.UTC(), updated.UTC()
	return w, errors.Join(json.Unmarshal(custom, &w.CustomLabels), json.Unmarshal(parameters, &w.Parameters))
}

// listed is never nil: the column is not nullable.
func listed(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
