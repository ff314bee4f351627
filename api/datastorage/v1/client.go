package datastorage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// TokenSource returns the bearer token for the next attempt. It is asked each
// time, so a token that is rotated meanwhile is taken up.
type TokenSource func(ctx context.Context) (string, error)

// Client talks to Data Storage. It is safe for concurrent use.
//
// A request that may not have arrived is sent again, up to Attempts times within
// the caller's context: writes carry ids, so sending twice stores once. An error
// of a write therefore means "not known to be safe": call again with the same ids.
type Client struct {
	// Attempts is how often one request is tried. Set it before the first request.
	Attempts int

	base   *url.URL
	http   *http.Client
	token  TokenSource
	events batcher

	maxEvents atomic.Int64 // as the server announces them
	maxBytes  atomic.Int64
}

const (
	defaultAttempts = 4
	attemptTimeout  = 15 * time.Second
	firstBatch      = 100 // events in a batch before the server has announced its limit
	maxAnswer       = 64 << 20
	maxPause        = time.Minute // a service that asks for more is not waited for: the error says how long
)

// New returns a client of the service at baseURL, such as
// "https://datastorage.kubernaut-system.svc:8443". A nil token source sends no token.
func New(baseURL string, hc *http.Client, token TokenSource) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(baseURL, "/"))
	if err != nil {
		return nil, fmt.Errorf("address of Data Storage: %w", err)
	}
	if base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("address of Data Storage: %q is not an http or https URL", baseURL)
	}
	if hc == nil {
		hc = http.DefaultClient
	}
	c := &Client{Attempts: defaultAttempts, base: base, http: hc, token: token}
	c.events.client = c
	c.maxEvents.Store(firstBatch)
	c.maxBytes.Store(MaxBodyBytes)
	return c, nil
}

// call is one request and where its answer goes.
type call struct {
	method string
	path   string
	query  url.Values
	body   []byte // JSON; nil: none
	into   any    // where the answer is decoded to; nil: dropped

	patience time.Duration // with one attempt; 0: attemptTimeout
}

// do sends a request until it is answered with success or a refusal, the
// attempts are used up, or ctx ends. It returns the status of the success.
func (c *Client) do(ctx context.Context, r call) (int, error) {
	for attempt := 1; ; attempt++ {
		status, err := c.try(ctx, r)
		if err == nil || attempt >= c.Attempts || !worthRetrying(err) {
			return status, err
		}
		if p := pause(attempt, err); p > maxPause || !wait(ctx, p) {
			return status, err
		}
	}
}

// wait sleeps for d. It returns false at once when ctx ends before that.
func wait(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Client) try(ctx context.Context, r call) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.patience, attemptTimeout))
	defer cancel()
	req, err := c.request(ctx, r)
	if err != nil {
		return 0, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer res.Body.Close()
	c.learn(res.Header)
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("%w: reading the answer: %w", ErrUnavailable, err)
	}
	if res.StatusCode >= 300 {
		return 0, refusal(res, body)
	}
	if r.into == nil {
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(body, r.into); err != nil {
		return 0, fmt.Errorf("%w: %s %s answered something else than the contract says: %w", ErrUnavailable, r.method, r.path, err)
	}
	return res.StatusCode, nil
}

func (c *Client) request(ctx context.Context, r call) (*http.Request, error) {
	u := c.base.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token == nil {
		return req, nil
	}
	token, err := c.token(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: getting a token for Data Storage: %w", ErrUnavailable, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req, nil
}

// learn keeps the limits that the server announces.
func (c *Client) learn(h http.Header) {
	for name, limit := range map[string]*atomic.Int64{
		HeaderMaxBatchEvents: &c.maxEvents,
		HeaderMaxBodyBytes:   &c.maxBytes,
	} {
		if n, err := strconv.ParseInt(h.Get(name), 10, 64); err == nil && n > 0 {
			limit.Store(n)
		}
	}
}

// values turns the generated struct of an operation's parameters into a query.
func values(params any) (url.Values, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	var members map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&members); err != nil {
		return nil, err
	}
	query := url.Values{}
	for name, v := range members {
		many, ok := v.([]any)
		if !ok {
			many = []any{v}
		}
		for _, one := range many {
			query.Add(name, fmt.Sprint(one))
		}
	}
	return query, nil
}
