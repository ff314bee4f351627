package diagnose

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// saying is a line with which a program itself tells a cause. Programs write
// them in many words, the same ones for years.
type saying struct {
	code  Code
	text  *regexp.Regexp
	tell  func(teller, []string) Finding // completes the finding; m are the groups of text
	needs bool                           // true: waiting may help, what it needs can still come
}

// teller is who said it: a container, or a step of the plan.
type teller struct {
	who   string
	view  *view
	from  container // zero for a step
	lines []string
	at    int // of the line in lines
}

// sayings are tried in this order on all lines, the newest line first.
var sayings = []saying{
	{code: SQLFailed, text: regexp.MustCompile(`^psql:([^: ]+):(\d+): ERROR:\s+(.*)`), tell: sqlFailed},
	{code: MigrationFailed, text: regexp.MustCompile(`partial migration error \(type:\w+,version:(\d+)\): (.*)`), tell: migrationFailed},
	{code: WrongPassword, text: regexp.MustCompile(`password authentication failed for user \\?"([^"\\]+)\\?"`), tell: wrongPassword},
	{code: WrongPassword, text: regexp.MustCompile(`(WRONGPASS|NOAUTH) `), tell: wrongPassword},
	{code: CertificateExpired, text: regexp.MustCompile(`certificate has expired(?: or is not yet valid)?(.*)`), tell: expired},
	{code: CertificateOtherName, text: regexp.MustCompile(`certificate is valid for (.+?), not ([^ "\\]+)|does not match(?:.*)(?:host ?name|requested host)`), tell: otherName},
	{code: AuthorityUnknown, text: regexp.MustCompile(`certificate signed by unknown authority|certificate verify failed|unable to get local issuer certificate|self.signed certificate`), tell: unknownAuthority},
	{code: HostUnknown, text: regexp.MustCompile(`lookup ([^ :]+)(?: on [^ ]+)?: (?:no such host|server misbehaving|.*i/o timeout|.*connection refused)`), tell: hostUnknown, needs: true},
	{code: HostUnknown, text: regexp.MustCompile(`could not translate host name "([^"]+)"`), tell: hostUnknown, needs: true},
	{code: HostUnknown, text: regexp.MustCompile(`(?i)(?:could not resolve(?: host)?:?|bad address|can't resolve|getaddrinfo \w+|unknown host:?|unable to resolve) '?"?([\w.-]+)`), tell: hostUnknown, needs: true},
	{code: DiskFull, text: regexp.MustCompile(`(?i)no space left on device`), tell: diskFull},
	{code: PortInUse, text: regexp.MustCompile(`port (\d+) on ([\d.]+) is in use`), tell: portInUse},
	{code: PortInUse, text: regexp.MustCompile(`(?i)(?:listen|bind).*?:(\d+)\b.*address already in use`), tell: portInUse},
	{code: PeerRefuses, text: regexp.MustCompile(`connection to server at "([^"]+)"[^:]*port (\d+) failed: (?:Connection refused|No route)`), tell: refused, needs: true},
	{code: PeerRefuses, text: regexp.MustCompile(`can't connect to remote host \(?([\d.]+)\)?: Connection refused`), tell: refused, needs: true},
	{code: PeerRefuses, text: regexp.MustCompile(`host=([\w.-]+) .*(?:connection refused|no route to host)`), tell: refused, needs: true},
	{code: PeerRefuses, text: regexp.MustCompile(`(?:dial tcp|connect to) \[?([\w.-]+)\]?[: ](?:port )?(\d+)\b.*?(?:[Cc]onnection refused|no route to host|i/o timeout)`), tell: refused, needs: true},
}

// recent is how many of a container's last lines speak of its present trouble.
const recent = 40

// said is a container whose log tells the cause.
func said(c container) (Finding, bool) {
	if c.well() {
		return Finding{}, false
	}
	t := teller{who: fmt.Sprintf("container %s of %s", c.spec.Name, c.view.workload(c.pod)), view: c.view, from: c, lines: lastOf(c.lines(), recent)}
	f, ok := t.told()
	if !ok {
		return Finding{}, false
	}
	end, ended := c.ended()
	if ended {
		f.Visible = end.FinishedAt.Time
		f.Hopeless = c.again()
		f.Evidence = append(f.Evidence, c.state())
	} else {
		f.Hopeless = false // it still tries
	}
	return c.found(f)
}

// told finds the first saying of the table that any line matches.
func (t teller) told() (Finding, bool) {
	for _, s := range sayings {
		for i := len(t.lines) - 1; i >= 0; i-- {
			m := s.text.FindStringSubmatch(t.lines[i])
			if m == nil {
				continue
			}
			t.at = i
			f := s.tell(t, m)
			if f.Code == "" {
				f.Code = s.code
			}
			f.Hopeless = !s.needs
			if len(f.Evidence) == 0 || f.merge != "" {
				f.Evidence = append([]Evidence{{From: "log of " + t.who, Text: shorten(t.lines[i], 400)}}, f.Evidence...)
			}
			return f, true
		}
	}
	return Finding{}, false
}

// tlsOrDisk is what a text says about certificates or disks, or nothing.
func tlsOrDisk(text string) Code {
	for _, s := range sayings {
		switch s.code {
		case CertificateExpired, CertificateOtherName, AuthorityUnknown, DiskFull:
			if s.text.MatchString(text) {
				return s.code
			}
		}
	}
	return ""
}

// sqlFailed tells the statement with the line: from the file, where the pod has
// it from a ConfigMap, else from what psql quotes.
func sqlFailed(t teller, m []string) Finding {
	file, line, message := m[1], m[2], m[3]
	f := Finding{
		Sentence: fmt.Sprintf("%s: the SQL in %s fails at line %s: %s", t.who, file, line, message),
		Evidence: []Evidence{{From: "log of " + t.who, Text: strings.Join(t.lines[t.at:min(len(t.lines), t.at+3)], "\n")}},
	}
	if source, text := t.statement(file, line); text != "" {
		f.Sentence += "; the statement is: " + shorten(text, 200)
		f.Evidence = append(f.Evidence, Evidence{From: source, Text: text})
	}
	return f
}

// statement finds the line of the file in the ConfigMaps of the namespace.
func (t teller) statement(file, line string) (source, text string) {
	key := file[strings.LastIndex(file, "/")+1:]
	var number int
	if _, err := fmt.Sscan(line, &number); err != nil || t.from.pod == nil {
		return "", ""
	}
	for _, u := range t.view.kind("ConfigMap", t.from.pod.Namespace) {
		content := decode[corev1.ConfigMap](u).Data[key]
		lines := strings.Split(content, "\n")
		if content != "" && number >= 1 && number <= len(lines) {
			return fmt.Sprintf("line %d of key %q of ConfigMap %q", number, key, u.GetName()), statementAt(lines, number-1)
		}
	}
	return "", ""
}

// statementAt is the statement that ends at or after the line: psql counts the
// line on which it began to fail, a statement may have begun before.
func statementAt(lines []string, at int) string {
	from := at
	for from > 0 && !strings.HasSuffix(strings.TrimSpace(lines[from-1]), ";") && strings.TrimSpace(lines[from-1]) != "" {
		from--
	}
	to := at
	for to < len(lines)-1 && !strings.HasSuffix(strings.TrimSpace(lines[to]), ";") {
		to++
	}
	return strings.TrimSpace(strings.Join(lines[from:to+1], "\n"))
}

func migrationFailed(t teller, m []string) Finding {
	return Finding{
		Sentence: fmt.Sprintf("%s: migration %s of the database fails, those before it are applied: %s", t.who, m[1], shorten(strings.TrimRight(m[2], `"}`), 300)),
		merge:    m[1],
	}
}

func wrongPassword(t teller, m []string) Finding {
	user := m[1]
	if user == "WRONGPASS" || user == "NOAUTH" {
		user = "default"
	}
	f := Finding{Sentence: fmt.Sprintf("%s logs in to the database as %q with a password that is not that user's", t.who, user)}
	if from := t.passwords(); len(from) > 0 {
		f.Sentence += "; it has it from " + describeAll(from)
		f.Evidence = append(f.Evidence, Evidence{From: "log of " + t.who, Text: shorten(t.lines[t.at], 400)}, Evidence{From: "environment of " + t.who, Text: describeAll(from)})
		f.Next = []string{kubectl(from[0].Namespace, "describe secret "+from[0].Name)}
	}
	return f
}

// passwords are the keys of Secrets that the container has in its environment.
func (t teller) passwords() []plan.Object {
	var all []plan.Object
	if t.from.pod == nil {
		return nil
	}
	for _, e := range t.from.spec.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			ref := e.ValueFrom.SecretKeyRef
			all = append(all, plan.Object{Kind: "Secret", Namespace: t.from.pod.Namespace, Name: ref.Name, Key: ref.Key})
		}
	}
	return all
}

func diskFull(t teller, _ []string) Finding {
	f := Finding{Sentence: t.who + " cannot write: the disk or volume it writes to is full"}
	if t.from.pod != nil {
		f.blames = []plan.Object{{Kind: "Node", Name: t.from.pod.Spec.NodeName}}
	}
	return f
}

func portInUse(t teller, m []string) Finding {
	f := Finding{Sentence: fmt.Sprintf("%s wants port %s, which another program has already", t.who, m[1])}
	if t.from.pod == nil {
		f.Next = []string{"ss -ltnp sport = :" + m[1], "kubernaut env up --port 0"}
	}
	return f
}

// refused is a peer that does not take connections. Which Service it is tells
// whether that is a consequence of something else.
func refused(t teller, m []string) Finding {
	peer := m[1]
	if len(m) > 2 && m[2] != "" {
		peer += ":" + m[2]
	}
	return Finding{
		Sentence: fmt.Sprintf("%s cannot reach %s: nothing takes connections there", t.who, peer),
		blames:   t.view.servicesAt(m[1]), merge: peer,
	}
}

// hostUnknown is a name that DNS does not know: of a Service that does not
// exist, or of one that does while DNS is not well.
func hostUnknown(t teller, m []string) Finding {
	host := strings.TrimSuffix(m[1], ".")
	f := Finding{Sentence: fmt.Sprintf("%s asks for the host name %q, which does not resolve", t.who, host), merge: host}
	home := ""
	if t.from.pod != nil {
		home = t.from.pod.Namespace
	}
	o, inCluster := serviceOf(host, home)
	switch _, exists := t.view.objects[o]; {
	case !inCluster:
	case exists:
		f.Sentence += fmt.Sprintf(", though %s exists: the cluster's DNS does not answer for it", o)
		f.Next = []string{kubectl("kube-system", "get pods")}
	case t.view.looked(o.Namespace) && t.view.readable("Service"):
		f.Sentence += fmt.Sprintf(": there is no Service %q in %s%s", o.Name, o.Namespace, similar(o, t.view.names("Service", o.Namespace)))
		f.Next = []string{kubectl(o.Namespace, "get services")}
	}
	f.blames = append(t.view.dns(), plan.Object{Kind: "DNS", Name: "cluster.local"})
	return f
}

// dns are the Services that answer for names.
func (v *view) dns() []plan.Object {
	var all []plan.Object
	for _, s := range v.services {
		for _, p := range s.Spec.Ports {
			if p.Port == 53 {
				all = append(all, serviceObject(s))
				break
			}
		}
	}
	return all
}

// serviceOf reads a host name as that of a Service, from a pod in namespace home.
func serviceOf(host, home string) (plan.Object, bool) {
	host, _, _ = strings.Cut(host, ":")
	parts := strings.Split(strings.TrimSuffix(host, ".cluster.local"), ".")
	o := plan.Object{Kind: "Service", Namespace: home, Name: parts[0]}
	if len(parts) > 1 {
		o.Namespace = parts[1]
	}
	switch {
	case len(parts) == 1:
		return o, home != "" && host != "localhost"
	case len(parts) == 2:
		return o, true
	}
	return o, parts[2] == "svc"
}

// servicesAt are the Services that a host name or address stands for.
func (v *view) servicesAt(host string) []plan.Object {
	bare, _, _ := strings.Cut(host, ":")
	var all []plan.Object
	for _, s := range v.services {
		o, ok := serviceOf(bare, s.Namespace)
		if ok && o == serviceObject(s) || s.Spec.ClusterIP == bare {
			all = append(all, serviceObject(s))
		}
	}
	return all
}
