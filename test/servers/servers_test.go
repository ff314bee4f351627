package servers

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

func TestPostgreSQLKeepsWhatIsCommittedWhenItIsKilled(t *testing.T) {
	server := StartPostgreSQL(t)
	url := server.Database()
	query(t, url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
	server.Kill()
	if err := server.ping(); err == nil {
		t.Fatal("the server answers although it was killed")
	}
	server.Restart()
	if got := query(t, url, "SELECT n FROM kept"); got != "42" {
		t.Errorf("kept %q, want 42", got)
	}
}

// query runs SQL and returns the first column of the last row as text.
func query(t *testing.T, url, sql string) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	must(t, err)
	defer func() { _ = conn.Close(ctx) }()
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	must(t, err)
	if rows := results[len(results)-1].Rows; len(rows) > 0 {
		return string(rows[len(rows)-1][0])
	}
	return ""
}

func TestRedisKeepsWhatItAnsweredWhenItIsKilled(t *testing.T) {
	ctx := context.Background()
	server := StartRedis(t)
	options, err := redis.ParseURL(server.URL())
	must(t, err)
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	must(t, client.Set(ctx, "kept", 42, 0).Err())
	server.Kill()
	if err := server.ping(); err == nil {
		t.Fatal("the server answers although it was killed")
	}
	server.Restart()
	got, err := client.Get(ctx, "kept").Result()
	must(t, err)
	if got != "42" {
		t.Errorf("kept %q, want 42", got)
	}
}
