package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

// asProgram makes the test binary be the program itself, so that it can be killed.
const asProgram = "DATASTORAGE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is a running `datastorage serve`.
type program struct {
	t       testing.TB
	address string
	env     []string
	config  string
	log     *lines
	cmd     *exec.Cmd
	ended   chan error
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newProgram prepares `datastorage serve` on a free port, for these servers.
func newProgram(t testing.TB, databaseURL, redisURL string) *program {
	t.Helper()
	p := &program{t: t, address: freeAddress(t), log: &lines{}, config: filepath.Join(t.TempDir(), "config.yaml")}
	config := fmt.Sprintf("listen: %q\nauth: none\ndatabase: {connectTimeout: 2s}\nshutdown: {drain: 100ms}\n", p.address)
	must(t, os.WriteFile(p.config, []byte(config), 0o600))
	p.env = []string{asProgram + "=1", "DATABASE_URL=" + databaseURL, "REDIS_URL=" + redisURL}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			log := p.log.String()
			t.Logf("the end of the log of datastorage:\n%s", log[max(0, len(log)-20_000):])
		}
	})
	return p
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (p *program) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], "serve", "--config", p.config)
	p.cmd.Env, p.cmd.Stderr = p.env, p.log
	must(p.t, p.cmd.Start())
	ended := make(chan error, 1)
	p.ended = ended
	go func(cmd *exec.Cmd) { ended <- cmd.Wait() }(p.cmd)
}

// kill ends the program as a crash does.
func (p *program) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	p.cmd = nil
}

// end asks the program to end and returns how it did.
func (p *program) end() error {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.cmd = nil
	return <-p.ended
}

func (p *program) url() string { return "http://" + p.address }

// status is the HTTP status of a GET, 0 when nobody answers.
func (p *program) status(path string) int {
	res, err := http.Get(p.url() + path)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// await waits until a path answers with a status.
func (p *program) await(path string, status int) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		got := p.status(path)
		if got == status {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is %d after a minute, want %d", path, got, status)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// migrated makes a database with the schema and returns its URL as the owner and as
// the service.
func migrated(t testing.TB, server *servers.Postgres) (owner, service string) {
	t.Helper()
	owner = server.Database()
	must(t, postgres.Migrate(t.Context(), owner, "service", slog.New(slog.DiscardHandler)))
	return owner, asService(owner)
}

// asService is the URL of the same database as the service's role.
func asService(owner string) string {
	_, rest, _ := strings.Cut(owner, "@")
	return "postgres://" + postgres.ServiceRole + ":service@" + rest
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func getenv(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestStartedBeforeItsDatabaseItWaitsAndIsReadyWhenItIsThere(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	owner := server.Database()
	server.Stop()
	p := newProgram(t, asService(owner), "")
	p.start()
	p.await("/health/live", http.StatusOK)
	p.await("/health/ready", http.StatusServiceUnavailable)

	migration := make(chan error, 1)
	go func() {
		migration <- run(t.Context(), world{
			args: []string{"migrate"}, stderr: p.log,
			getenv: getenv(map[string]string{"DATABASE_URL": owner, "SERVICE_PASSWORD": "service"}),
		})
	}()
	server.Restart()
	must(t, <-migration)
	p.await("/health/ready", http.StatusOK)
	must(t, p.end())
	if log := p.log.String(); !strings.Contains(log, "Database is not there yet") || !strings.Contains(log, "Dependency is usable") {
		t.Error("the log does not say what was waited for")
	}
}

func TestAnEmptyDatabaseIsNotReadyAndTheLogSaysWhatToDo(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	p := newProgram(t, server.Database(), "")
	p.start()
	p.await("/health/ready", http.StatusServiceUnavailable)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(p.log.String(), "run `datastorage migrate`"); {
		if time.Now().After(deadline) {
			t.Fatal("the log does not say what to do")
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestMigrateRefuses(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	owner, service := migrated(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for why, c := range map[string]struct{ url, password, want string }{
		"no database":      {"", "x", "DATABASE_URL is empty"},
		"no password":      {owner, "", "SERVICE_PASSWORD"},
		"a wrong password": {strings.Replace(owner, ":owner", ":wrong", 1), "x", "password authentication failed"},
		"not the owner":    {service, "x", "permission denied"},
	} {
		err := run(ctx, world{
			args: []string{"migrate"}, stderr: &lines{},
			getenv: getenv(map[string]string{"DATABASE_URL": c.url, "SERVICE_PASSWORD": c.password}),
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", why, err, c.want)
		}
	}
}
