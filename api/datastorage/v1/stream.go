package datastorage

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
)

// open sends a request whose answer is read while it comes. Until the answer begins
// it is tried again like any other.
func (c *Client) open(ctx context.Context, r call) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		res, err := c.openOnce(ctx, r)
		if err == nil || attempt >= c.Attempts || !worthRetrying(err) || !wait(ctx, pause(attempt, err)) {
			return res, err
		}
	}
}

func (c *Client) openOnce(ctx context.Context, r call) (*http.Response, error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity") // compressing takes longer than sending in one cluster
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	c.learn(res.Header)
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%w: reading the answer: %w", ErrUnavailable, err)
	}
	return nil, refusal(res, body)
}

// sent is one server-sent event.
type sent struct {
	id   string // the last that was sent, with this message or before
	data []byte
}

// messages reads server-sent events. Comments, and fields that are not known, are
// left out.
func messages(r io.Reader) iter.Seq2[sent, error] {
	return func(yield func(sent, error) bool) {
		lines := bufio.NewReaderSize(r, 64<<10)
		var m sent
		for {
			line, err := lines.ReadString('\n')
			if err == io.EOF && line == "" {
				return
			}
			if err != nil {
				yield(sent{}, err)
				return
			}
			line = strings.TrimRight(line, "\r\n")
			field, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case line == "":
				if !yield(m, nil) {
					return
				}
				m.data = nil
			case field == "id":
				m.id = value
			case field == "data" && m.data != nil:
				m.data = append(append(m.data, '\n'), value...)
			case field == "data":
				m.data = []byte(value)
			}
		}
	}
}
