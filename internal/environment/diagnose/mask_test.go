package diagnose

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMask(t *testing.T) {
	m := NewMask([]string{"hunter2-and-more", "hunter2", "two\nlines-of-it", "ab", "p@ss/word"})
	for in, want := range map[string]string{
		"login with hunter2-and-more":               "login with ***",
		"login with hunter2":                        "login with ***",
		"to db with p%40ss%2Fword":                  "to db with ***",
		"lines-of-it":                               "***",
		"aHVudGVyMg==":                              "***",
		"ab stays, it would be found everywhere":    "ab stays, it would be found everywhere",
		"postgres://app:s3cr3t@db:5432/x":           "postgres://app:***@db:5432/x",
		"password=letmein user=app":                 "password=*** user=app",
		`{"token": "abcdef"}`:                       `{"token": "***"}`,
		"Authorization: Bearer abcdefgh.ijkl":       "Authorization: Bearer ***",
		`secret "database" not found`:               `secret "database" not found`,
		"couldn't find key url in Secret shop/data": "couldn't find key url in Secret shop/data",
		"-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nnext": "***\nnext",
	} {
		if diff := cmp.Diff(want, m.Text(in)); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

func TestMaskOfObjects(t *testing.T) {
	m := NewMask([]string{"hunter2"})
	got := m.Values(map[string]any{
		"name": "hunter2-app", "args": []any{"--login=hunter2"},
		"env": []any{map[string]any{"name": "DB_PASSWORD", "value": "literal"}, map[string]any{"name": "LEVEL", "value": "info"}},
	})
	want := map[string]any{
		"name": "hunter2-app", "args": []any{"--login=***"},
		"env": []any{map[string]any{"name": "DB_PASSWORD", "value": "***"}, map[string]any{"name": "LEVEL", "value": "info"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBundleIsTheSameForTheSameSnapshot(t *testing.T) {
	var s Snapshot
	read(t, "testdata/recorded/crash.yaml", &s)
	var one, two bytes.Buffer
	for _, w := range []io.Writer{&one, &two} {
		if err := Bundle(w, s, map[string][]byte{"journal.jsonl": []byte("{}\n")}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two bundles of one snapshot differ")
	}
	names := unpack(t, &one)
	for _, want := range []string{"diagnosis/diagnosis.txt", "diagnosis/diagnosis.json", "diagnosis/snapshot.json", "diagnosis/journal.jsonl", "diagnosis/objects/shop/deployment/web.yaml"} {
		if _, ok := names[want]; !ok {
			t.Errorf("the bundle has no %s", want)
		}
	}
	if !strings.HasPrefix(names["diagnosis/diagnosis.txt"], "ContainerCrash: ") {
		t.Errorf("diagnosis.txt: %s", names["diagnosis/diagnosis.txt"])
	}
}

func unpack(t *testing.T, from io.Reader) map[string]string {
	t.Helper()
	packed, err := gzip.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(packed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(raw)
	}
}
