package link_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

func TestWaitLocal(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := open(t, nil)
		if err := h.AddVeth(link.Veth{Name: "a", PeerName: "b"}); err != nil {
			t.Fatal(err)
		}
		l := must[link.Link](t)(h.ByName("a"))
		if err := h.Set(l, link.Change{Up: true}); err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{"10.1.0.5/24", "fd00:1::5/64"} {
			p := netip.MustParsePrefix(address)
			if err := h.AddAddr(l, link.Addr{Prefix: p, NoDAD: true}); err != nil {
				t.Fatal(err)
			}
			for addr, want := range map[netip.Addr]string{
				p.Addr():                         "",
				p.Addr().Next():                  "address " + p.Addr().Next().String() + ": does not become usable: timed out", // a route leads there
				netip.MustParseAddr("fd00:9::1"): "address fd00:9::1: does not become usable: timed out",
			} {
				patience := time.Second
				if want != "" {
					patience = 5 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				err := h.WaitLocal(ctx, addr)
				cancel()
				if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("wait for %s: %v, want %q", addr, err, want)
				}
			}
		}
	})
}
