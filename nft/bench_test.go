package nft_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
)

// TestSpeed prints what a Put and a Drop cost with few and with many others there.
// It asserts nothing: SEAM_SPEED=1 go test -v -run Speed.
func TestSpeed(t *testing.T) {
	if os.Getenv("SEAM_SPEED") == "" {
		t.Skip("prints times: set SEAM_SPEED=1")
	}
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		elements := func(i int) []nft.Element {
			ip := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
			return []nft.Element{
				nft.Masquerade{Source: ip, Except: prefixes("10.1.0.0/16")},
				nft.Forward{Protocol: nft.TCP, HostPort: uint16(1000 + i), To: netip.AddrPortFrom(ip, 80)},
				nft.Hairpin{To: ip, Sources: prefixes("10.1.0.0/16", "127.0.0.0/8")},
			}
		}
		next := 0
		for _, present := range []int{1, 1000} {
			for ; next < present; next++ {
				must(t, table.Put(owner(fmt.Sprint(next)), elements(next)...))
			}
			for n, some := range map[string][]nft.Element{"masquerade": elements(5000)[:1], "masquerade and a port": elements(5000)} {
				r := testing.Benchmark(func(b *testing.B) {
					for b.Loop() {
						must(b, table.Put(owner("x"), some...))
						must(b, table.Drop(owner("x"), nil))
					}
				})
				t.Logf("%4d others, %s: put and drop %v", present, n, r)
			}
		}
	})
}
