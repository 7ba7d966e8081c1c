package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cnm"
)

// TestRoundTrip: every verb, through Client and Server, arrives as it was said, and its
// value returns.
func TestRoundTrip(t *testing.T) {
	var verb string
	var heard, value any
	driver := hearing(func(_ context.Context, v string, asked any) (any, error) {
		verb, heard = v, asked
		return value, nil
	})
	client := find(t, serving(t, &Server{Driver: driver, IPAM: driver}))
	for _, test := range []struct {
		name         string
		verb         string
		asked, value any
	}{
		{"network", "CreateNetwork", &cnm.Network{
			ID: "n", IPv6: true, NoIPv4: true, Internal: true, Options: map[string]string{"a": "b", "c": ""},
			Pools: []cnm.AddressPool{
				{
					Space: "L", Subnet: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParsePrefix("10.0.0.1/24"),
					Aux: map[string]netip.Prefix{"x": netip.MustParsePrefix("10.0.0.9/24")},
				},
				{Space: "L", Subnet: netip.MustParsePrefix("fd00::/64")},
			},
		}, nil},
		{"network of nothing", "CreateNetwork", &cnm.Network{ID: "n"}, nil},
		{"network gone", "DeleteNetwork", cnm.NetworkID("n"), nil},
		{"endpoint", "CreateEndpoint", &cnm.Endpoint{
			Network: "n", ID: "e", Name: "web0", Options: map[string]string{"k": "v"},
			Interface: cnm.Interface{
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("fd00::2/64")},
				MAC:       net.HardwareAddr{2, 0, 0, 0, 0, 1},
			},
			Ports: []cnm.PortBinding{
				{Port: cnm.Port{Protocol: "tcp", Number: 80}, HostIP: netip.MustParseAddr("::1"), HostPort: 8080, HostPortEnd: 8090},
				{Port: cnm.Port{Protocol: "sctp", Number: 9}, IP: netip.MustParseAddr("10.0.0.2")},
			},
			Exposed: []cnm.Port{{Protocol: "udp", Number: 53}},
			DNS:     []netip.Addr{netip.MustParseAddr("192.0.2.53")},
		}, (*cnm.Interface)(nil)},
		{"endpoint chosen", "CreateEndpoint", &cnm.Endpoint{Network: "n", ID: "e"}, &cnm.Interface{
			Addresses: []netip.Prefix{netip.MustParsePrefix("fd00::2/64")}, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		}},
		{"endpoint gone", "DeleteEndpoint", ref{cnm.NetworkID("n"), cnm.EndpointID("e")}, nil},
		{"join", "Join", &cnm.Join{
			Network: "n", Endpoint: "e", Sandbox: "/run/netns/x",
			Ports: []cnm.PortBinding{{Port: cnm.Port{Protocol: "udp", Number: 1}, HostPort: 2}}, Exposed: []cnm.Port{{Protocol: "udp", Number: 1}},
		}, &cnm.Joined{
			Link:     &cnm.Link{Name: "v1", Prefix: "eth", Inside: "web0"},
			Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
			Routes: []cnm.Route{
				{Dst: netip.MustParsePrefix("10.1.0.0/16"), NextHop: netip.MustParseAddr("10.0.0.9")}, {Dst: netip.MustParsePrefix("fd01::/64")},
			},
			NoGatewayService: true,
		}},
		{"join without link", "Join", &cnm.Join{Network: "n", Endpoint: "e"}, &cnm.Joined{}},
		{"leave", "Leave", ref{cnm.NetworkID("n"), cnm.EndpointID("e")}, nil},
		{"info", "EndpointInfo", ref{cnm.NetworkID("n"), cnm.EndpointID("e")}, map[string]any{"k": []any{"v", true}}},
		{"program", "Program", &cnm.Join{Network: "n", Endpoint: "e", Exposed: []cnm.Port{{Protocol: "tcp", Number: 1}}}, nil},
		{"revoke", "Revoke", ref{cnm.NetworkID("n"), cnm.EndpointID("e")}, nil},
		{"capabilities", "Capabilities", nil, cnm.Capabilities{Scope: cnm.ScopeGlobal, Connectivity: cnm.ScopeLocal}},
		{"IPAM capabilities", "IPAMCapabilities", nil, cnm.IPAMCapabilities{LocalSpace: "L", GlobalSpace: "G", RequiresMAC: true, RequiresReplay: true}},
		{"pool", "RequestPool", &cnm.PoolRequest{
			Space: "L", Subnet: netip.MustParsePrefix("fd00::/48"), Range: netip.MustParsePrefix("fd00:0:0:1::/64"),
			Options: map[string]string{"a": "b"}, IPv6: true,
		}, &cnm.Pool{ID: "L/fd00::/48", Subnet: netip.MustParsePrefix("fd00::/48"), Gateway: netip.MustParsePrefix("fd00::1/48")}},
		{"any pool", "RequestPool", &cnm.PoolRequest{Space: "L"}, &cnm.Pool{ID: "p", Subnet: netip.MustParsePrefix("10.0.0.0/8")}},
		{"pool gone", "ReleasePool", cnm.PoolID("L/10.0.0.0/8"), nil},
		{"address", "RequestAddress", &cnm.AddressRequest{
			Pool: "p", Address: netip.MustParseAddr("10.0.0.5"), Gateway: true, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Name: "web",
			Options: map[string]string{"k": "v"},
		}, netip.MustParsePrefix("10.0.0.5/8")},
		{"any address", "RequestAddress", &cnm.AddressRequest{Pool: "p"}, netip.MustParsePrefix("10.0.0.6/8")},
		{"address gone", "ReleaseAddress", ref{cnm.PoolID("p"), netip.MustParseAddr("10.0.0.5")}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			value = test.value
			got, err := returned(t.Context(), client, test.verb, test.asked)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.asked, heard, byValue()); diff != "" || verb != test.verb {
				t.Errorf("heard %s (-want +got):\n%s", verb, diff)
			}
			if diff := cmp.Diff(test.value, got, byValue()); diff != "" {
				t.Errorf("returned (-want +got):\n%s", diff)
			}
		})
	}
}

// returned is tell with the verb's value.
func returned(ctx context.Context, c *Client, verb string, asked any) (any, error) {
	r, _ := asked.(ref)
	switch verb {
	case "Capabilities":
		return c.Capabilities(ctx)
	case "IPAMCapabilities":
		return c.IPAMCapabilities(ctx)
	case "CreateEndpoint":
		return c.CreateEndpoint(ctx, asked.(*cnm.Endpoint))
	case "Join":
		return c.Join(ctx, asked.(*cnm.Join))
	case "EndpointInfo":
		return c.EndpointInfo(ctx, r.Network.(cnm.NetworkID), r.Endpoint.(cnm.EndpointID))
	case "RequestPool":
		return c.RequestPool(ctx, asked.(*cnm.PoolRequest))
	case "RequestAddress":
		return c.RequestAddress(ctx, asked.(*cnm.AddressRequest))
	}
	return nil, tell(ctx, c, verb, asked)
}

// TestTwoOfAFamily: what the protocol cannot say is refused at either end.
func TestTwoOfAFamily(t *testing.T) {
	two := []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("10.0.0.3/24")}
	driver := hearing(func(_ context.Context, verb string, _ any) (any, error) {
		return map[string]any{
			"CreateEndpoint": &cnm.Interface{Addresses: two},
			"Join":           &cnm.Joined{Gateways: []netip.Addr{two[0].Addr(), two[1].Addr()}},
		}[verb], nil
	})
	client := find(t, serving(t, &Server{Driver: driver}))
	_, asked := client.CreateEndpoint(t.Context(), &cnm.Endpoint{Network: "n", ID: "e", Interface: cnm.Interface{Addresses: two}})
	_, chosen := client.CreateEndpoint(t.Context(), &cnm.Endpoint{Network: "n", ID: "e"})
	_, joined := client.Join(t.Context(), &cnm.Join{Network: "n", Endpoint: "e"})
	for name, err := range map[string]error{"asked": asked, "chosen": chosen, "joined": joined} {
		if err == nil || !strings.Contains(err.Error(), "two of one family") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnknownProtocolIsNotAsked(t *testing.T) {
	client := find(t, serving(t, &Server{Driver: hearing(nil)}))
	_, err := client.Join(t.Context(), &cnm.Join{Network: "n", Endpoint: "e", Exposed: []cnm.Port{{Protocol: "carrier", Number: 1}}})
	if err == nil || !strings.Contains(err.Error(), `driver fake: NetworkDriver.Join: request: ports:`) || !strings.Contains(err.Error(), `protocol "carrier" is unknown`) {
		t.Error(err)
	}
}

// TestThrough: a driver that is served is driven, served again and driven.
func TestThrough(t *testing.T) {
	want := errors.New("no room")
	driver := hearing(func(_ context.Context, verb string, _ any) (any, error) {
		if verb == "Leave" {
			return nil, want
		}
		return nil, nil
	})
	near := find(t, serving(t, &Server{Driver: driver}))
	far := find(t, serving(t, &Server{Driver: near}))
	if err := far.CreateNetwork(t.Context(), &cnm.Network{ID: "n"}); err != nil {
		t.Error(err)
	}
	if err := far.Leave(t.Context(), "n", "e"); err == nil || !strings.HasSuffix(err.Error(), want.Error()) {
		t.Errorf("%v, want %v in it", err, want)
	}
}
