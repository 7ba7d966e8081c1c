package ipam_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/ipam"
)

var netipValues = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// newRange reads "" as left out.
func newRange(subnet, first, last, gateway string) ipam.Range {
	addr := func(s string) netip.Addr {
		if s == "" {
			return netip.Addr{}
		}
		return netip.MustParseAddr(s)
	}
	r := ipam.Range{First: addr(first), Last: addr(last), Gateway: addr(gateway)}
	if subnet != "" {
		r.Subnet = netip.MustParsePrefix(subnet)
	}
	return r
}

func TestRangeComplete(t *testing.T) {
	for _, test := range []struct {
		name string
		in   ipam.Range
		want ipam.Range
		err  string
	}{
		{
			name: "defaults, IPv4",
			in:   newRange("10.1.2.0/24", "", "", ""),
			want: newRange("10.1.2.0/24", "10.1.2.1", "10.1.2.254", "10.1.2.1"),
		},
		{
			name: "defaults, IPv6",
			in:   newRange("fd00:1::/64", "", "", ""),
			want: newRange("fd00:1::/64", "fd00:1::1", "fd00:1::ffff:ffff:ffff:ffff", "fd00:1::1"),
		},
		{
			name: "smallest, IPv4",
			in:   newRange("10.1.2.0/30", "", "", ""),
			want: newRange("10.1.2.0/30", "10.1.2.1", "10.1.2.2", "10.1.2.1"),
		},
		{
			name: "smallest, IPv6",
			in:   newRange("fd00:1::/126", "", "", ""),
			want: newRange("fd00:1::/126", "fd00:1::1", "fd00:1::3", "fd00:1::1"),
		},
		{
			name: "everything given, IPv4 in IPv6 form",
			in:   newRange("10.1.0.0/20", "::ffff:10.1.1.1", "::ffff:10.1.2.9", "::ffff:10.1.0.254"),
			want: newRange("10.1.0.0/20", "10.1.1.1", "10.1.2.9", "10.1.0.254"),
		},
		{
			name: "network address and broadcast are not given out",
			in:   newRange("10.1.2.0/24", "10.1.2.0", "10.1.2.255", ""),
			want: newRange("10.1.2.0/24", "10.1.2.1", "10.1.2.254", "10.1.2.1"),
		},
		{
			name: "one address",
			in:   newRange("10.1.2.0/24", "10.1.2.7", "10.1.2.7", ""),
			want: newRange("10.1.2.0/24", "10.1.2.7", "10.1.2.7", "10.1.2.1"),
		},
		{
			name: "the highest addresses there are",
			in:   newRange("255.255.255.0/24", "", "", ""),
			want: newRange("255.255.255.0/24", "255.255.255.1", "255.255.255.254", "255.255.255.1"),
		},
		{
			name: "no subnet",
			in:   newRange("", "10.1.2.7", "", ""),
			err:  "no subnet is given",
		},
		{
			name: "host bits",
			in:   newRange("10.1.2.3/24", "", "", ""),
			err:  "subnet 10.1.2.3/24 has host bits set; the network address is 10.1.2.0/24",
		},
		{
			name: "everything",
			in:   newRange("0.0.0.0/0", "", "", ""),
			err:  "subnet 0.0.0.0/0 holds every address there is; give one of your own",
		},
		{
			name: "everything, IPv6",
			in:   newRange("::/0", "", "", ""),
			err:  "subnet ::/0 holds every address there is; give one of your own",
		},
		{
			name: "no hosts",
			in:   newRange("10.1.2.0/31", "", "", ""),
			err:  "subnet 10.1.2.0/31 is too small for hosts and a gateway; at most /30",
		},
		{
			name: "no hosts, IPv6",
			in:   newRange("fd00::1/128", "", "", ""),
			err:  "subnet fd00::1/128 is too small for hosts and a gateway; at most /126",
		},
		{
			name: "IPv4 subnet in IPv6 form",
			in:   newRange("::ffff:10.1.2.0/120", "", "", ""),
			err:  "subnet ::ffff:10.1.2.0/120 is an IPv4 subnet in IPv6 form; write it as IPv4",
		},
		{
			name: "start outside",
			in:   newRange("10.1.2.0/24", "10.1.1.255", "", ""),
			err:  "range start 10.1.1.255 is outside of subnet 10.1.2.0/24",
		},
		{
			name: "end outside",
			in:   newRange("10.1.2.0/24", "", "10.1.3.0", ""),
			err:  "range end 10.1.3.0 is outside of subnet 10.1.2.0/24",
		},
		{
			name: "end of the other family",
			in:   newRange("10.1.2.0/24", "", "fd00::5", ""),
			err:  "range end fd00::5 is not of the family of subnet 10.1.2.0/24",
		},
		{
			name: "start after end",
			in:   newRange("10.1.2.0/24", "10.1.2.9", "10.1.2.8", ""),
			err:  "range start 10.1.2.9 comes after range end 10.1.2.8",
		},
		{
			name: "gateway outside",
			in:   newRange("10.1.2.0/24", "", "", "10.1.3.1"),
			err:  "gateway 10.1.3.1 is outside of subnet 10.1.2.0/24",
		},
		{
			name: "gateway of the other family",
			in:   newRange("fd00::/64", "", "", "10.1.3.1"),
			err:  "gateway 10.1.3.1 is not of the family of subnet fd00::/64",
		},
		{
			name: "gateway with a zone",
			in:   newRange("fe80::/64", "", "", "fe80::1%eth0"),
			err:  "gateway fe80::1%eth0 is outside of subnet fe80::/64",
		},
		{
			name: "nothing but the broadcast address",
			in:   newRange("10.1.2.0/24", "10.1.2.255", "", ""),
			err:  "range start 10.1.2.255 comes after range end 10.1.2.254",
		},
		{
			name: "nothing but the broadcast address, twice",
			in:   newRange("10.1.2.0/24", "10.1.2.255", "10.1.2.255", ""),
			err:  "range 10.1.2.255-10.1.2.255 holds no address that a host of 10.1.2.0/24 can have",
		},
		{
			name: "nothing but the network address",
			in:   newRange("10.1.2.0/24", "10.1.2.0", "10.1.2.0", ""),
			err:  "range 10.1.2.0-10.1.2.0 holds no address that a host of 10.1.2.0/24 can have",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.in.Complete()
			if diff := cmp.Diff(test.err, text(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, got, netipValues); diff != "" {
				t.Errorf("range (-want +got):\n%s", diff)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzRangeComplete holds that what Complete lets through is what its words say.
func FuzzRangeComplete(f *testing.F) {
	f.Add("10.1.2.0/24", "10.1.2.3", "10.1.2.9", "10.1.2.1")
	f.Add("fd00::/64", "", "fd00::9", "")
	f.Add("255.255.255.252/30", "", "", "")
	f.Add("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124", "", "", "")
	f.Fuzz(func(t *testing.T, subnet, first, last, gateway string) {
		var in ipam.Range
		in.Subnet, _ = netip.ParsePrefix(subnet)
		in.First, _ = netip.ParseAddr(first)
		in.Last, _ = netip.ParseAddr(last)
		in.Gateway, _ = netip.ParseAddr(gateway)
		r, err := in.Complete()
		if err != nil {
			return
		}
		for _, a := range []netip.Addr{r.First, r.Last, r.Gateway} {
			if !r.Subnet.Contains(a) {
				t.Errorf("%s is outside of %s", a, r.Subnet)
			}
		}
		if r.Last.Less(r.First) || !r.Contains(r.First) || !r.Contains(r.Last) || !r.Overlaps(r) {
			t.Errorf("not in order: %s", r)
		}
		if again, err := r.Complete(); err != nil || again != r {
			t.Errorf("completed again: %+v, %v; want %+v", again, err, r)
		}
	})
}
