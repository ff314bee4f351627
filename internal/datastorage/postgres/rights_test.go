package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

// rowsCannotBeChanged tries, as the service's role, every way to change what is kept.
func rowsCannotBeChanged(t *testing.T, f fixture) {
	_, err := f.Append(t.Context(), []audit.Sealed{event(t, 1)})
	must(t, err)
	f.cannotChange(t)
}

func (f fixture) cannotChange(t *testing.T) {
	t.Helper()
	service, err := pgx.Connect(t.Context(), f.url)
	must(t, err)
	defer func() { _ = service.Close(context.Background()) }()
	var attempts []string
	for _, table := range []string{"audit_events", "audit_events_202603", "audit_event_id", "audit_epoch", "goose_db_version"} {
		attempts = append(attempts, "DELETE FROM "+table, "TRUNCATE "+table, "DROP TABLE "+table, "ALTER TABLE "+table+" DISABLE TRIGGER ALL")
		for _, column := range f.columns(t, table) {
			attempts = append(attempts, fmt.Sprintf("UPDATE %s SET %s = %s", table, column, column))
		}
	}
	for _, column := range f.columns(t, "workflows") {
		if column != "status" && column != "status_reason" && column != "updated_at" && column != "updated_by" {
			attempts = append(attempts, fmt.Sprintf("UPDATE workflows SET %s = %s", column, column))
		}
	}
	attempts = append(attempts, "DELETE FROM workflows", "TRUNCATE workflows", "CREATE TABLE mine ()",
		"ALTER TABLE audit_events DETACH PARTITION audit_events_202603", "SET ROLE kubernaut_owner",
		"SELECT event_id FROM audit_events_202603", "INSERT INTO audit_epoch VALUES (9, 9)")
	if len(attempts) < 80 {
		t.Fatalf("only %d attempts: the columns are not all there", len(attempts))
	}
	for _, sql := range attempts {
		_, err := service.Exec(t.Context(), sql)
		answer, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || answer.Code != "42501" { // insufficient_privilege
			t.Errorf("%s: %v, want permission denied", sql, err)
		}
	}
}

func (f fixture) columns(t *testing.T, table string) []string {
	t.Helper()
	rows, err := f.owner.Query(t.Context(), "SELECT column_name FROM information_schema.columns WHERE table_name = $1", table)
	must(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return names
}

// limitsAreThoseOfTheColumns compares the limits that validation knows with those
// of the columns; package datastorage compares them with openapi.yaml.
func limitsAreThoseOfTheColumns(t *testing.T, f fixture) {
	limit := func(table, column string) (length int, required bool) {
		must(t, f.owner.QueryRow(t.Context(), `
			SELECT coalesce(character_maximum_length, 0), is_nullable = 'NO' FROM information_schema.columns
			WHERE table_name = $1 AND column_name = $2`, table, column).Scan(&length, &required))
		return length, required
	}
	for _, field := range audit.Fields {
		if length, required := limit("audit_events", field.Name); length != field.Max || required != field.Required {
			t.Errorf("audit_events.%s: %d characters, required %v; validation has %d, %v", field.Name, length, required, field.Max, field.Required)
		}
	}
	for _, field := range catalog.Fields {
		column := strings.TrimPrefix(field.Name, "labels.")
		if length, required := limit("workflows", column); length != field.Max || required != field.Required {
			t.Errorf("workflows.%s: %d characters, required %v; validation has %d, %v", column, length, required, field.Max, field.Required)
		}
	}
}

// partitionUnderReader makes a month while a transaction reads the table.
func partitionUnderReader(t *testing.T, f fixture) {
	_, err := f.Append(t.Context(), []audit.Sealed{event(t, 1)})
	must(t, err)
	err = pgx.BeginFunc(t.Context(), f.owner, func(reader pgx.Tx) error {
		if _, err := reader.Exec(t.Context(), "SELECT * FROM audit_events"); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := f.Append(ctx, []audit.Sealed{event(t, 2, func(e *audit.Event) { e.EventTimestamp = noon.AddDate(0, 7, 0) })})
		return err
	})
	must(t, err)
}
