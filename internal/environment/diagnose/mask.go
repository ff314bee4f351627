package diagnose

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Masked stands where a secret value stood.
const Masked = "***"

// shortest is the length below which a value is not looked for in text: it would
// be found everywhere and tell nothing.
const shortest = 5

// Mask takes secrets out of texts: values that are known, and what has the form
// of one.
type Mask struct{ replace *strings.Replacer }

// NewMask masks the values, also as they look in URLs, in base64, and line by line.
func NewMask(values []string) Mask {
	var all []string
	for _, v := range values {
		for _, form := range append(strings.Split(v, "\n"), v, escaped(v), base64.StdEncoding.EncodeToString([]byte(v))) {
			if form = strings.TrimSpace(form); len(form) >= shortest {
				all = append(all, form)
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) }) // no part of one is left by another
	var pairs []string
	for _, v := range slices.Compact(all) {
		pairs = append(pairs, v, Masked)
	}
	return Mask{strings.NewReplacer(pairs...)}
}

// escaped is the value as it stands in a URL.
func escaped(value string) string {
	var out strings.Builder
	for _, b := range []byte(value) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', strings.IndexByte("-._~", b) >= 0:
			out.WriteByte(b)
		default:
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}

// forms are what secrets look like where their value is not known.
var forms = []struct {
	text *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), Masked},
	{regexp.MustCompile(`(://[^/\s:@"']*:)[^@/\s"']+@`), "${1}" + Masked + "@"},
	{regexp.MustCompile(`(?i)(\b(?:pass(?:word|wd)?|pgpassword|secret|token|api[_-]?key)["']?\s*[=:]\s*["']?)[^\s"',;&]+`), "${1}" + Masked},
	{regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{8,}=*`), "${1}" + Masked},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*`), Masked},
}

// Text returns the text without secrets.
func (m Mask) Text(text string) string {
	if m.replace != nil {
		text = m.replace.Replace(text)
	}
	for _, f := range forms {
		text = f.text.ReplaceAllString(text, f.with)
	}
	return text
}

// Lines returns the lines without secrets.
func (m Mask) Lines(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	// A key may go over several lines.
	return strings.Split(m.Text(strings.Join(lines, "\n")), "\n")
}

// Values returns the decoded JSON value with every text in it masked.
func (m Mask) Values(value any) any {
	switch v := value.(type) {
	case string:
		return m.Text(v)
	case []any:
		for i := range v {
			v[i] = m.Values(v[i])
		}
	case map[string]any:
		for key := range v {
			if text, ok := v[key].(string); ok && nonText[key] {
				v[key] = text
				continue
			}
			v[key] = m.Values(v[key])
		}
		hideLiteral(v)
	}
	return value
}

// nonText are fields of Kubernetes' own that hold names, never secrets.
var nonText = map[string]bool{
	"name": true, "namespace": true, "kind": true, "apiVersion": true, "uid": true, "secretName": true, "claimName": true,
	"image": true, "imageID": true, "containerID": true, "reason": true, "key": true, "type": true, "serviceAccountName": true, "serviceAccount": true,
}

var secretName = regexp.MustCompile(`(?i)(pass(word|wd)?|secret|token|api_?key|private_?key|credential)s?$`)

// hideLiteral masks the value of an environment variable whose name says that
// it is a secret.
func hideLiteral(entry map[string]any) {
	name, named := entry["name"].(string)
	value, valued := entry["value"].(string)
	if named && valued && value != "" && secretName.MatchString(name) {
		entry["value"] = Masked
	}
}
