package datastorage

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// strictly is how bodies are read: beside what package json/v2 refuses anyway
// (repeated members, invalid UTF-8, bytes after the value), unknown members and ids
// in another than the usual form.
var strictly = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.UnmarshalFunc(unmarshalID)),
)

func unmarshalID(raw []byte, id *uuid.UUID) error {
	if string(raw) == "null" {
		return nil // absent
	}
	if len(raw) != len(`"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`) || id.UnmarshalText(raw[1:len(raw)-1]) != nil || *id == uuid.Nil {
		return errors.New("is not a UUID like 6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	}
	return nil
}

// readJSON reads the body of a request strictly into v. The error is a *problem.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v, strictly); err != nil {
		return unreadable(err)
	}
	return nil
}

// readBody reads the whole body, decompressed, up to the limit.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, &problem{
			status: http.StatusUnsupportedMediaType, kind: "media-type",
			detail: "send the body as application/json and say so in Content-Type",
		}
	}
	limit := int64(s.limits.BodyBytes)
	var reader io.Reader = http.MaxBytesReader(w, r.Body, limit)
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		if reader, err = gzip.NewReader(reader); err != nil {
			return nil, invalid("the body is not gzip, although Content-Encoding says so")
		}
	default:
		return nil, &problem{
			status: http.StatusUnsupportedMediaType, kind: "media-type",
			detail: fmt.Sprintf("the content encoding %q is not known; send gzip or none", encoding),
		}
	}
	return s.readAll(r, reader, limit)
}

// smallBody is what a body may have without waiting for others.
const smallBody = 64 << 10

// readAll reads a body. A large one first waits until there is room beside the other
// large ones, so that many of them take no more memory than there is.
func (s *Server) readAll(r *http.Request, reader io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(reader, min(smallBody, limit+1)))
	if err == nil && len(body) == smallBody {
		if err := s.bodies.wait(r, limit); err != nil {
			return nil, err
		}
		var rest bytes.Buffer
		rest.Grow(int(min(max(r.ContentLength, smallBody), limit)))
		rest.Write(body)
		_, err = io.Copy(&rest, io.LimitReader(reader, limit+1-smallBody))
		body = rest.Bytes()
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge || int64(len(body)) > limit {
		return nil, s.tooLarge(fmt.Sprintf("the body has more than %d bytes; send less at once", limit))
	}
	if err != nil {
		return nil, &problem{status: http.StatusBadRequest, kind: "invalid", detail: "the body could not be read to its end", cause: err}
	}
	return body, nil
}

func (s *Server) tooLarge(detail string) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, kind: "too-large", detail: detail}
}

// unreadable turns an error of package json into an answer that names the field.
func unreadable(err error) *problem {
	field, message := "", err.Error()
	if s, ok := errors.AsType[*json.SemanticError](err); ok {
		field = fieldName(s.JSONPointer)
		message = semantic(s)
	}
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		field, message = fieldName(s.JSONPointer), fmt.Sprintf("is not valid JSON at byte %d: %v", s.ByteOffset, s.Err)
	}
	if field == "" {
		field = "body"
	}
	return invalid("the body is not what the contract says; see /openapi.yaml", api.FieldProblem{Field: field, Message: message})
}

func semantic(s *json.SemanticError) string {
	switch {
	case errors.Is(s.Err, json.ErrUnknownName):
		return "is not a member that the contract knows"
	case s.Err != nil:
		return s.Err.Error()
	}
	return fmt.Sprintf("cannot be a JSON %s", s.JSONKind)
}

// fieldName writes a JSON pointer as clients write fields: [3].labels.severity.
func fieldName(pointer jsontext.Pointer) string {
	var b strings.Builder
	for token := range pointer.Tokens() {
		switch {
		case strings.Trim(token, "0123456789") == "" && token != "":
			fmt.Fprintf(&b, "[%s]", token)
		case b.Len() == 0:
			b.WriteString(token)
		default:
			b.WriteString("." + token)
		}
	}
	return b.String()
}
