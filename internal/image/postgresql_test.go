package image

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is a PostgreSQL started by the image's entrypoint under chroot.
type server struct {
	cmd  *exec.Cmd
	port string
	log  *strings.Builder
	done chan error // closed after what Wait returned
}

const volume = "/var/lib/postgresql/data"

func start(t *testing.T, root, password string) *server {
	t.Helper()
	s := &server{port: freePort(t), log: &strings.Builder{}, done: make(chan error, 1)}
	s.cmd = entrypoint(t, root, "POSTGRES_PASSWORD="+password)
	s.cmd.Args = append(s.cmd.Args, "-c", "port="+s.port, "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID // process 1, as in a container
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.done <- s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended by itself
		<-s.done
	})
	return s
}

func entrypoint(t *testing.T, root string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := inside(t.Context(), root, postgresql, postgresql.Config.Entrypoint...)
	cmd.Env = append(cmd.Env, "PGDATA="+volume, "POSTGRES_USER=kubernaut_owner", "POSTGRES_DB=kubernaut")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// firstAnswer connects until something listens and returns what the very
// first server that listened said.
func (s *server) firstAnswer(ctx context.Context, password string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	url := fmt.Sprintf("postgres://kubernaut_owner:%s@127.0.0.1:%s/kubernaut?sslmode=disable", password, s.port)
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			defer conn.Close(ctx)
			var name string
			return name, conn.QueryRow(ctx, "SELECT current_database()").Scan(&name)
		}
		if !strings.Contains(err.Error(), "connection refused") && !strings.Contains(err.Error(), "starting up") {
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", err
		case ended := <-s.done:
			return "", fmt.Errorf("the server ended: %w", ended)
		case <-tick.C:
		}
	}
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := <-s.done; err != nil {
		t.Errorf("stopping PostgreSQL: %v\n%s", err, s.log)
	}
}

func TestPostgreSQLImageMakesItsDatabaseOnce(t *testing.T) {
	root := rootOf(t, postgresql)
	first := start(t, root, "it's-1")
	if name, err := first.firstAnswer(t.Context(), "it's-1"); err != nil || name != "kubernaut" {
		t.Fatalf("the first server that listened: database %q, %v\n%s", name, err, first.log)
	}
	if _, err := first.firstAnswer(t.Context(), "wrong"); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("a wrong password: %v", err)
	}
	first.stop(t)

	second := start(t, root, "changed")
	if _, err := second.firstAnswer(t.Context(), "changed"); err != nil {
		t.Errorf("the password given at the second start: %v\n%s", err, second.log)
	}
	if _, err := second.firstAnswer(t.Context(), "it's-1"); err == nil {
		t.Error("the old password still opens the database")
	}
	second.stop(t)
	if log := second.log.String(); strings.Contains(log, "changed") {
		t.Errorf("the log shows the password:\n%s", log)
	}
}

func TestPostgreSQLImageStartsAgainAfterItWasKilled(t *testing.T) {
	root := rootOf(t, postgresql)
	first := start(t, root, "secret")
	if _, err := first.firstAnswer(t.Context(), "secret"); err != nil {
		t.Fatalf("%v\n%s", err, first.log)
	}
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.done
	if _, err := os.Stat(filepath.Join(root, volume, "postmaster.pid")); err != nil {
		t.Fatalf("the killed server left no lock file: %v", err)
	}

	second := start(t, root, "secret")
	if _, err := second.firstAnswer(t.Context(), "secret"); err != nil {
		t.Errorf("%v\n%s", err, second.log)
	}
	second.stop(t)
}

func TestPostgreSQLImageBeginsAgainAfterAnInterruptedInit(t *testing.T) {
	root := rootOf(t, postgresql)
	half := filepath.Join(root, volume+".unfinished")
	if err := os.MkdirAll(half, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(half, databaseUser, databaseUser); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "PG_VERSION"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := start(t, root, "secret")
	if _, err := s.firstAnswer(t.Context(), "secret"); err != nil {
		t.Errorf("after an interrupted init: %v\n%s", err, s.log)
	}
	s.stop(t)
}

func TestPostgreSQLImageSaysWhyItDoesNotStart(t *testing.T) {
	root := rootOf(t, postgresql)
	for _, c := range []struct {
		name, file, content string
		env                 []string
		want                string
	}{
		{name: "no password", want: "the password of kubernaut_owner is empty"},
		{name: "two lines", env: []string{"POSTGRES_PASSWORD=a\nb"}, want: "more than one line"},
		{name: "no password file", env: []string{"POSTGRES_PASSWORD_FILE=/none"}, want: "cannot read POSTGRES_PASSWORD_FILE=/none"},
		{name: "no folder", env: []string{"PGDATA=", "POSTGRES_PASSWORD=a"}, want: "name the folder of the database"},
		{name: "other version", file: "PG_VERSION", content: "14\n", env: []string{"POSTGRES_PASSWORD=a"}, want: "made by PostgreSQL 14, this is 15"},
		{name: "strange files", file: "letters.txt", env: []string{"POSTGRES_PASSWORD=a"}, want: "holds files but no database"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.file != "" {
				placeFile(t, filepath.Join(root, volume), c.file, c.content)
			}
			cmd := entrypoint(t, root, c.env...)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(stderr)
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil || !strings.Contains(string(said), c.want) {
				t.Errorf("ended with %v and said %q, want %q", err, said, c.want)
			}
		})
	}
}

// placeFile makes dir with one file in it, and removes it after the test.
func placeFile(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
