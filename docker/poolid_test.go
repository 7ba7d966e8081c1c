package docker

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cnm"
)

var netipValues = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestPoolID(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, test := range []struct {
		id   cnm.PoolID
		want poolName
		book string
	}{
		{"seam:prod|10.1.0.0/16", poolName{"prod", prefix("10.1.0.0/16"), netip.Prefix{}}, "prod"},
		{"seam:prod|10.1.0.0/16|10.1.4.0/24", poolName{"prod", prefix("10.1.0.0/16"), prefix("10.1.4.0/24")}, "prod"},
		{"pool:10.210.0.0/24", poolName{"", prefix("10.210.0.0/24"), netip.Prefix{}}, "docker-pool-10.210.0.0-24"},
		{"pool:fd00:1::/64|fd00:1::8000/113", poolName{"", prefix("fd00:1::/64"), prefix("fd00:1::8000/113")}, "docker-pool-fd00_1__-64"},
	} {
		got, err := parsePool(test.id)
		if err != nil {
			t.Errorf("%s: %v", test.id, err)
			continue
		}
		if diff := cmp.Diff(test.want, got, netipValues); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.id, diff)
		}
		if got.book() != test.book || got.ID() != test.id {
			t.Errorf("%s: book %s, ID %s; want book %s", test.id, got.book(), got.ID(), test.book)
		}
	}
}

func TestPoolIDRefused(t *testing.T) {
	for id, want := range map[cnm.PoolID]string{
		"":                                  "begins neither",
		"LocalDefault/10.1.0.0/16":          "begins neither",
		"seam:10.1.0.0/16":                  "names no network",
		"seam:../etc|10.1.0.0/16":           "names no network",
		"seam:prod|":                        "names no subnet",
		"seam:prod|10.1.0.1/16":             "names no subnet",
		"seam:prod|10.1.0.0/016":            "names no subnet",
		"pool:::ffff:10.1.0.0/112":          "names no subnet",
		"pool:fd00:0::/64":                  "another way",
		"pool:10.1.0.0/16|":                 "names a range",
		"pool:10.1.0.0/16|10.2.0.0/24":      "names a range",
		"pool:10.1.0.0/16|10.0.0.0/8":       "names a range",
		"pool:10.1.0.0/16|10.1.0.0/24|more": "names a range",
	} {
		if p, err := parsePool(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want an error with %q", id, p, err, want)
		}
	}
}

// What is understood is printed in the same words, and leads to no other folder.
func FuzzPoolID(f *testing.F) {
	for _, seed := range []string{"seam:prod|10.1.0.0/16|10.1.4.0/24", "pool:fd00::/64", "pool:10.1.0.0/16|", "seam:a|b|c", "pool:0.0.0.0/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePool(cnm.PoolID(text))
		if err != nil {
			return
		}
		if string(p.ID()) != text {
			t.Errorf("%q is printed as %q", text, p.ID())
		}
		if strings.ContainsAny(p.book(), "/\x00") || p.book() == "" || p.book()[0] == '.' {
			t.Errorf("%q: book %q", text, p.book())
		}
	})
}
