package ipam_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/ipam"
)

func TestPoolClaim(t *testing.T) {
	pool := ipam.NewPool(newSet(t, newRange("10.1.0.0/29", "", "", ""), newRange("10.1.0.8/29", "", "", "")))
	for _, test := range []struct {
		addr string
		want error
	}{
		{"10.1.0.3", nil},
		{"10.1.0.3", ipam.ErrHeld},
		{"10.1.0.1", ipam.ErrGateway},
		{"10.1.0.9", ipam.ErrGateway},
		{"10.1.0.0", ipam.ErrOutside},
		{"10.1.0.7", ipam.ErrOutside},
		{"fd00::3", ipam.ErrOutside},
		{"10.1.0.14", nil},
	} {
		if err := pool.Claim(netip.MustParseAddr(test.addr)); !errors.Is(err, test.want) {
			t.Errorf("Claim(%s) = %v, want %v", test.addr, err, test.want)
		}
	}
	pool.Release(netip.MustParseAddr("10.1.0.3"))
	pool.Release(netip.MustParseAddr("10.1.0.3"))
	if err := pool.Claim(netip.MustParseAddr("10.1.0.3")); err != nil {
		t.Error(err)
	}
}

// TestPoolAgainstMap compares a pool with a plain list of its addresses, each
// marked with its holder, through many random calls.
func TestPoolAgainstMap(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		set := randomSet(t, rnd)
		pool := ipam.NewPool(set)
		var order []netip.Addr // all that can be given out, in turn
		for _, r := range set {
			for a := r.First; !r.Last.Less(a); a = a.Next() {
				if !set.IsGateway(a) {
					order = append(order, a)
				}
			}
		}
		held := map[netip.Addr]bool{}
		last := len(order) - 1
		for step := range 400 {
			switch a := order[rnd.IntN(len(order))]; rnd.IntN(4) {
			case 0:
				pool.Release(a)
				delete(held, a)
			case 1:
				err := pool.Claim(a)
				if (err == nil) == held[a] {
					t.Fatalf("seed %d, step %d: Claim(%s) = %v, held %v", seed, step, a, err, held[a])
				}
				if err == nil {
					held[a], last = true, slices.Index(order, a)
				}
			default:
				next := -1
				for i := 1; i <= len(order) && next < 0; i++ {
					if n := (last + i) % len(order); !held[order[n]] {
						next = n
					}
				}
				got, err := pool.Take()
				if next < 0 {
					if _, full := errors.AsType[*ipam.FullError](err); !full {
						t.Fatalf("seed %d, step %d: Take() = %s, %v; want full", seed, step, got, err)
					}
					continue
				}
				if got != order[next] || err != nil {
					t.Fatalf("seed %d, step %d: Take() = %s, %v; want %s", seed, step, got, err, order[next])
				}
				held[got], last = true, next
			}
			want := slices.SortedFunc(maps.Keys(held), netip.Addr.Compare)
			if diff := cmp.Diff(want, pool.Held(), netipValues); diff != "" {
				t.Fatalf("seed %d, step %d: held (-want +got):\n%s", seed, step, diff)
			}
		}
	}
}

// randomSet returns one to three ranges of 2 to 14 addresses, of one family.
func randomSet(t testing.TB, rnd *rand.Rand) ipam.Set {
	base := netip.MustParsePrefix("10.0.0.0/28")
	if rnd.IntN(2) == 0 {
		base = netip.MustParsePrefix("fd00::/124")
	}
	var set ipam.Set
	for i := range 1 + rnd.IntN(3) {
		bytes := base.Addr().AsSlice()
		bytes[2] = byte(i)
		network, _ := netip.AddrFromSlice(bytes)
		last := network
		for range 2 + rnd.IntN(13) {
			last = last.Next()
		}
		gateway := network
		for range 1 + rnd.IntN(14) {
			gateway = gateway.Next()
		}
		set = append(set, ipam.Range{Subnet: netip.PrefixFrom(network, base.Bits()), Last: last, Gateway: gateway})
	}
	return newSet(t, set...)
}

// BenchmarkPoolTake shows that a pool with many addresses held gives out the next
// as fast as an empty one.
func BenchmarkPoolTake(b *testing.B) {
	for _, held := range []struct {
		name string
		n    int
	}{{"empty", 0}, {"1000 held", 1000}} {
		b.Run(held.name, func(b *testing.B) {
			pool := ipam.NewPool(newSet(b, newRange("10.0.0.0/8", "", "", "")))
			for range held.n {
				if _, err := pool.Take(); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				a, err := pool.Take()
				if err != nil {
					b.Fatal(err)
				}
				pool.Release(a)
			}
		})
	}
}
