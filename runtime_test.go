package seam

import "testing"

func TestRunDir(t *testing.T) {
	tests := []struct {
		rt   Runtime
		want string
	}{
		{Runtime{}, "/run/seam"},
		{Runtime{CacheDir: "/var/lib/cni/"}, "/run/seam"},
		{Runtime{CacheDir: "/elsewhere"}, "/elsewhere/seam"},
		{Runtime{CacheDir: "/elsewhere", RunDir: "/run/elsewhere"}, "/run/elsewhere"},
	}
	for _, tt := range tests {
		if got := tt.rt.runDir(); got != tt.want {
			t.Errorf("with CacheDir %q and RunDir %q: %s, want %s", tt.rt.CacheDir, tt.rt.RunDir, got, tt.want)
		}
	}
}
