package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Debians is the major version that tests run on, unless they are told otherwise.
const Debians = "15"

const (
	debians       = "/usr/lib/postgresql/" + Debians + "/bin"
	ownerRole     = "kubernaut_owner"
	ownerPassword = "owner-of-tests"
)

// Postgres is one running PostgreSQL.
type Postgres struct {
	process
	port int
}

// postgresProgram is the path of a program of PostgreSQL: Debian's, unless
// KUBERNAUT_TEST_POSTGRESQL names a folder that has it too, of a later version.
func postgresProgram(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv("KUBERNAUT_TEST_POSTGRESQL"); dir != "" {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return program(t, filepath.Join(debians, name), "postgresql-15")
}

// PostgreSQLVersion is the major version of the server that tests run on.
func PostgreSQLVersion(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(postgresProgram(t, "postgres"), "--version").Output() // postgres (PostgreSQL) 15.18 ...
	must(t, err)
	_, version, _ := strings.Cut(string(out), "(PostgreSQL) ")
	major, _, _ := strings.Cut(version, ".")
	return major
}

// databases counts the databases made by this program, for their names.
var databases atomic.Int64

// PostgreSQL starts a server for one test and returns the URL of an empty
// database in it, as the owner, who is a superuser.
func PostgreSQL(t testing.TB) string {
	t.Helper()
	return StartPostgreSQL(t).Database()
}

// StartPostgreSQL starts a server that lives as long as the test. Settings such
// as "fsync=on" change its configuration.
//
// Its default time zone is an odd one, so that whoever relies on the server's
// time zone is found out.
func StartPostgreSQL(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	needs(t, "PostgreSQL")
	data := filepath.Join(folder(t, "postgresql"), "data")
	copyCluster(t, data)
	return startOn(t, data, settings)
}

// RestorePostgreSQL starts a server on the files of a base backup, which recovers as
// the settings say: see `restore_command` and its kin. It copies the files.
func RestorePostgreSQL(t testing.TB, backup string, settings ...string) *Postgres {
	t.Helper()
	data := filepath.Join(folder(t, "postgresql"), "data")
	must(t, os.CopyFS(data, os.DirFS(backup)))
	must(t, os.WriteFile(filepath.Join(data, "recovery.signal"), nil, 0o600))
	must(t, os.Chmod(data, 0o700))
	give(t, data)
	return startOn(t, data, settings)
}

func startOn(t testing.TB, data string, settings []string) *Postgres {
	t.Helper()
	postgres := postgresProgram(t, "postgres")
	p := &Postgres{port: port(t)}
	args := []string{postgres, "-D", data, "-p", fmt.Sprint(p.port), "-h", "127.0.0.1", "-k", ""}
	for _, s := range append([]string{
		"fsync=off", "shared_buffers=64MB", "max_connections=200", "timezone=Pacific/Chatham", "log_min_messages=warning",
	}, settings...) {
		args = append(args, "-c", s)
	}
	p.process = process{t: t, name: "PostgreSQL", args: args, log: filepath.Join(filepath.Dir(data), "log")}
	p.start()
	t.Cleanup(func() { p.stop(syscall.SIGQUIT) })
	p.await(p.ping)
	return p
}

// Folder makes a folder that the servers may write to, removed with the test.
func Folder(t testing.TB) string {
	t.Helper()
	return folder(t, "files")
}

// Run runs one of PostgreSQL's client programs, such as pg_dump, against the server,
// as the owner. They refuse servers that are newer than they.
func (p *Postgres) Run(name string, args ...string) {
	p.t.Helper()
	path := postgresProgram(p.t, name)
	if version := PostgreSQLVersion(p.t); version != Debians && filepath.Dir(path) == debians {
		p.t.Skipf("there is no %s of PostgreSQL %s here", name, version)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", p.port), "PGUSER="+ownerRole, "PGPASSWORD="+ownerPassword)
	cmd.SysProcAttr, cmd.Dir = unprivileged(p.t), "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
}

// URL is the address of a database as a role with a password.
func (p *Postgres) URL(role, password, database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", role, password, p.port, database)
}

// Address is the host and port.
func (p *Postgres) Address() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// Database makes an empty database and returns its URL as the owner.
func (p *Postgres) Database() string {
	p.t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	p.exec("CREATE DATABASE " + name)
	return p.URL(ownerRole, ownerPassword, name)
}

// Copy makes a database like the one at url, which nobody may use meanwhile, and
// returns its URL as the owner.
func (p *Postgres) Copy(url string) string {
	p.t.Helper()
	config, err := pgx.ParseConfig(url)
	must(p.t, err)
	name := fmt.Sprintf("test_%d", databases.Add(1))
	p.exec("CREATE DATABASE " + name + " TEMPLATE " + config.Database)
	return p.URL(ownerRole, ownerPassword, name)
}

// Kill ends the server as a crash does. Restart starts it again.
func (p *Postgres) Kill() { p.t.Helper(); p.kill() }

// Stop ends the server in good order and waits until it has.
func (p *Postgres) Stop() { p.t.Helper(); p.stop(syscall.SIGINT) }

// Start starts a server that was killed or stopped, and returns at once.
func (p *Postgres) Start() { p.t.Helper(); p.start() }

// Restart starts a server that was killed or stopped, and waits until it answers.
func (p *Postgres) Restart() { p.t.Helper(); p.start(); p.await(p.ping) }

func (p *Postgres) ping() error {
	conn, err := pgx.Connect(context.Background(), p.URL(ownerRole, ownerPassword, "postgres"))
	if err != nil {
		return err
	}
	return conn.Close(context.Background())
}

func (p *Postgres) exec(sql string) {
	p.t.Helper()
	conn, err := pgx.Connect(context.Background(), p.URL(ownerRole, ownerPassword, "postgres"))
	must(p.t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(context.Background(), sql)
	must(p.t, err)
}

// copyCluster copies the files of a fresh cluster to data. They are made once and
// kept in the user's cache folder.
func copyCluster(t testing.TB, data string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	must(t, err)
	template := filepath.Join(cache, "kubernaut-test", "postgresql-"+PostgreSQLVersion(t))
	if _, err := os.Stat(template); err != nil {
		makeCluster(t, template)
	}
	must(t, os.CopyFS(data, os.DirFS(template)))
	must(t, os.Chmod(data, 0o700))
	give(t, data)
}

func makeCluster(t testing.TB, template string) {
	t.Helper()
	dir := folder(t, "initdb")
	password := filepath.Join(dir, "password")
	must(t, os.WriteFile(password, []byte(ownerPassword), 0o644))
	cmd := exec.Command(postgresProgram(t, "initdb"),
		"--pgdata", filepath.Join(dir, "data"), "--username", ownerRole, "--pwfile", password,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--data-checksums")
	cmd.SysProcAttr = unprivileged(t)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	aside := fmt.Sprintf("%s.%d", template, os.Getpid())
	must(t, os.MkdirAll(filepath.Dir(template), 0o755))
	must(t, os.CopyFS(aside, os.DirFS(filepath.Join(dir, "data"))))
	if err := os.Rename(aside, template); err != nil { // another program was first
		must(t, os.RemoveAll(aside))
	}
	if _, err := os.Stat(template); err != nil {
		t.Fatal(err)
	}
}
