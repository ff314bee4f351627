package diagnose

import (
	"fmt"
	"slices"
	"strings"
)

// notOnTCP is a PostgreSQL that is ready and listens on its socket alone. Only
// what its newest start wrote counts, and a start for the first time has a
// server without network that is ended again.
func notOnTCP(c container) (Finding, bool) {
	lines := c.view.log(c.pod, c.spec.Name, false)
	ready := lastIndex(lines, "database system is ready to accept connections")
	start := lastIndex(lines, "starting PostgreSQL")
	if ready < 0 || c.status.State.Running == nil || ready < start {
		return Finding{}, false
	}
	lines = lines[max(start, 0):]
	socket := lastIndex(lines, "listening on Unix socket")
	if socket < 0 || lastIndex(lines, "listening on IPv4 address \"0.0.0.0\"") >= 0 || lastIndex(lines, "listening on IPv6 address \"::\"") >= 0 || lastIndex(lines, "received fast shutdown request") >= 0 {
		return Finding{}, false
	}
	where := "on no TCP address"
	if i := lastIndex(lines, "listening on IPv"); i >= 0 {
		where = lines[i][strings.Index(lines[i], "listening on"):] + " only"
		if !strings.Contains(lines[i], "127.0.0.1") && !strings.Contains(lines[i], "::1") {
			return Finding{}, false // an address of the pod
		}
	}
	f := Finding{
		Code: DatabaseNotOnTCP, Hopeless: true,
		Sentence: fmt.Sprintf("PostgreSQL of %s answers on its socket but not over TCP (%s): set listen_addresses = '*'", c.view.workload(c.pod), where),
		Evidence: []Evidence{c.logEvidence([]string{lines[socket], lines[lastIndex(lines, "database system is ready")]})},
		Next:     []string{kubectl(c.pod.Namespace, fmt.Sprintf("exec %s -c %s -- psql -c 'SHOW listen_addresses'", c.pod.Name, c.spec.Name))},
	}
	if s := c.status.State.Running; s != nil {
		f.Visible = s.StartedAt.Time
	}
	return c.found(f)
}

func lastIndex(lines []string, part string) int {
	for i, line := range slices.Backward(lines) {
		if strings.Contains(line, part) {
			return i
		}
	}
	return -1
}
