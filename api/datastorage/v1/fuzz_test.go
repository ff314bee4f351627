package datastorage

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// FuzzMessages reads any bytes as server-sent events: however they arrive, they say the
// same, and no more than there is.
func FuzzMessages(f *testing.F) {
	for _, seed := range []string{
		"id: a\nevent: audit\ndata: {}\n\n", ": hello\n\n", "data:a\r\ndata:\r\ndata: b\r\n\r\n", "id\ndata\n\n", "id: a", "\n\n\n", "data: x\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole, wholeErr := collect(bytes.NewReader(raw))
		slowly, slowlyErr := collect(iotest.OneByteReader(bytes.NewReader(raw)))
		if diff := cmp.Diff(whole, slowly, cmp.AllowUnexported(sent{})); diff != "" || (wholeErr == nil) != (slowlyErr == nil) {
			t.Errorf("%q: %v, and byte by byte %v (-whole +slowly):\n%s", raw, wholeErr, slowlyErr, diff)
		}
		size := 0
		for _, m := range whole {
			size += len(m.data)
		}
		if size > len(raw) {
			t.Errorf("%q has %d bytes of data", raw, size)
		}
	})
}

// collect is all messages up to the first error.
func collect(r io.Reader) (all []sent, err error) {
	for m, err := range messages(r) {
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}
