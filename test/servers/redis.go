package servers

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

const redisPassword = "redis-of-tests"

// RedisServer is one running Redis.
type RedisServer struct {
	process
	port int
}

// Redis starts a server for one test and returns its URL. It is configured as the
// product's: every write is in the append-only file before it is answered, and
// nothing is ever evicted.
func Redis(t testing.TB) string {
	t.Helper()
	return StartRedis(t).URL()
}

// StartRedis starts a server that lives as long as the test. More arguments are
// given to it as they are.
func StartRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	needs(t, "Redis")
	dir := folder(t, "redis")
	r := &RedisServer{port: port(t)}
	r.process = process{t: t, name: "Redis", log: filepath.Join(dir, "log"), args: append([]string{
		program(t, "/usr/bin/redis-server", "redis-server"),
		"--port", fmt.Sprint(r.port), "--bind", "127.0.0.1", "--dir", dir, "--requirepass", redisPassword,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
	}, args...)}
	r.start()
	t.Cleanup(func() { r.stop(syscall.SIGKILL) })
	r.await(r.ping)
	return r
}

// URL is the address with the password.
func (r *RedisServer) URL() string {
	return fmt.Sprintf("redis://:%s@127.0.0.1:%d/0", redisPassword, r.port)
}

// Address is the host and port.
func (r *RedisServer) Address() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

// Kill ends the server as a crash does. Restart starts it again.
func (r *RedisServer) Kill() { r.t.Helper(); r.kill() }

// Restart starts a server that was killed, and waits until it answers.
func (r *RedisServer) Restart() { r.t.Helper(); r.start(); r.await(r.ping) }

func (r *RedisServer) ping() error {
	client := redis.NewClient(&redis.Options{
		Addr: r.Address(), Password: redisPassword, MaxRetries: -1, DisableIdentity: true,
	})
	defer func() { _ = client.Close() }()
	return client.Ping(context.Background()).Err()
}
