// Command datastorage keeps the audit trail and the catalog of workflows.
//
//	datastorage serve --config FILE   answer over HTTP (DATABASE_URL, REDIS_URL)
//	datastorage migrate               prepare the database (DATABASE_URL, SERVICE_PASSWORD)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/internal/service"
)

const usage = `usage:
  datastorage serve [--config FILE]   answer over HTTP; secrets come from DATABASE_URL (the role
                                      kubernaut_service) and REDIS_URL (empty: nothing is parked)
  datastorage migrate [--wait 5m]     bring the database named by DATABASE_URL (its owner) to this
                                      version; SERVICE_PASSWORD becomes that of kubernaut_service
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, world{os.Args[1:], os.Getenv, os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "datastorage:", err)
		os.Exit(1)
	}
}

// world is what the program gets from outside.
type world struct {
	args   []string
	getenv func(string) string
	stderr io.Writer // takes the log
}

func run(ctx context.Context, w world) error {
	if len(w.args) == 0 {
		return errors.New("no command\n" + usage)
	}
	flags := flag.NewFlagSet("datastorage "+w.args[0], flag.ContinueOnError)
	flags.SetOutput(w.stderr)
	flags.Usage = func() { fmt.Fprint(w.stderr, usage) }
	config := flags.String("config", "", "")
	wait := flags.Duration("wait", 5*time.Minute, "")
	if err := flags.Parse(w.args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q\n%s", flags.Arg(0), usage)
	}
	switch w.args[0] {
	case "serve":
		return serve(ctx, w, *config)
	case "migrate":
		return migrate(ctx, w, *wait)
	}
	return fmt.Errorf("unknown command %q\n%s", w.args[0], usage)
}

// migrate prepares the database, which it waits for.
func migrate(ctx context.Context, w world, wait time.Duration) error {
	log, err := service.NewLog(w.stderr, service.LogConfig{})
	if err != nil {
		return err
	}
	url := w.getenv("DATABASE_URL")
	if url == "" {
		return errors.New("DATABASE_URL is empty: set it to the database, as its owner")
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return postgres.Migrate(ctx, url, w.getenv("SERVICE_PASSWORD"), log)
}
