package main

import "testing"

// FuzzParseBandwidth holds that what is taken is whole: a burst with each rate, as the
// plugin wants both, and no burst without one.
func FuzzParseBandwidth(f *testing.F) {
	for _, s := range []string{"ingress=10M,egress=5M", "ingress=500k,ingress-burst=1M", "egress-burst=1", "ingress=", "=", "ingress=18446744073709551615T"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := parseBandwidth(s)
		if err != nil {
			if exitOf(err) != exitUsage {
				t.Errorf("%q: %v: exit code %d, want %d", s, err, exitOf(err), exitUsage)
			}
			return
		}
		if (b.IngressRate == 0) != (b.IngressBurst == 0) || (b.EgressRate == 0) != (b.EgressBurst == 0) || b.IngressRate+b.EgressRate == 0 {
			t.Errorf("%q became %+v", s, b)
		}
	})
}
