package main

import (
	"io"
	"slices"
	"testing"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/image"
)

// BenchmarkImage measures what is in the image of Data Storage, unpacked, beside its
// limit.
func BenchmarkImage(b *testing.B) {
	cache, err := build.Open()
	must(b, err)
	recipes := image.Recipes()
	of := slices.IndexFunc(recipes, func(r image.Recipe) bool { return r.Name == image.DataStorage })
	for b.Loop() {
		img, err := image.Store{Programs: cache}.Image(b.Context(), recipes[of], func(string) {})
		must(b, err)
		layers, err := img.Layers()
		must(b, err)
		bytes := int64(0)
		for _, layer := range layers {
			content, err := layer.Uncompressed()
			must(b, err)
			n, err := io.Copy(io.Discard, content)
			must(b, err)
			must(b, content.Close())
			bytes += n
		}
		b.ReportMetric(float64(bytes)/(1<<20), "MiB(limit=40)")
	}
}
