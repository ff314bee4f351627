package service

import (
	"fmt"
	"io"
	"log/slog"
)

// LogConfig is how a process writes its log.
type LogConfig struct {
	Level  slog.Level `json:"level"`  // DEBUG, INFO, WARN or ERROR; default INFO
	Format string     `json:"format"` // "json" (default) or "text"
}

// NewLog makes the log of a process.
func NewLog(w io.Writer, c LogConfig) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: c.Level}
	switch c.Format {
	case "", "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return nil, fmt.Errorf("log.format is %q: write json or text", c.Format)
}
