package vrf_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/vrf"
	"golang.org/x/sys/unix"
)

func conf(keys string) string { return plugintest.Conf("vrf", keys) }

// setup gives the pod interfaces eth0 and eth1 with addresses and routes.
func setup(t *testing.T) *plugintest.Fixture {
	f := plugintest.New(t, vrf.New(plugintest.Host(t)), cni.Registry{})
	if err := f.Inside.AddVRF(link.VRF{Base: link.Base{Name: "probe"}, Table: 7}); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no vrf: make test-kernels runs this")
	} else if err != nil {
		t.Fatal(err)
	}
	f.IP("link del probe")
	for i, name := range []string{"eth0", "eth1"} {
		f.IP(fmt.Sprintf("link add %s type veth peer name wire%d", name, i))
		f.IP(fmt.Sprintf("link set wire%d up", i))
		f.IP("link set " + name + " up")
		f.IP("addr add 10.1.0.5/24 dev " + name)
		f.IP("addr add fd00:1::5/64 nodad dev " + name)
	}
	f.IP("route add 192.0.2.0/24 via 10.1.0.1 dev eth0")
	f.IP("-6 route add 2001:db8::/32 via fd00:1::1 dev eth0")
	return f
}

func request(f *plugintest.Fixture, ifname, keys string) *cni.Request {
	f.Helper()
	r := f.Request(conf(keys))
	r.IfName = ifname
	r.Prev = &cni.Result{
		Interfaces: []cni.Interface{{Name: ifname, Sandbox: f.Pod.Path}},
		Routes:     []cni.Route{{Dst: netip.MustParsePrefix("192.0.2.0/24")}},
	}
	return r
}

func add(f *plugintest.Fixture, ifname, keys string) *cni.Request {
	f.Helper()
	r := request(f, ifname, keys)
	before := r.Prev
	f.Attach(f, r)
	if diff := cmp.Diff(before.Interfaces, r.Prev.Interfaces); diff != "" {
		f.Errorf("result (-prev +got):\n%s", diff)
	}
	return r
}

func TestAddAndDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		links := f.IP("-o -br link")
		r := add(f, "eth0", `"vrfname":"blue"`)
		routes := f.IP("route show vrf blue") + f.IP("-6 route show vrf blue")
		for _, want := range []string{"10.1.0.0/24 dev eth0", "192.0.2.0/24 via 10.1.0.1 dev eth0", "2001:db8::/32 via fd00:1::1 dev eth0", "fd00:1::/64 dev eth0"} {
			if !strings.Contains(routes, want) {
				t.Errorf("want %q in the vrf's routes:\n%s", want, routes)
			}
		}
		if got := f.IP("addr show eth0"); !strings.Contains(got, "fd00:1::5/64") || strings.Contains(got, "fd00:1::5/64 scope global tentative") {
			t.Errorf("the IPv6 address is lost, or not usable:\n%s", got)
		}
		if got := f.IP("-d link show blue"); !strings.Contains(got, "vrf table 1 ") || !strings.Contains(got, ",UP") {
			t.Errorf("want it up, with table 1: %s", got)
		}
		f.Passes(r)
		// Another VRF gets another table, and a second member joins the first.
		second := add(f, "eth1", `"vrfname":"red"`)
		if got := f.IP("-d link show red"); !strings.Contains(got, "vrf table 2 ") {
			t.Errorf("want table 2: %s", got)
		}
		del(f, second)
		second = add(f, "eth1", `"vrfname":"blue","table":1`)
		del(f, r)
		f.IP("link show blue")
		second.Prev, second.Config.JSON = nil, []byte(conf(`"vrfname":"blue","table":"x"`))
		for range 2 {
			del(f, second)
		}
		if diff := cmp.Diff(links, f.IP("-o -br link")); diff != "" {
			t.Errorf("links (-before +after):\n%s", diff)
		}
		second.NetNS = ""
		del(f, second)
	})
}

// TestFoundDown: an ADD that was killed may leave the VRF as it was made, down.
func TestFoundDown(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.IP("link add blue type vrf table 7")
		r := add(f, "eth0", `"vrfname":"blue"`)
		f.Passes(r)
		del(f, r)
		if got := f.IP("-o link"); strings.Contains(got, "blue") {
			t.Errorf("its last member left, and it stays:\n%s", got)
		}
	})
}

func del(f *plugintest.Fixture, r *cni.Request) {
	f.Helper()
	if err := f.Del(f.Context(), r); err != nil {
		f.Errorf("del: %v", err)
	}
}

// TestRefused: nothing is changed, by the DEL that follows neither.
func TestRefused(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		add(f, "eth1", `"vrfname":"blue","table":77`)
		f.IP("link add green type vrf table 78")
		f.IP("link add br0 type bridge")
		f.IP("link set wire1 master br0")
		before := f.IP("-o -d link")
		for _, c := range []struct{ ifname, keys, want string }{
			{"eth0", `"vrfname":"blue","table":78`, "has table 77 already, not 78"},
			{"eth0", `"vrfname":"green","table":79`, "has table 78 already, not 79"},
			{"eth1", `"vrfname":"blue"`, "is in vrf blue already"},
			{"eth1", `"vrfname":"green"`, "belongs to the vrf blue"},
			{"wire1", `"vrfname":"green"`, "belongs to the bridge br0"},
			{"eth0", `"vrfname":"br0"`, "is a bridge, not a vrf"},
			{"eth0", `"vrfname":"eth0"`, "is a veth, not a vrf"},
			{"eth9", `"vrfname":"green"`, "link eth9"},
		} {
			r := request(f, c.ifname, c.keys)
			_, err := cni.Add(f.Context(), f, r)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "roll back") {
				t.Errorf("%+v: %v", c, err)
			}
			if c.ifname != "eth1" || !strings.Contains(c.keys, "blue") {
				del(f, r)
			}
			if diff := cmp.Diff(before, f.IP("-o -d link")); diff != "" {
				t.Errorf("%+v (-before +after):\n%s", c, diff)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := add(f, "eth0", `"vrfname":"blue","table":77`)
		for _, broken := range []struct{ do, want, undo string }{
			{"link set blue down", "vrf blue is down", "link set blue up"},
			{"route add 192.0.2.0/24 dev eth0 table 5", "route 192.0.2.0/24 is not in table 77", "route del 192.0.2.0/24 table 5"},
			{"link set eth0 nomaster", "eth0 is not in vrf blue", ""},
			{"link del blue", "link blue", "link add blue type vrf table 9"},
			{"link set blue up", "has table 9, not 77", ""},
		} {
			if strings.HasPrefix(broken.do, "route") {
				plugintest.Try(f.Pod, "ip", "route", "flush", "table", "77")
			}
			f.IP(broken.do)
			f.Finds(r, broken.want)
			if broken.undo != "" {
				f.IP(broken.undo)
			}
		}
	})
}

// TestBesideReference: the same VRF and routes, and each undoes what the other made.
func TestBesideReference(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		reference, _ := plugintest.Reference(t, "vrf")
		state := func() string {
			return f.IP("route show vrf blue") + f.IP("-6 route show vrf blue") + f.IP("-br addr show eth0")
		}
		r := add(f, "eth0", `"vrfname":"blue"`)
		ours := state()
		plugintest.Must(t, reference.Check(f.Context(), r))
		plugintest.Must(t, reference.Del(f.Context(), r))
		if out, err := plugintest.Try(f.Pod, "ip", "link", "show", "blue"); err == nil {
			t.Errorf("left by the reference: %s", out)
		}
		f.IP("addr flush dev eth0 scope global")
		for _, args := range []string{"addr add 10.1.0.5/24 dev eth0", "addr add fd00:1::5/64 nodad dev eth0",
			"route add 192.0.2.0/24 via 10.1.0.1 dev eth0", "-6 route add 2001:db8::/32 via fd00:1::1 dev eth0"} {
			f.IP(args)
		}
		_, err := reference.Add(f.Context(), request(f, "eth0", `"vrfname":"blue"`))
		plugintest.Must(t, err)
		if diff := cmp.Diff(state(), ours); diff != "" {
			t.Errorf("(-reference +ours):\n%s", diff)
		}
		f.Passes(r)
		del(f, r)
		if out, err := plugintest.Try(f.Pod, "ip", "link", "show", "blue"); err == nil {
			t.Errorf("left: %s", out)
		}
	})
}

func TestValidate(t *testing.T) {
	p := vrf.New(plugin.NewHost(plugin.Dirs{}))
	for keys, want := range map[string]string{
		`"x":1`:                          "vrfname: is missing",
		`"vrfname":"a/b"`:                "must not contain",
		`"vrfname":"blue","table":-1`:    "whole number",
		`"vrfname":"sixteen-bytes-it"`:   "longer than 15",
		`"vrfname":"blue","table":"red"`: "whole number",
	} {
		r := plugintest.Request(t, conf(keys), nil, "c1", cni.Registry{})
		err := p.Status(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), want) || cni.CodeOf(err) == cni.CodeInvalidEnvironment {
			t.Errorf("%s: %v, code %d, want %q", keys, err, cni.CodeOf(err), want)
		}
	}
	r := plugintest.Request(t, conf(`"vrfname":"blue"`), nil, "c1", cni.Registry{})
	if _, err := p.Add(t.Context(), r); cni.CodeOf(err) != cni.CodeInvalidConfig || !strings.Contains(err.Error(), "prevResult") {
		t.Errorf("alone: %v", err)
	}
}

// TestAvailable: a kernel without VRFs is what the host lacks, before any ADD.
func TestAvailable(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		host := plugintest.Links(t, nil)
		probe := host.AddVRF(link.VRF{Base: link.Base{Name: "probe"}, Table: 7})
		err := new(vrf.Config).Available(host)
		if lacks := errors.Is(probe, unix.EOPNOTSUPP); lacks && (err == nil || !strings.Contains(err.Error(), "this kernel has no vrf")) || !lacks && err != nil {
			t.Errorf("%v, and one is made: %v", err, probe)
		}
	})
}
