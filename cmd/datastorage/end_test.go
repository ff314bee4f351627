package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/test/servers"
)

// TestReadinessIsOffWhileRequestsFinish asks the service to end in the middle of a
// request: it says that it is not ready, and answers what is under way.
func TestReadinessIsOffWhileRequestsFinish(t *testing.T) {
	_, service := migrated(t, servers.StartPostgreSQL(t))
	p := newProgram(t, service, "")
	config := fmt.Sprintf("listen: %q\nauth: none\nshutdown: {drain: 3s}\n", p.address)
	must(t, os.WriteFile(p.config, []byte(config), 0o600))
	p.start()
	p.await("/health/ready", http.StatusOK)

	event, err := json.Marshal(api.AuditEvent{
		EventID: uuid.New(), Version: "1", EventType: "test.done", EventCategory: "test", EventAction: "done", EventOutcome: api.EventOutcomeSuccess,
		EventTimestamp: time.Now(), CorrelationID: "case-1", EventData: json.RawMessage(`{}`),
	})
	must(t, err)
	body, rest := io.Pipe()
	reading, answered := make(chan struct{}), make(chan int, 1)
	go func() { answered <- p.record(body, func() { close(reading) }) }()
	select {
	case <-reading:
	case status := <-answered:
		t.Fatalf("answered with %d before it was sent", status)
	}

	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	ready := p.status("/health/ready")
	for ready == http.StatusOK { // until the service ends
		ready = p.status("/health/ready")
	}
	if ready != http.StatusServiceUnavailable {
		t.Errorf("/health/ready is %d while the service ends, want 503", ready)
	}
	_, err = rest.Write(event)
	must(t, err)
	must(t, rest.Close())
	if status := <-answered; status != http.StatusCreated {
		t.Errorf("the request under way was answered with %d", status)
	}
	p.cmd = nil
	if err := <-p.ended; err != nil {
		t.Errorf("the service ended with %v", err)
	}
}

// record sends an event and returns the status of the answer, 0 when there was none.
// It says when the service begins to read the event.
func (p *program) record(event io.Reader, reading func()) int {
	ctx := httptrace.WithClientTrace(p.t.Context(), &httptrace.ClientTrace{Got100Continue: reading})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url()+"/api/v1/audit/events", event)
	if err != nil {
		p.t.Error(err)
		return 0
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Expect", "100-continue")
	client := http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	defer client.CloseIdleConnections()
	res, err := client.Do(r)
	if err != nil {
		p.t.Error(err)
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// TestPartitionsAreMadeAhead starts the service on a database without the partition
// of three months from now.
func TestPartitionsAreMadeAhead(t *testing.T) {
	owner, service := migrated(t, servers.StartPostgreSQL(t))
	conn, err := pgx.Connect(t.Context(), owner)
	must(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var partition string
	must(t, conn.QueryRow(t.Context(), "SELECT max(partition) FROM audit_months").Scan(&partition))
	_, err = conn.Exec(t.Context(), "DROP TABLE "+partition)
	must(t, err)
	p := newProgram(t, service, "")
	p.start()
	for deadline := time.Now().Add(time.Minute); ; {
		var last string
		must(t, conn.QueryRow(t.Context(), "SELECT max(partition) FROM audit_months").Scan(&last))
		if last == partition {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the last partition is %s after a minute, want %s", last, partition)
		}
		<-time.After(20 * time.Millisecond)
	}
}
