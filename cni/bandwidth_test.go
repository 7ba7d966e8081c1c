package cni_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam/cni"
)

func TestParseBandwidth(t *testing.T) {
	tests := []struct {
		in   string
		want cni.Bandwidth
		err  string
	}{
		{"ingress=10M", cni.Bandwidth{IngressRate: 10e6, IngressBurst: 1e6}, ""},
		{"egress=8k", cni.Bandwidth{EgressRate: 8000, EgressBurst: 2 * 1514 * 8}, ""},
		{"ingress=1G,ingress-burst=5M,egress=2T,egress-burst=7", cni.Bandwidth{IngressRate: 1e9, IngressBurst: 5e6, EgressRate: 2e12, EgressBurst: 7}, ""},
		{"ingress-burst=5M", cni.Bandwidth{}, "a burst without its rate"},
		{"", cni.Bandwidth{}, `"" is none of`},
		{"speed=1", cni.Bandwidth{}, `"speed" is none of`},
		{"ingress", cni.Bandwidth{}, `"" is no number`},
		{"ingress=0", cni.Bandwidth{}, `"0" is no number`},
		{"ingress=10m,egress=5K", cni.Bandwidth{IngressRate: 1e7, IngressBurst: 1e6, EgressRate: 5e3, EgressBurst: 24224}, ""},
		{"ingress=1kM", cni.Bandwidth{}, `unit "kM"`},
		{"ingress=99999999T", cni.Bandwidth{}, "is no number"},
	}
	for _, test := range tests {
		got, err := cni.ParseBandwidth(test.in)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("cni.ParseBandwidth(%q): %v, want an error with %q", test.in, err, test.err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("cni.ParseBandwidth(%q): %v (-want +got):\n%s", test.in, err, diff)
		}
	}
}
