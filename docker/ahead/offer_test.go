package ahead

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/ipam"
)

// network returns a network named net whose interface plugin has that "ipam".
func network(t testing.TB, ipam string) *seam.Network {
	t.Helper()
	if ipam != "" {
		ipam = `, "ipam": ` + ipam
	}
	n, err := seam.Parse([]byte(`{"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "bridge"`+ipam+`}, {"type": "portmap"}]}`), "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func describe(offers []Offer) string {
	var b strings.Builder
	for _, o := range offers {
		fmt.Fprintf(&b, "%s gateway %s: %s", o.Subnet, o.Gateway, ipam.Set(o.Ranges))
		if o.Fixed {
			b.WriteString(" fixed")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestOffers(t *testing.T) {
	for _, test := range []struct{ name, ipam, want, err string }{
		{
			name: "host-local, both families",
			ipam: `{"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20", "gateway": "10.1.0.254"}], [{"subnet": "fd00::/64"}]]}`,
			want: "10.1.0.0/24 gateway 10.1.0.254: 10.1.0.10-10.1.0.20\nfd00::/64 gateway fd00::1: fd00::1-fd00::ffff:ffff:ffff:ffff\n",
		},
		{
			name: "host-local, old form, and two ranges of one subnet",
			ipam: `{"type": "host-local", "subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.2.0.0/24", "rangeEnd": "10.2.0.9"}, {"subnet": "10.2.0.0/24", "rangeStart": "10.2.0.100"}]]}`,
			want: "10.1.0.0/24 gateway 10.1.0.1: 10.1.0.1-10.1.0.254\n10.2.0.0/24 gateway 10.2.0.1: 10.2.0.1-10.2.0.9, 10.2.0.100-10.2.0.254\n",
		},
		{
			name: "static",
			ipam: `{"type": "static", "addresses": [{"address": "10.1.0.7/24", "gateway": "10.1.0.1"}, {"address": "10.1.0.8/24"}, {"address": "fd00::7/64"}]}`,
			want: "10.1.0.0/24 gateway 10.1.0.1: 10.1.0.7-10.1.0.7, 10.1.0.8-10.1.0.8 fixed\nfd00::/64 gateway invalid IP: fd00::7-fd00::7 fixed\n",
		},
		{name: "foreign", ipam: `{"type": "whereabouts", "range": "10.1.0.0/24"}`, err: "whereabouts gives is not known"},
		{name: "dhcp", ipam: `{"type": "dhcp"}`, err: "to interfaces only"},
		{name: "none", err: `no plugin has "ipam"`},
		{name: "no subnet", ipam: `{"type": "host-local", "ranges": [[{"subnet": "10.1"}]]}`, err: `subnet "10.1"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			offers, err := Offers(network(t, test.ipam))
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, describe(offers)); diff != "" {
				t.Errorf("offers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNarrow(t *testing.T) {
	const ranges = `{"type": "host-local", "dataDir": "/d", "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20"}], [{"subnet": "fd00::/64"}]], "routes": [{"dst": "0.0.0.0/0"}]}`
	const fixed = `{"type": "static", "addresses": [{"address": "10.1.0.7/24", "gateway": "10.1.0.1"}, {"address": "fd00::7/64"}]}`
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	for _, test := range []struct {
		name, ipam string
		request    Request
		want, err  string
	}{
		{name: "one subnet", ipam: ranges, request: Request{Subnet: prefix("fd00::/64")},
			want: "fd00::/64 gateway fd00::1: fd00::1-fd00::ffff:ffff:ffff:ffff\n"},
		{name: "a range", ipam: ranges, request: Request{Subnet: prefix("10.1.0.0/24"), Range: prefix("10.1.0.16/28")},
			want: "10.1.0.0/24 gateway 10.1.0.1: 10.1.0.16-10.1.0.20\n"},
		{name: "a range at the other end", ipam: ranges, request: Request{Subnet: prefix("10.1.0.0/24"), Range: prefix("10.1.0.8/29")},
			want: "10.1.0.0/24 gateway 10.1.0.1: 10.1.0.10-10.1.0.15\n"},
		{name: "a range of nothing", ipam: ranges, request: Request{Subnet: prefix("10.1.0.0/24"), Range: prefix("10.1.0.128/25")}, err: "gives no address"},
		{name: "another subnet", ipam: ranges, request: Request{Subnet: prefix("10.2.0.0/24")}, err: "gives no addresses of 10.2.0.0/24"},
		{name: "an address by name, whatever the range", ipam: ranges, request: Request{Subnet: prefix("10.1.0.0/24"), Range: prefix("10.1.0.16/28"), Addresses: []netip.Addr{addr("10.1.0.11")}},
			want: "10.1.0.0/24 gateway 10.1.0.1: 10.1.0.10-10.1.0.20\n"},
		{name: "outside of the configured range", ipam: ranges, request: Request{Subnet: prefix("10.1.0.0/24"), Addresses: []netip.Addr{addr("10.1.0.99")}},
			want: "10.1.0.0/24 gateway 10.1.0.1: 10.1.0.1-10.1.0.254\n"},
		{name: "static's, one subnet", ipam: fixed, request: Request{Subnet: prefix("fd00::/64")},
			want: "fd00::/64 gateway invalid IP: fd00::7-fd00::7 fixed\n"},
		{name: "static, another", ipam: fixed, request: Request{Addresses: []netip.Addr{addr("10.1.0.9")}},
			want: "10.1.0.0/24 gateway 10.1.0.1: 10.1.0.9-10.1.0.9 fixed\n"},
		{name: "static, of no subnet", ipam: fixed, request: Request{Addresses: []netip.Addr{addr("10.2.0.9")}}, err: "of none of its subnets"},
		{name: "foreign", ipam: `{"type": "whereabouts"}`, request: Request{Subnet: prefix("10.1.0.0/24")}, err: "cannot be asked for an address of one subnet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			alone, err := Alone(network(t, test.ipam))
			if err != nil {
				t.Fatal(err)
			}
			n, err := narrow(alone, test.request)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			offers, err := Offers(n)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, describe(offers)); diff != "" {
				t.Errorf("narrowed (-want +got):\n%s", diff)
			}
			if strings.Contains(test.ipam, "dataDir") && !strings.Contains(string(n.Raw), `"dataDir":"/d"`) {
				t.Errorf("other keys are lost: %s", n.Raw)
			}
		})
	}
}
