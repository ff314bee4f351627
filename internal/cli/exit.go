package cli

import (
	"context"
	"errors"
	"fmt"
)

// Code is how a command ended, for the shell.
type Code int

// The exit codes of every command.
const (
	Done            Code = 0
	Failed          Code = 1   // the command could not do what it was asked to
	Usage           Code = 2   // the command line cannot be understood
	ExecutionFailed Code = 3   // the execution that was waited for failed
	Skipped         Code = 4   // the execution that was waited for was skipped
	Stopped         Code = 5   // it was cancelled, or did not end within --timeout
	CausesFound     Code = 6   // a diagnosis named at least one root cause
	Interrupted     Code = 130 // Ctrl-C
)

// Codes is the table of exit codes for help texts.
const Codes = `Exit codes:
  0    done
  1    error: it could not be done; the message says why and what to do next
  2    usage: the command line cannot be understood
  3    the execution that was waited for failed
  4    the execution that was waited for was skipped
  5    the execution that was waited for was cancelled, or did not end within --timeout
  6    a diagnosis found at least one root cause
  130  interrupted`

// Ended is an error that ends the program with a code of its own. An empty
// message says nothing more than what was printed already.
type Ended struct {
	Code Code
	Err  error
}

func (e *Ended) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *Ended) Unwrap() error { return e.Err }

// End returns an error that ends the program with code and nothing more to say.
func End(code Code) error { return &Ended{Code: code} }

// Usagef is an error of the command line.
func Usagef(format string, args ...any) error {
	return &Ended{Code: Usage, Err: fmt.Errorf(format, args...)}
}

// WhenInterrupted gives an interruption a sentence on what became of the work
// and how to go on. Other errors pass.
func WhenInterrupted(ctx context.Context, err error, goOn string) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &Ended{Code: Interrupted, Err: fmt.Errorf("interrupted. %s", goOn)}
}

// CodeOf tells how a command that returned err ends.
func CodeOf(ctx context.Context, err error) Code {
	var ended *Ended
	switch {
	case err == nil:
		return Done
	case errors.As(err, &ended):
		return ended.Code
	case ctx.Err() != nil:
		return Interrupted
	}
	return Failed
}
