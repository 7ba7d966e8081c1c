package link_test

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// TestSnapshotOfEngine: an engine moves the main link by way of the host to its sandbox,
// where it has other names for it, addresses and default routes of its own and no IPv6
// but where it put some; another network's link is there already.
func TestSnapshotOfEngine(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		staging, sandbox := twoPods(t)
		outside(t, staging, "eth0", "net1")
		script(t, staging, everything)
		h, host, to := open(t, staging), open(t, nil), open(t, sandbox)
		s := stored(t, h)
		before := settled(t, staging)
		script(t, sandbox, `
			sysctl ipv6/conf/all/disable_ipv6=1
			ip link add eth0 type veth peer name other
			ip link set eth0 up
			ip addr add 10.200.0.2/24 dev eth0
			ip link set other up
			ip route add 10.0.0.0/8 via 10.200.0.1 metric 5`)
		others := ip(t, sandbox, "-d", "addr", "show", "eth0") + ip(t, sandbox, "route", "show", "dev", "eth0")
		main := must[link.Link](t)(h.ByName("eth0"))
		if err := h.Move(main, link.Move{To: host, Name: "src0"}); err != nil {
			t.Fatal(err)
		}
		must[[]link.Link](t)(h.MoveAll(to, nil))
		ip(t, nil, "link", "set", "src0", "netns", "sandbox")
		script(t, sandbox, `
			ip link set src0 name eth1
			sysctl ipv6/conf/eth1/disable_ipv6=0
			ip addr add 192.0.2.2/24 brd + dev eth1
			ip addr add 2001:db8::2/64 nodad dev eth1
			ip link set eth1 up
			ip route add default via 192.0.2.3
			ip route add 10.0.0.0/8 via 192.0.2.1
			ip -6 route add default via 2001:db8::3`)
		for range 2 {
			if err := to.Restore(s, link.RestoreOptions{SkipDefaultRoutes: true}); err != nil {
				t.Errorf("restore: %v", err)
			}
		}
		want, got := sections(strings.ReplaceAll(before, "eth0", "eth1")), sections(settled(t, sandbox))
		for _, command := range []string{
			"ip -4 -d route show table all", "ip -6 -d route show table all", "ip nexthop", "ip -4 rule", "ip -6 rule",
			"ip -4 neigh show nud permanent", "ip -6 neigh show nud permanent", "ip -4 neigh show proxy",
			"ip -d addr show eth1", "ip -d addr show net1", "ip -d addr show mac0", "tc qdisc show dev eth1", "tc qdisc show dev net1", "tc class show dev net1",
			"tc filter show dev eth1 ingress", "tc filter show dev net1 egress", "tc filter show dev net1 root",
		} {
			if diff := cmp.Diff(notOfEngine(want[command]), notOfEngine(got[command])); diff != "" {
				t.Errorf("%s (-before +after):\n%s", command, diff)
			}
		}
		routes := ip(t, sandbox, "route") + ip(t, sandbox, "-6", "route")
		for _, engines := range []string{"default via 192.0.2.3 dev eth1", "default via 2001:db8::3 dev eth1"} {
			if strings.Count(routes, "default") != 2 || !strings.Contains(routes, engines) {
				t.Errorf("routes: want %s and no other default route:\n%s", engines, routes)
			}
		}
		if diff := cmp.Diff(others, ip(t, sandbox, "-d", "addr", "show", "eth0")+ip(t, sandbox, "route", "show", "dev", "eth0")); diff != "" {
			t.Errorf("another network's link (-before +after):\n%s", diff)
		}
	})
}

var engines = regexp.MustCompile(` dev eth0|10\.200\.0|default via [0-9a-f.:]+ dev eth1 table main|::1 dev lo`)

// notOfEngine are the lines about what the engine made, or took, in TestSnapshotOfEngine.
func notOfEngine(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), engines.MatchString)
}

// TestRestoreGoesOn: what is missing, or refused, is said, and the rest is there.
func TestRestoreGoesOn(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		staging, sandbox := twoPods(t)
		outside(t, staging, "eth0", "net1")
		script(t, staging, `
			ip link set eth0 up
			ip link set net1 up
			ip addr add 192.0.2.2/24 dev eth0
			ip addr add 203.0.113.2/24 dev net1
			ip route add default via 192.0.2.1
			ip route add 10.0.0.0/8 via 203.0.113.1
			ip neigh add 192.0.2.1 lladdr 02:00:00:00:77:01 dev eth0 nud permanent
			sysctl ipv4/conf/net1/rp_filter=2`)
		h, to := open(t, staging), open(t, sandbox)
		s := stored(t, h)
		s.Settings = link.Settings{"ipv4/none_such": "1", "ipv4/ip_forward": "1"}
		script(t, staging, "ip link del eth0")
		moved := must[[]link.Link](t)(h.MoveAll(to, map[string]string{"net1": "net7"}))
		if len(moved) != 1 || moved[0].Name != "net7" {
			t.Errorf("moved %+v, want net1, called net7", moved)
		}
		err := to.Restore(s, link.RestoreOptions{})
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "link eth0") || !strings.Contains(err.Error(), "none_such") {
			t.Errorf("restore: %v, want that eth0 and a setting are missing", err)
		}
		want := "10.0.0.0/8 via 203.0.113.1 dev net7 \n203.0.113.0/24 dev net7 proto kernel scope link src 203.0.113.2 \n"
		if diff := cmp.Diff(want, ip(t, sandbox, "route")); diff != "" {
			t.Errorf("routes (-want +got):\n%s", diff)
		}
		for path, want := range map[string]string{"ipv4/conf/net7/rp_filter": "2", "ipv4/ip_forward": "1"} {
			_ = sandbox.NS.Do(func() error {
				if got, err := link.Sysctl(path).Get(); err != nil || got != want {
					t.Errorf("%s: %q, %v, want %s", path, got, err, want)
				}
				return nil
			})
		}
	})
}

// TestRestoreForNamed: a link that someone gave another MAC is known by its name.
func TestRestoreForNamed(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		staging, sandbox := twoPods(t)
		outside(t, staging, "eth0")
		script(t, staging, `
			ip link set eth0 up
			ip addr add 192.0.2.2/24 dev eth0`)
		h, to := open(t, staging), open(t, sandbox)
		s := stored(t, h)
		must[[]link.Link](t)(h.MoveAll(to, map[string]string{"eth0": "eth3"}))
		script(t, sandbox, "ip link set eth3 address 02:00:00:00:00:55")
		if err := to.Restore(s, link.RestoreOptions{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without its name: %v, want fs.ErrNotExist", err)
		}
		if err := to.Restore(s, link.RestoreOptions{Names: map[string]string{"eth0": "eth3"}}); err != nil {
			t.Error(err)
		}
		if text := ip(t, sandbox, "addr", "show", "eth3"); !strings.Contains(text, "192.0.2.2/24") || !strings.Contains(text, ",UP") {
			t.Errorf("eth3:\n%s", text)
		}
	})
}

// TestRestoreNotForAnother: a link without a MAC is not taken for any other that has none.
func TestRestoreNotForAnother(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		staging, sandbox := twoPods(t)
		script(t, staging, "ip tuntap add mode tun name tun0\n ip addr add 192.0.2.2/24 dev tun0")
		script(t, sandbox, "ip link add gone type veth peer name gone2\n ip tuntap add mode tun name tun9")
		h, to := open(t, staging), open(t, sandbox)
		s := stored(t, h)
		if err := to.Restore(s, link.RestoreOptions{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("restore: %v, want fs.ErrNotExist", err)
		}
		must[[]link.Link](t)(h.MoveAll(to, nil))
		if err := to.Restore(s, link.RestoreOptions{}); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]bool{"tun0": true, "tun9": false} {
			if text := ip(t, sandbox, "addr", "show", name); strings.Contains(text, "192.0.2.2/24") != want {
				t.Errorf("%s, want its address %t:\n%s", name, want, text)
			}
		}
	})
}

// TestMoveAllTaken: a name that is taken keeps no other link from moving.
func TestMoveAllTaken(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		staging, sandbox := twoPods(t)
		outside(t, staging, "eth0", "net1")
		script(t, sandbox, "ip link add eth0 type veth peer name eth1")
		script(t, staging, "ip link set net1 alias tag\n ip link property add dev net1 altname other")
		h, to := open(t, staging), open(t, sandbox)
		moved, err := h.MoveAll(to, nil)
		if !errors.Is(err, fs.ErrExist) || len(moved) != 1 || moved[0].Name != "net1" || moved[0].Alias != "tag" {
			t.Errorf("%+v, %v, want net1, and fs.ErrExist for eth0", moved, err)
		}
		if len(moved) == 1 {
			if names := must[[]string](t)(to.AltNames(moved[0])); !slices.Equal(names, []string{"other"}) {
				t.Errorf("other names %v", names)
			}
		}
		if _, err := h.ByName("eth0"); err != nil {
			t.Error(err)
		}
	})
}
