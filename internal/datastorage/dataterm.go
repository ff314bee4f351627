package datastorage

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"kubernaut.ai/kubernaut/internal/audit"
)

// parseDataTerm reads one event_data filter: a path, and what it is compared with.
//
//	workflow.workflow_id=increase-memory
//	labels."app.kubernetes.io/name"=web
//	failure.exit_code>=128
//	skip
func parseDataTerm(text string) (DataTerm, error) {
	var t DataTerm
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return t, errors.New("is not valid text")
	}
	rest := text
	for {
		name, after, err := cutName(rest)
		if err != nil {
			return t, err
		}
		if t.Path = append(t.Path, name); len(t.Path) > audit.MaxDataDepth {
			return t, errors.New("has a path deeper than event_data can be")
		}
		var more bool
		if rest, more = strings.CutPrefix(after, "."); !more {
			break
		}
	}
	return t, t.compareWith(rest)
}

// cutName takes the first name off a path.
func cutName(path string) (name, rest string, err error) {
	if strings.HasPrefix(path, `"`) {
		return cutQuoted(path)
	}
	end := strings.IndexFunc(path, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
	if end < 0 {
		end = len(path)
	}
	if end == 0 {
		return "", "", errors.New(`must be a path like workflow.workflow_id, with a comparison or without; names with other characters than letters, digits, "_" and "-" stand in double quotes`)
	}
	return path[:end], path[end:], nil
}

// cutQuoted takes a name that is written as a JSON string.
func cutQuoted(path string) (name, rest string, err error) {
	dec := json.NewDecoder(strings.NewReader(path))
	if dec.Decode(&name) != nil || strings.ContainsRune(name, 0) {
		return "", "", errors.New("has a name in double quotes that is no JSON string")
	}
	return name, path[dec.InputOffset():], nil
}

// compareWith reads what stands after the path.
func (t *DataTerm) compareWith(text string) error {
	if text == "" {
		return nil
	}
	for _, op := range []DataOp{OpAtLeast, OpAtMost, OpAbove, OpBelow, OpIs} { // the longer ones first
		value, ok := strings.CutPrefix(text, string(op))
		if !ok {
			continue
		}
		if t.Op = op; op == OpIs {
			t.Text = value
			return nil
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsInf(number, 0) || math.IsNaN(number) {
			return errors.New("compares with something that is not a number")
		}
		t.Number = number
		return nil
	}
	return errors.New("must go on with =, >=, <=, > or < after the path")
}
