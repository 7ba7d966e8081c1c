package ipam_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/ipam"
)

// newSet completes ranges that must be valid.
func newSet(t testing.TB, ranges ...ipam.Range) ipam.Set {
	t.Helper()
	set, err := ipam.Set(ranges).Complete()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSetComplete(t *testing.T) {
	for _, test := range []struct {
		name string
		in   ipam.Set
		want string
		err  string
	}{
		{
			name: "two runs of one subnet",
			in: ipam.Set{
				newRange("10.1.0.0/24", "10.1.0.10", "10.1.0.19", ""),
				newRange("10.1.0.0/24", "10.1.0.20", "", ""),
			},
			want: "10.1.0.10-10.1.0.19, 10.1.0.20-10.1.0.254",
		},
		{name: "empty", err: "empty set of ranges"},
		{
			name: "the one range is wrong",
			in:   ipam.Set{newRange("10.1.0.0/32", "", "", "")},
			err:  "subnet 10.1.0.0/32 is too small for hosts and a gateway; at most /30",
		},
		{
			name: "the second range is wrong",
			in:   ipam.Set{newRange("10.1.0.0/24", "", "", ""), newRange("10.1.1.1/24", "", "", "")},
			err:  "range 1: subnet 10.1.1.1/24 has host bits set; the network address is 10.1.1.0/24",
		},
		{
			name: "overlap",
			in: ipam.Set{
				newRange("10.1.0.0/24", "", "10.1.0.20", ""),
				newRange("10.0.0.0/8", "10.1.0.20", "10.1.0.30", ""),
			},
			err: "range 1: range 10.1.0.20-10.1.0.30 overlaps 10.1.0.1-10.1.0.20",
		},
		{
			name: "two families",
			in:   ipam.Set{newRange("10.1.0.0/24", "", "", ""), newRange("fd00::/64", "", "", "")},
			err: "range 1: subnet fd00::/64 is not of the family of subnet 10.1.0.0/24; " +
				"one set gives one address, so give each family a set of its own",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.in.Complete()
			if diff := cmp.Diff(test.err, text(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, got.String()); diff != "" {
				t.Errorf("set (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDisjoint(t *testing.T) {
	a := newSet(t, newRange("10.1.0.0/24", "", "10.1.0.99", ""))
	b := newSet(t, newRange("10.1.0.0/24", "10.1.0.100", "", ""))
	v6 := newSet(t, newRange("fd00::/64", "", "", ""))
	if err := ipam.Disjoint([]ipam.Set{a, v6, b}); err != nil {
		t.Error(err)
	}
	c := newSet(t, newRange("10.2.0.0/24", "", "", ""), newRange("10.0.0.0/8", "10.1.0.254", "10.1.1.5", ""))
	err := ipam.Disjoint([]ipam.Set{a, v6, b, c})
	want := "range 10.1.0.254-10.1.1.5 of set 3 overlaps 10.1.0.100-10.1.0.254 of set 2"
	if diff := cmp.Diff(want, text(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestSetAfter(t *testing.T) {
	set := newSet(t,
		newRange("10.1.0.0/29", "", "10.1.0.3", ""),
		newRange("10.1.0.0/29", "10.1.0.5", "10.1.0.6", ""),
		newRange("10.2.0.0/29", "10.2.0.2", "10.2.0.3", "10.2.0.2"))
	top := newSet(t, newRange("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126", "", "", ""))
	for _, test := range []struct {
		name string
		set  ipam.Set
		last string
		want []string
	}{
		{"from the start", set, "", []string{"10.1.0.2", "10.1.0.3", "10.1.0.5", "10.1.0.6", "10.2.0.3"}},
		{"not of the set", set, "10.1.0.4", []string{"10.1.0.2", "10.1.0.3", "10.1.0.5", "10.1.0.6", "10.2.0.3"}},
		{"inside", set, "10.1.0.2", []string{"10.1.0.3", "10.1.0.5", "10.1.0.6", "10.2.0.3", "10.1.0.2"}},
		{"at a range's end", set, "10.1.0.3", []string{"10.1.0.5", "10.1.0.6", "10.2.0.3", "10.1.0.2", "10.1.0.3"}},
		{"at the set's end", set, "10.2.0.3", []string{"10.1.0.2", "10.1.0.3", "10.1.0.5", "10.1.0.6", "10.2.0.3"}},
		{"at a gateway", set, "10.2.0.2", []string{"10.2.0.3", "10.1.0.2", "10.1.0.3", "10.1.0.5", "10.1.0.6"}},
		{"the highest address there is", top, "", []string{
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}},
		{"after the highest address there is", top, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", []string{
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			last, _ := netip.ParseAddr(test.last)
			var got []string
			for a := range test.set.After(last) {
				got = append(got, a.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSetAfterGateways holds that a range does not give out another's gateway.
func TestSetAfterGateways(t *testing.T) {
	set := newSet(t,
		newRange("10.1.0.0/24", "10.1.0.10", "10.1.0.12", "10.1.0.21"),
		newRange("10.1.0.0/24", "10.1.0.20", "10.1.0.22", "10.1.0.11"))
	var got []string
	for a := range set.After(netip.Addr{}) {
		got = append(got, a.String())
	}
	if diff := cmp.Diff([]string{"10.1.0.10", "10.1.0.12", "10.1.0.20", "10.1.0.22"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSetTake(t *testing.T) {
	set := newSet(t, newRange("10.1.0.0/29", "", "", ""))
	var asked []string
	got, err := set.Take(netip.MustParseAddr("10.1.0.5"), func(a netip.Addr) (bool, error) {
		asked = append(asked, a.String())
		return a == netip.MustParseAddr("10.1.0.2"), nil
	})
	if err != nil || got != netip.MustParseAddr("10.1.0.2") {
		t.Errorf("got %s, %v; want 10.1.0.2", got, err)
	}
	if diff := cmp.Diff([]string{"10.1.0.6", "10.1.0.2"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}

	broken := errors.New("disk on fire")
	if _, err := set.Take(netip.Addr{}, func(netip.Addr) (bool, error) { return false, broken }); err != broken {
		t.Errorf("got error %v, want the one of reserve", err)
	}

	none := func(netip.Addr) (bool, error) { return false, nil }
	_, err = set.Take(netip.Addr{}, none)
	if diff := cmp.Diff("no free address in 10.1.0.1-10.1.0.6: all 5 are held", text(err)); diff != "" {
		t.Errorf("full (-want +got):\n%s", diff)
	}
	_, err = newSet(t, newRange("10.1.0.0/29", "10.1.0.1", "10.1.0.1", "")).Take(netip.Addr{}, none)
	if diff := cmp.Diff("no free address in 10.1.0.1-10.1.0.1: it holds nothing but the gateway", text(err)); diff != "" {
		t.Errorf("only a gateway (-want +got):\n%s", diff)
	}
}
