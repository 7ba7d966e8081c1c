package docker

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/netns/netnstest"
)

func TestRequestAddress(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		prod := mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("prod")}).ID
		part := mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("prod"), Subnet: prefixOf("10.1.4.0/24")}).ID
		six := mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("prod"), IPv6: true}).ID
		own := mustPool(t, p, cnm.PoolRequest{}).ID
		fixed := mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("fixed")}).ID
		pod(t, p, "prod", "10.1.0.9")
		for _, test := range []struct {
			name    string
			pool    cnm.PoolID
			address string
			gateway bool
			want    string
			err     string
		}{
			{name: "gateway", pool: prod, gateway: true, want: "10.1.0.254/16"},
			{name: "gateway by name", pool: prod, address: "10.1.0.254", gateway: true, want: "10.1.0.254/16"},
			{name: "gateway, IPv6", pool: six, gateway: true, want: "fd00:1::1/64"},
			{name: "the next after the pod's", pool: prod, want: "10.1.0.10/16"},
			{name: "and the next", pool: prod, want: "10.1.0.11/16"},
			{name: "IPv6", pool: six, want: "fd00:1::3/64"},
			{name: "another gateway", pool: prod, address: "10.1.0.253", gateway: true, want: "10.1.0.253/16"},
			{name: "of a second network", pool: prod, address: "10.1.0.253", gateway: true, want: "10.1.0.253/16"},
			{name: "by name", pool: prod, address: "10.1.0.3", want: "10.1.0.3/16"},
			{name: "by name, of IPv4 in IPv6", pool: prod, address: "::ffff:10.1.0.5", want: "10.1.0.5/16"},
			{name: "of the part", pool: part, want: "10.1.4.0/16"},
			{name: "outside of the part, by name", pool: part, address: "10.1.0.6", want: "10.1.0.6/16"},
			{name: "beyond the network's range, by name", pool: prod, address: "10.1.255.250", want: "10.1.255.250/16"},
			{name: "own gateway", pool: own, gateway: true, want: "10.210.0.1/24"},
			{name: "own", pool: own, want: "10.210.0.2/24"},
			{name: "own by name", pool: own, address: "10.210.0.99", want: "10.210.0.99/24"},
			{name: "static gateway", pool: fixed, gateway: true, want: "10.3.0.1/24"},
			{name: "static", pool: fixed, want: "10.3.0.5/24"},
			{name: "static, second", pool: fixed, want: "10.3.0.6/24"},

			{name: "twice", pool: prod, address: "10.1.0.3", err: "address 10.1.0.3 of network prod is in use by Docker since"},
			{name: "twice, in the other pool", pool: part, address: "10.1.0.3", err: "is in use by Docker since"},
			{name: "the gateway for a container", pool: prod, address: "10.1.0.253", err: "is in use by Docker since"},
			{name: "the network's own gateway for a container", pool: prod, address: "10.1.0.254", err: "is the subnet's gateway"},
			{name: "a pod's", pool: prod, address: "10.1.0.9", err: "address 10.1.0.9 of network prod is in use by default/web (container pod-10.1.0.9)"},
			{name: "outside", pool: prod, address: "10.2.0.3", err: "address 10.2.0.3 is outside of 10.1.0.0/16"},
			{name: "own twice", pool: own, address: "10.210.0.99", err: "address 10.210.0.99 of subnet 10.210.0.0/24 is in use by Docker"},
			{name: "static, third", pool: fixed, err: "no free address: network fixed gives 2 of 10.3.0.0/24, and Docker has all"},
			{name: "of no pool", pool: "LocalDefault/10.0.0.0/8", err: "not one of this driver's"},
			{name: "of a network that never was", pool: "seam:never|10.0.0.0/8", err: `network "never"`},
			{name: "of a subnet that is no longer", pool: "seam:prod|10.77.0.0/16", err: "network prod no longer gives addresses of 10.77.0.0/16"},
		} {
			t.Run(test.name, func(t *testing.T) {
				got, err := p.RequestAddress(t.Context(), &cnm.AddressRequest{Pool: test.pool, Address: addrOf(test.address), Gateway: test.gateway})
				if test.err != "" {
					wantError(t, "request", err, test.err)
				} else if err != nil || got.String() != test.want {
					t.Errorf("%s, %v; want %s", got, err, test.want)
				}
			})
		}
		if pending, _ := filepath.Glob(p.file("pending/*")); len(pending) > 0 {
			t.Errorf("pending: %v", pending)
		}
		want := []string{"10.1.0.10", "10.1.0.11", "10.1.0.253", "10.1.0.3", "10.1.0.5", "10.1.0.6", "10.1.0.9", "10.1.255.250", "10.1.4.0", "fd00:1::2", "fd00:1::3"}
		if diff := cmp.Diff(want, slices.Sorted(slices.Values(podLeases(t, "prod")))); diff != "" {
			t.Errorf("leased of prod, a pod's two among them (-want +got):\n%s", diff)
		}
		mustRelease(t, p, prod, "10.1.0.253")
		mustRelease(t, p, prod, "10.1.77.77") // never was
		if !slices.Contains(podLeases(t, "prod"), "10.1.0.253") {
			t.Error("the gateway of two networks was freed with the first")
		}
		held, err := p.Held()
		if err != nil {
			t.Error(err)
		}
		for _, l := range held {
			mustRelease(t, p, l.Pool, l.Address.String())
			mustRelease(t, p, l.Pool, l.Address.String())
		}
		for _, id := range []cnm.PoolID{prod, part, six, own, fixed} {
			mustReleasePool(t, p, id)
		}
		if diff := cmp.Diff([]string{"10.1.0.9", "fd00:1::2"}, podLeases(t, "prod")); diff != "" {
			t.Errorf("leased at the end (-want +got):\n%s", diff)
		}
		unpod(t, p, "prod", "10.1.0.9")
		wantNothing(t, p)
	})
}

// pod attaches a pod that asks for the address.
func pod(t testing.TB, p *IPAM, network, address string) {
	t.Helper()
	n, err := seam.Load(ipamConf, network)
	if err != nil {
		t.Fatal(err)
	}
	c := seam.Container{
		ID: "pod-" + address, IfName: "eth0", Name: "default/web", NetNS: netnstest.NewPod(t, fmt.Sprintf("pod-%d", time.Now().UnixNano())).Path,
		Args: cni.Args{{Key: "IP", Value: address}},
	}
	if _, err := p.Desk.Runtime.Attach(t.Context(), n, c); err != nil {
		t.Fatal(err)
	}
}

func unpod(t testing.TB, p *IPAM, network, address string) {
	t.Helper()
	n, err := seam.Load(ipamConf, network)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Desk.Runtime.Detach(t.Context(), n, seam.Container{ID: "pod-" + address, IfName: "eth0"}); err != nil {
		t.Error(err)
	}
}

// TestIPAMConcurrent: containers that start at once get addresses of their own.
func TestIPAMConcurrent(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		pools := []cnm.PoolID{mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("prod")}).ID, mustPool(t, p, cnm.PoolRequest{}).ID}
		var mu sync.Mutex
		given := map[netip.Addr]bool{}
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				id := pools[i%2]
				for round := range 3 {
					got, err := p.RequestAddress(t.Context(), &cnm.AddressRequest{Pool: id})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if given[got.Addr()] {
						t.Errorf("%s was given twice", got)
					}
					given[got.Addr()] = true
					mu.Unlock()
					if round == 2 {
						return
					}
					mu.Lock()
					delete(given, got.Addr())
					mu.Unlock()
					if err := p.ReleaseAddress(t.Context(), id, got.Addr()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		if held, err := p.Held(); len(held) != 50 || err != nil {
			t.Errorf("%d are held, %v; want 50", len(held), err)
		}
		for a := range given {
			for _, id := range pools {
				mustRelease(t, p, id, a.String())
			}
		}
		for _, id := range pools {
			mustReleasePool(t, p, id)
		}
		wantNothing(t, p)
	})
}

// TestIPAMAgainstMap compares the addresses of a small network with a map of them through
// many random calls, some of them of pods, with a driver that is started again at times.
func TestIPAMAgainstMap(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		id := mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("small")}).ID
		rnd := rand.New(rand.NewPCG(1, 2))
		const docker, pods = "docker", "pods"
		held := map[string]string{} // who has it
		for step := range 400 {
			a := fmt.Sprintf("10.2.0.%d", 2+rnd.IntN(5))
			switch rnd.IntN(6) {
			case 0:
				mustRelease(t, p, id, a)
				if held[a] == docker {
					delete(held, a)
				}
			case 1:
				_, err := p.RequestAddress(t.Context(), &cnm.AddressRequest{Pool: id, Address: addrOf(a)})
				if (err == nil) != (held[a] == "") {
					t.Fatalf("step %d: %s: %v; it is held by %q", step, a, err, held[a])
				}
				if err == nil {
					held[a] = docker
				}
			case 2:
				if held[a] == pods {
					unpod(t, p, "small", a)
					delete(held, a)
				} else if held[a] == "" {
					pod(t, p, "small", a)
					held[a] = pods
				}
			case 3:
				p = testIPAM(t)
				if err := p.Restore(t.Context()); err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
			default:
				got, err := p.RequestAddress(t.Context(), &cnm.AddressRequest{Pool: id})
				if (err == nil) != (len(held) < 5) || err == nil && held[got.Addr().String()] != "" {
					t.Fatalf("step %d: %s, %v; held are %v", step, got, err, held)
				}
				if err == nil {
					held[got.Addr().String()] = docker
				}
			}
			want := slices.Sorted(maps.Keys(held))
			if diff := cmp.Diff(want, podLeases(t, "small")); diff != "" {
				t.Fatalf("step %d: leased (-want +got):\n%s", step, diff)
			}
		}
	})
}
