package seam

import (
	"testing"

	"github.com/seamnet/seam/cni"
)

// BenchmarkAttachDetach measures what the runtime adds to its plugins' work.
func BenchmarkAttachDetach(b *testing.B) {
	bench := newBench(b, b.TempDir())
	bench.Plugins = cni.Registry{"a": silent{}, "b": silent{}, "c": silent{}}
	for b.Loop() {
		if _, err := bench.Attach(b.Context(), bench.network, container("c1")); err != nil {
			b.Fatal(err)
		}
		if err := bench.Detach(b.Context(), bench.network, container("c1")); err != nil {
			b.Fatal(err)
		}
	}
}
