package image

import (
	"crypto/sha256"
	"encoding/hex"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// plainLayer is a layer that is not compressed: it is written and unpacked at
// the speed of the disk, and its digest depends on no compressor's version.
// Its content is streamed anew at each reading and kept nowhere.
type plainLayer struct {
	content func(io.Writer) error
	hash    v1.Hash
	size    int64
}

var _ v1.Layer = (*plainLayer)(nil)

func newLayer(content func(io.Writer) error) (*plainLayer, error) {
	sum := sha256.New()
	count := &counter{w: sum}
	if err := content(count); err != nil {
		return nil, err
	}
	hash := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return &plainLayer{content: content, hash: hash, size: count.n}, nil
}

func (l *plainLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l *plainLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l *plainLayer) Size() (int64, error)                 { return l.size, nil }
func (l *plainLayer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
func (l *plainLayer) Compressed() (io.ReadCloser, error)   { return l.Uncompressed() }
func (l *plainLayer) Uncompressed() (io.ReadCloser, error) { return stream(l.content), nil }

// stream turns a writer of content into a reader of it.
func stream(content func(io.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(content(w)) }()
	return r
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
