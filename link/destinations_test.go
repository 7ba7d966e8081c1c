package link_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
)

func TestDestinations(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "p")
		for _, args := range []string{
			"link add d0 type veth peer name d1", "link set d0 up", "link set d1 up", "addr add 10.1.0.1/24 dev d0", "addr add fd00::1/64 dev d0",
			"route add default via 10.1.0.254", "route add 10.2.0.0/16 via 10.1.0.254", "route add 10.2.0.0/16 via 10.1.0.254 table 7",
			"route add 10.3.0.0/16 via 10.1.0.254 table 7", "route add blackhole 10.4.0.0/16", "route add fd01::/64 via fd00::2",
		} {
			ip(t, pod, strings.Fields(args)...)
		}
		got, err := open(t, pod).Destinations()
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, netip.Prefix.Compare)
		if diff := cmp.Diff("[10.1.0.0/24 10.2.0.0/16 10.3.0.0/16 10.4.0.0/16 fd00::/64 fd01::/64]", fmt.Sprint(got)); diff != "" {
			t.Errorf("destinations (-want +got):\n%s", diff)
		}
	})
}
