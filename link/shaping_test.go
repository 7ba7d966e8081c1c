package link_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// A rate is read back from whichever discipline was made for it.
func TestShaping(t *testing.T) {
	bucket := link.TBF{Rate: 125000, Burst: 15000, Latency: 25 * time.Millisecond}
	filter := link.Filter{Subnet: netip.MustParsePrefix("10.0.0.0/8"), Source: true, Shaped: true}
	tests := []struct {
		name  string
		add   func(*link.Handle, link.Link) error
		qdisc string
		rate  uint64
	}{
		{"none", func(*link.Handle, link.Link) error { return nil }, "", 0},
		{"tbf", func(h *link.Handle, l link.Link) error { return h.AddTBF(l, bucket) }, "tbf", 125000},
		{"htb", func(h *link.Handle, l link.Link) error { return h.AddHTB(l, bucket, false, []link.Filter{filter}) }, "htb", 125000},
	}
	netnstest.Host(t, func(t *testing.T) {
		h, err := link.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		for _, test := range tests {
			if err := h.AddVeth(link.Veth{Name: test.name, PeerName: test.name + "0"}); err != nil {
				t.Fatal(err)
			}
			l, err := h.ByName(test.name)
			if err != nil {
				t.Fatal(err)
			}
			if err := test.add(h, l); err != nil {
				t.Fatal(err)
			}
			qdisc, rate, err := h.Shaping(l)
			if err != nil || qdisc != test.qdisc || rate != test.rate {
				t.Errorf("%s: %q, %d, %v, want %q, %d", test.name, qdisc, rate, err, test.qdisc, test.rate)
			}
		}
	})
}
