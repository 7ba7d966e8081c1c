package docker

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/netns/netnstest"
)

func TestRequestPoolOfNetwork(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		for _, test := range []struct {
			name, network, subnet, within string
			v6                            bool
			want, gateway, err            string
		}{
			{name: "all", network: "prod", want: "seam:prod|10.1.0.0/16", gateway: "10.1.0.254/16"},
			{name: "of IPv6", network: "prod", v6: true, want: "seam:prod|fd00:1::/64", gateway: "fd00:1::1/64"},
			{name: "the subnet by name", network: "prod", subnet: "10.1.0.0/16", want: "seam:prod|10.1.0.0/16", gateway: "10.1.0.254/16"},
			{name: "a part", network: "prod", subnet: "10.1.4.0/24", want: "seam:prod|10.1.0.0/16|10.1.4.0/24", gateway: "10.1.0.254/16"},
			{name: "a range", network: "prod", subnet: "10.1.0.0/16", within: "10.1.4.0/24", want: "seam:prod|10.1.0.0/16|10.1.4.0/24", gateway: "10.1.0.254/16"},
			{name: "a range without the subnet", network: "prod", within: "10.1.4.0/24", want: "seam:prod|10.1.0.0/16|10.1.4.0/24", gateway: "10.1.0.254/16"},
			{name: "a range of a part", network: "prod", subnet: "10.1.4.0/24", within: "10.1.4.128/25", want: "seam:prod|10.1.0.0/16|10.1.4.128/25", gateway: "10.1.0.254/16"},
			{name: "a range that is all", network: "prod", subnet: "10.1.0.0/16", within: "10.1.0.0/16", want: "seam:prod|10.1.0.0/16", gateway: "10.1.0.254/16"},
			{name: "static", network: "fixed", want: "seam:fixed|10.3.0.0/24", gateway: "10.3.0.1/24"},

			{name: "a range outside", network: "prod", subnet: "10.1.4.0/24", within: "10.1.5.0/24", err: "lies outside of subnet 10.1.4.0/24"},
			{name: "a range of nothing", network: "prod", subnet: "10.1.255.224/27", err: "gives no address of 10.1.255.224/27: it gives 10.1.0.1-10.1.255.200"},
			{name: "another subnet", network: "prod", subnet: "10.9.0.0/24", err: "--subnet 10.9.0.0/24: network prod gives addresses of [10.1.0.0/16]"},
			{name: "a wider subnet", network: "prod", subnet: "10.0.0.0/8", err: "name one of these or a part of it"},
			{name: "no IPv6", network: "small", v6: true, err: "leave --ipv6 out"},
			{name: "dhcp", network: "far", err: "--ipam-driver null"},
			{name: "no IPAM", network: "bare", err: "--ipam-driver null"},
			{name: "foreign", network: "other", err: "--ipam-driver null"},
			{name: "no network", network: "prd", err: "seam ls lists them"},
		} {
			t.Run(test.name, func(t *testing.T) {
				got, err := p.RequestPool(t.Context(), &cnm.PoolRequest{
					Space: "seam.local", Options: ofNetwork(test.network), IPv6: test.v6,
					Subnet: prefixOf(test.subnet), Range: prefixOf(test.within),
				})
				if test.err != "" {
					wantError(t, "request", err, test.err)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				subnet, _, _ := strings.Cut(strings.SplitN(test.want, "|", 2)[1], "|")
				want := &cnm.Pool{ID: cnm.PoolID(test.want), Subnet: prefixOf(subnet), Gateway: prefixOf(test.gateway)}
				if diff := cmp.Diff(want, got, netipValues); diff != "" {
					t.Errorf("pool (-want +got):\n%s", diff)
				}
			})
		}
		_, err := p.RequestPool(t.Context(), &cnm.PoolRequest{Options: map[string]string{"seam.netwrok": "prod"}})
		wantError(t, "an option that is none", err, "--ipam-opt seam.netwrok: unknown; known is seam.network=NETWORK")
	})
}

func TestRequestPoolOfOwn(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		// As an engine that does not like what it gets: it asks again and releases later.
		var got []string
		for range 3 {
			got = append(got, string(mustPool(t, p, cnm.PoolRequest{}).ID))
		}
		if diff := cmp.Diff([]string{"pool:10.210.0.0/24", "pool:10.210.2.0/24", "pool:10.210.3.0/24"}, got); diff != "" {
			t.Errorf("a route leads to 10.210.1.0/25; pools (-want +got):\n%s", diff)
		}
		mustReleasePool(t, p, "pool:10.210.0.0/24")
		mustReleasePool(t, p, "pool:10.210.0.0/24") // no error, and no harm
		if got := mustPool(t, testIPAM(t), cnm.PoolRequest{}); got.ID != "pool:10.210.0.0/24" || got.Gateway.IsValid() {
			t.Errorf("pool %+v, want what was released, and no gateway", got)
		}
		if got := mustPool(t, p, cnm.PoolRequest{IPv6: true}); got.ID != "pool:fd73:6561:6d00::/64" {
			t.Errorf("pool %+v", got)
		}
		mustPool(t, p, cnm.PoolRequest{Subnet: prefixOf("10.40.0.0/16")})
		mustPool(t, p, cnm.PoolRequest{Subnet: prefixOf("10.40.0.0/16"), Range: prefixOf("10.40.1.0/24")})
		mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("prod")})
		for _, test := range []struct {
			name string
			r    cnm.PoolRequest
			err  string
		}{
			{"overlaps another", cnm.PoolRequest{Subnet: prefixOf("10.40.9.0/24")}, "overlaps 10.40.0.0/16, which another Docker network has"},
			{"overlaps a network", cnm.PoolRequest{Subnet: prefixOf("10.1.7.0/24")}, "--ipam-opt seam.network=prod"},
			{"range alone", cnm.PoolRequest{Range: prefixOf("10.50.0.0/16")}, "needs the --subnet"},
			{"range outside", cnm.PoolRequest{Subnet: prefixOf("10.50.0.0/16"), Range: prefixOf("10.51.0.0/24")}, "outside"},
			{"too small", cnm.PoolRequest{Subnet: prefixOf("10.50.0.0/31")}, "too small"},
			{"other family", cnm.PoolRequest{Subnet: prefixOf("10.50.0.0/16"), IPv6: true}, "not of the family"},
		} {
			_, err := p.RequestPool(t.Context(), &test.r)
			wantError(t, test.name, err, test.err)
		}
	})
}

// When all are taken that is an error, which ends the asking of an engine that likes none.
func TestRequestPoolUntilFull(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := testIPAM(t)
		p.Base4 = netip.MustParsePrefix("10.210.0.0/22")
		for range 3 { // a route leads to a part of the fourth
			mustPool(t, p, cnm.PoolRequest{})
		}
		_, err := p.RequestPool(t.Context(), &cnm.PoolRequest{})
		wantError(t, "one more", err, "no subnet of length 24 is free in 10.210.0.0/22")
	})
}

// An engine that asks again because the host has a route to the subnet is told how to
// get it.
func TestRequestPoolWithoutEnd(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p, now := testIPAM(t), time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		p.Now = func() time.Time { return now }
		request, other := cnm.PoolRequest{Options: ofNetwork("prod")}, cnm.PoolRequest{Options: ofNetwork("small")}
		for range askingMost {
			mustPool(t, p, request)
		}
		_, err := p.RequestPool(t.Context(), &request)
		wantError(t, "one more", err, "this engine takes it only by name: add --subnet 10.1.0.0/16")
		request.Subnet = prefixOf("10.1.0.0/16")
		mustPool(t, p, request)
		mustPool(t, p, other)
		request.Subnet = prefixOf("")
		now = now.Add(2 * askingTime)
		mustPool(t, p, request)
		if pools, err := p.HeldPools(); len(pools) != 2 || pools[0].Count+pools[1].Count != askingMost+3 {
			t.Errorf("pools %v, %v; want the refused one not counted", pools, err)
		}
	})
}

// Docker networks of one network of the host share its pool.
func TestPoolIsCounted(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		request := cnm.PoolRequest{Options: ofNetwork("prod")}
		a, b := mustPool(t, p, request), mustPool(t, p, request)
		if a.ID != b.ID {
			t.Errorf("pools %s and %s, want one", a.ID, b.ID)
		}
		address := mustAddress(t, p, a.ID, "")
		mustReleasePool(t, p, a.ID)
		if pools, err := p.HeldPools(); len(pools) != 1 || pools[0].Count != 1 {
			t.Errorf("pools %+v, %v; want it once", pools, err)
		}
		mustReleasePool(t, p, a.ID)
		if pools, err := p.HeldPools(); len(pools) != 1 || pools[0].Count != 0 {
			t.Errorf("pools %+v, %v; want it for its address", pools, err)
		}
		mustRelease(t, p, a.ID, strings.TrimSuffix(address, "/16"))
		wantNothing(t, p)
	})
}
