package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

// away are the SQLSTATEs that mean: it cannot write now, and will be able to again.
var away = map[string]string{
	"25006": "read-only",
	"53100": "disk full",
	"53300": "too many connections",
	"57P01": "shutting down",
	"57P02": "crashed",
	"57P03": "starting",
	"57P05": "ended idle sessions",
}

// busy are the SQLSTATEs that mean: not this time, and nothing was kept.
var busy = map[string]string{
	"40001": "serialization failure",
	"40P01": "deadlock",
	"53200": "out of memory",
	"55P03": "lock timeout",
	"57014": "statement timeout",
}

// classified wraps an error that came before a COMMIT was sent, so that nothing was
// kept, with the class that it belongs to.
func classified(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, withClass(err))
}

// unread wraps an error of reading with its class.
func unread(doing string, err error) error {
	if hasCode(err, "57014") { // statement timeout
		return fmt.Errorf("%s: %w: %w", doing, datastorage.ErrBroad, err)
	}
	return classified(doing, err)
}

// uncertain wraps an error of a COMMIT. Unless the server says that it refused, it
// may have taken effect.
func uncertain(doing string, err error) error {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok && away[answer.Code] == "" {
		return classified(doing, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, datastorage.ErrAway, err)
}

func withClass(err error) error {
	for _, class := range []error{datastorage.ErrAway, datastorage.ErrBusy} {
		if errors.Is(err, class) {
			return err
		}
	}
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return ofAnswer(err, answer.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return fmt.Errorf("%w: %w", datastorage.ErrAway, err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", datastorage.ErrBusy, err)
	}
	if lost(err) {
		return fmt.Errorf("%w: %w", datastorage.ErrAway, err)
	}
	return err
}

func ofAnswer(err error, code string) error {
	switch {
	case away[code] != "" || strings.HasPrefix(code, "08"):
		return fmt.Errorf("%w: %w", datastorage.ErrAway, err)
	case busy[code] != "":
		return fmt.Errorf("%w: %w", datastorage.ErrBusy, err)
	case strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23"): // data exception, violated constraint
		return fmt.Errorf("%w: %w", datastorage.ErrUnfit, err)
	}
	return err
}

// lost says whether an error means that the connection broke.
func lost(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "conn closed") // pgx has no name for it
}

// hasCode says whether the server answered with this SQLSTATE.
func hasCode(err error, code string) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && answer.Code == code
}
