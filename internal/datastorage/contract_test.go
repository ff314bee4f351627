package datastorage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// contract holds a handler to openapi.yaml: every request that a test does not call
// wrong must be one that the contract knows, and so must every answer.
type contract struct {
	doc    *openapi3.T
	router routers.Router

	mu        sync.Mutex
	exercised map[string]bool // operations that were answered with success
}

func newContract(t *testing.T) *contract {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	must(t, err)
	must(t, doc.Validate(t.Context()))
	doc.Servers = nil // wherever the test's server listens
	router, err := legacy.NewRouter(doc)
	must(t, err)
	return &contract{doc: doc, router: router, exercised: map[string]bool{}}
}

// complete fails the test for each operation that was never answered with success.
func (c *contract) complete(t *testing.T) {
	t.Helper()
	for path, item := range c.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			if !c.exercised[operation.OperationID] {
				t.Errorf("%s %s (%s) was never exercised", method, path, operation.OperationID)
			}
		}
	}
}

// request is what a test sends.
type request struct {
	method, path string
	body         any // string: as it is; else written as JSON; nil: none
	header       map[string]string
	wrong        bool // the request breaks the contract on purpose
}

// response is what came back.
type response struct {
	status int
	header http.Header
	body   []byte
}

// send sends a request to a handler and checks both directions.
func (c *contract) send(t *testing.T, handler http.Handler, r request) response {
	t.Helper()
	req := r.build(t)
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		t.Fatalf("%s %s is not in the contract: %v", r.method, r.path, err)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	err = openapi3filter.ValidateRequest(t.Context(), input)
	if err != nil && !r.wrong {
		t.Errorf("%s %s: the test's request breaks the contract: %v", r.method, r.path, err)
	}
	res := perform(handler, req)
	if err := openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: res.status, Header: res.header,
		Body:    io.NopCloser(bytes.NewReader(res.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}); err != nil {
		t.Errorf("%s %s: the answer breaks the contract: %v", r.method, r.path, err)
	}
	if res.status < 300 {
		c.mu.Lock()
		c.exercised[route.Operation.OperationID] = true
		c.mu.Unlock()
	}
	return res
}

func (r request) build(t *testing.T) *http.Request {
	t.Helper()
	var body io.Reader
	switch b := r.body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		must(t, err)
		body = bytes.NewReader(raw)
	}
	req := httptest.NewRequestWithContext(t.Context(), r.method, r.path, body)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	return req
}

func perform(handler http.Handler, req *http.Request) response {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	return response{w.Code, w.Header(), w.Body.Bytes()}
}

// want checks the status and decodes the body.
func want[T any](t *testing.T, res response, status int) T {
	t.Helper()
	var v T
	if res.status != status {
		t.Fatalf("status %d, want %d: %s", res.status, status, res.body)
	}
	if err := json.Unmarshal(res.body, &v); err != nil {
		t.Fatalf("%v: %s", err, res.body)
	}
	return v
}

// wantProblem checks that an answer is a problem about these fields and no others.
func wantProblem(t *testing.T, res response, status int, fields ...string) api.Problem {
	t.Helper()
	p := want[api.Problem](t, res, status)
	var got []string
	for _, f := range p.Errors {
		got = append(got, f.Field)
	}
	if fmt.Sprint(got) != fmt.Sprint(fields) {
		t.Errorf("the problem names %v, want %v: %s", got, fields, res.body)
	}
	if p.Detail == "" || p.Type == "" || !strings.HasPrefix(p.Instance, "urn:uuid:") {
		t.Errorf("the problem does not say everything: %s", res.body)
	}
	for _, secret := range []string{"SQLSTATE", "pgx", "postgres", "goroutine", "127.0.0.1", "INSERT"} {
		if strings.Contains(string(res.body), secret) {
			t.Errorf("the problem tells of the inside (%s): %s", secret, res.body)
		}
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
