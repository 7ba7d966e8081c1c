package nft_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
)

// What the records say is compared with what the kernel has, element by element.
func TestFaults(t *testing.T) {
	const rulesGone = "table inet seam, chain postrouting: rules are missing or changed"
	tests := []struct {
		name   string
		damage []string
		want   []string // of the masquerade, the port, the guard
	}{
		{"whole", nil, []string{"", "", ""}},
		{"table deleted", []string{"delete table inet seam"}, []string{"missing", "missing", ""}},
		{"elements flushed", []string{"flush map inet seam hostports4", "flush set bridge seam allowed"}, []string{"", "missing", "missing"}},
		{"rules flushed", []string{"flush chain inet seam postrouting"}, []string{rulesGone, rulesGone, ""}},
		{"other content", []string{"delete element inet seam hostports4 { tcp . 80 }", `add element inet seam hostports4 { tcp . 80 comment "net/a/eth0" : 10.1.0.9 . 80 }`},
			[]string{"", "changed", ""}},
	}
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		o := owner("a")
		must(t, table.Put(o, nft.Masquerade{Source: addr("10.1.0.2")}, web(80, "10.1.0.2:80"), guard))
		faults := func() []string {
			t.Helper()
			records, err := table.Owned(o.Tag)
			must(t, err)
			got, err := table.Faults(records[0])
			must(t, err)
			return got
		}
		for _, test := range tests {
			damage(t, test.damage)
			if diff := cmp.Diff(test.want, faults()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.name, diff)
			}
			must(t, table.Repair())
		}
		must(t, table.Put(owner("b"), nft.Masquerade{Source: addr("10.1.0.2")}))
		if got := faults(); !slices.Equal(got, []string{"another's: " + string(owner("b").Tag), "", ""}) {
			t.Errorf("taken over: %s", strings.Join(got, "; "))
		}
	})
}
