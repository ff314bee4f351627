package environment

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// databaseComponents prove that PostgreSQL can be used: first that its owner
// can ask it something, then that the service can, in a migrated schema.
func (w *world) databaseComponents() []component {
	return []component{
		{plan.Step{
			Name: "database", Expected: time.Second, Provides: []plan.Object{database},
			Needs: needs(part(partPostgreSQL), systemObject("Secret", databaseSecret).WithKey(ownerPassword)),
		}, func(ctx context.Context, say func(string)) error {
			return w.ask(ctx, question{ownerRole, ownerPassword, "SELECT 1", 1}, say)
		}},
		{plan.Step{
			Name: "schema", Expected: time.Second, Provides: []plan.Object{schema},
			Needs: needs(part(partMigration), systemObject("Secret", databaseSecret).WithKey(servicePassword)),
		}, func(ctx context.Context, say func(string)) error {
			version := "SELECT max(version_id) FROM goose_db_version WHERE is_applied"
			return w.ask(ctx, question{serviceRole, servicePassword, version, postgres.SchemaVersion}, say)
		}},
	}
}

// question is what a role asks, where its password is, and the right answer.
type question struct {
	role, key, query string
	answer           int64
}

// ask repeats the question until PostgreSQL gives the right answer over TCP.
func (w *world) ask(ctx context.Context, q question, say func(string)) error {
	k, err := w.kube()
	if err != nil {
		return err
	}
	secret, err := k.Core.CoreV1().Secrets(v1alpha1.SystemNamespace).Get(ctx, databaseSecret, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the password of %s: %w", q.role, err)
	}
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d dbname=%s user=%s sslmode=disable connect_timeout=5",
		databaseService.host(), databaseService.port, databaseName, q.role))
	if err != nil {
		return err
	}
	cfg.Password = string(secret.Data[q.key])
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return k.dial(ctx, network, address)
	}
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return try(ctx, say, func(ctx context.Context) error { return q.put(ctx, cfg) })
}

func (q question) put(ctx context.Context, cfg *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only asked
	var answer int64
	if err := conn.QueryRow(ctx, q.query).Scan(&answer); err != nil {
		return fmt.Errorf("asking PostgreSQL as %s: %w", q.role, err)
	}
	if answer != q.answer {
		return fmt.Errorf("PostgreSQL answers %s with %d, not %d", q.query, answer, q.answer)
	}
	return nil
}

// refused tells whether PostgreSQL refused the role or its password: it was
// asked, so it is up, and will say the same again.
func refused(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && strings.HasPrefix(answer.Code, "28") // invalid authorization specification
}

// tryEvery is the pause between attempts at something that cannot be watched.
const tryEvery = 200 * time.Millisecond

// try repeats an attempt that only the thing itself can answer, until it
// succeeds or ctx ends; then the error is the last attempt's.
func try(ctx context.Context, say func(string), attempt func(context.Context) error) error {
	tick := time.NewTicker(tryEvery)
	defer tick.Stop()
	for {
		err := attempt(ctx)
		if err == nil {
			return nil
		}
		if refused(err) {
			return err
		}
		if ctx.Err() == nil {
			say(err.Error())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-tick.C:
		}
	}
}
