package main

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/servers"
)

// TestWhoFollowsDoesNotHoldUpTheEnd: a feed has no end of its own; when the service is
// asked to end, it ends in good order, long before the grace for requests is over.
func TestWhoFollowsDoesNotHoldUpTheEnd(t *testing.T) {
	_, service := migrated(t, servers.StartPostgreSQL(t))
	p := newProgram(t, service, "")
	p.start()
	p.await("/health/ready", http.StatusOK)
	res, err := http.Get(p.url() + "/api/v1/audit/events/feed")
	must(t, err)
	defer res.Body.Close()
	feed := bufio.NewReader(res.Body)
	first, err := feed.ReadString('\n')
	must(t, err)
	if !strings.HasPrefix(first, "id: ") {
		t.Errorf("the feed begins with %q", first)
	}
	start := time.Now()
	must(t, p.end())
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the service took %s to end, 15s are for requests", took)
	}
	if rest, err := io.ReadAll(feed); err != nil || strings.Contains(string(rest), "problem") {
		t.Errorf("the feed broke off: %v, %q", err, rest)
	}
}
