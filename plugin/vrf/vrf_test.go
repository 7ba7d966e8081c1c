package vrf_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
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

func conf(keys string) string {
	return `{"cniVersion":"1.1.0","name":"net","type":"vrf",` + keys + `}`
}

type fixture struct {
	*testing.T
	plugin cni.Plugin
	pod    *netnstest.Pod
}

// setup gives the pod interfaces eth0 and eth1 with addresses and routes.
func setup(t *testing.T) *fixture {
	f := &fixture{t, vrf.New(plugintest.Host(t)), netnstest.NewPod(t, "pod1")}
	pod, err := link.In(f.pod.NS)
	if err != nil {
		t.Fatal(err)
	}
	defer pod.Close()
	if err := pod.AddVRF(link.VRF{Base: link.Base{Name: "probe"}, Table: 7}); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no vrf: make test-kernels runs this")
	} else if err != nil {
		t.Fatal(err)
	}
	f.inside("link del probe")
	for i, name := range []string{"eth0", "eth1"} {
		f.inside(fmt.Sprintf("link add %s type veth peer name wire%d", name, i))
		f.inside(fmt.Sprintf("link set wire%d up", i))
		f.inside("link set " + name + " up")
		f.inside("addr add 10.1.0.5/24 dev " + name)
		f.inside("addr add fd00:1::5/64 nodad dev " + name)
	}
	f.inside("route add 192.0.2.0/24 via 10.1.0.1 dev eth0")
	f.inside("-6 route add 2001:db8::/32 via fd00:1::1 dev eth0")
	return f
}

func (f *fixture) inside(args string) string {
	f.Helper()
	return plugintest.Run(f, f.pod, "ip", strings.Fields(args)...)
}

func (f *fixture) request(ifname, keys string) *cni.Request {
	f.Helper()
	r := plugintest.Request(f, conf(keys), f.pod, "c1", cni.Registry{})
	r.IfName = ifname
	r.Prev = &cni.Result{
		Interfaces: []cni.Interface{{Name: ifname, Sandbox: f.pod.Path}},
		Routes:     []cni.Route{{Dst: netip.MustParsePrefix("192.0.2.0/24")}},
	}
	return r
}

func (f *fixture) add(ifname, keys string) *cni.Request {
	f.Helper()
	r := f.request(ifname, keys)
	result, err := f.plugin.Add(context.Background(), r)
	if err != nil {
		f.Fatalf("add %s: %v", ifname, err)
	}
	if diff := cmp.Diff(r.Prev.Interfaces, result.Interfaces); diff != "" {
		f.Errorf("result (-prev +got):\n%s", diff)
	}
	return r
}

func TestAddAndDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		links := f.inside("-o -br link")
		r := f.add("eth0", `"vrfname":"blue"`)
		routes := f.inside("route show vrf blue") + f.inside("-6 route show vrf blue")
		for _, want := range []string{"10.1.0.0/24 dev eth0", "192.0.2.0/24 via 10.1.0.1 dev eth0", "2001:db8::/32 via fd00:1::1 dev eth0", "fd00:1::/64 dev eth0"} {
			if !strings.Contains(routes, want) {
				t.Errorf("want %q in the vrf's routes:\n%s", want, routes)
			}
		}
		if got := f.inside("addr show eth0"); !strings.Contains(got, "fd00:1::5/64") || strings.Contains(got, "fd00:1::5/64 scope global tentative") {
			t.Errorf("the IPv6 address is lost, or not usable:\n%s", got)
		}
		if got := f.inside("-d link show blue"); !strings.Contains(got, "vrf table 1 ") || !strings.Contains(got, ",UP") {
			t.Errorf("want it up, with table 1: %s", got)
		}
		if err := f.plugin.Check(context.Background(), r); err != nil {
			t.Errorf("check: %v", err)
		}
		// Another VRF gets another table, and a second member joins the first.
		second := f.add("eth1", `"vrfname":"red"`)
		if got := f.inside("-d link show red"); !strings.Contains(got, "vrf table 2 ") {
			t.Errorf("want table 2: %s", got)
		}
		f.del(second)
		second = f.add("eth1", `"vrfname":"blue","table":1`)
		f.del(r)
		f.inside("link show blue")
		second.Prev, second.Config.JSON = nil, []byte(conf(`"vrfname":"blue","table":"x"`))
		for range 2 {
			f.del(second)
		}
		if diff := cmp.Diff(links, f.inside("-o -br link")); diff != "" {
			t.Errorf("links (-before +after):\n%s", diff)
		}
		second.NetNS = ""
		f.del(second)
	})
}

// TestFoundDown: an ADD that was killed may leave the VRF as it was made, down.
func TestFoundDown(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.inside("link add blue type vrf table 7")
		r := f.add("eth0", `"vrfname":"blue"`)
		if err := f.plugin.Check(context.Background(), r); err != nil {
			t.Errorf("check: %v", err)
		}
		f.del(r)
		if got := f.inside("-o link"); strings.Contains(got, "blue") {
			t.Errorf("its last member left, and it stays:\n%s", got)
		}
	})
}

func (f *fixture) del(r *cni.Request) {
	f.Helper()
	if err := f.plugin.Del(context.Background(), r); err != nil {
		f.Errorf("del: %v", err)
	}
}

// TestRefused: nothing is changed, by the DEL that follows neither.
func TestRefused(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.add("eth1", `"vrfname":"blue","table":77`)
		f.inside("link add green type vrf table 78")
		f.inside("link add br0 type bridge")
		f.inside("link set wire1 master br0")
		before := f.inside("-o -d link")
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
			r := f.request(c.ifname, c.keys)
			_, err := cni.Add(context.Background(), f.plugin, r)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "roll back") {
				t.Errorf("%+v: %v", c, err)
			}
			if c.ifname != "eth1" || !strings.Contains(c.keys, "blue") {
				f.del(r)
			}
			if diff := cmp.Diff(before, f.inside("-o -d link")); diff != "" {
				t.Errorf("%+v (-before +after):\n%s", c, diff)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.add("eth0", `"vrfname":"blue","table":77`)
		for _, broken := range []struct{ do, want, undo string }{
			{"link set blue down", "vrf blue is down", "link set blue up"},
			{"route add 192.0.2.0/24 dev eth0 table 5", "route 192.0.2.0/24 is not in table 77", "route del 192.0.2.0/24 table 5"},
			{"link set eth0 nomaster", "eth0 is not in vrf blue", ""},
			{"link del blue", "link blue", "link add blue type vrf table 9"},
			{"link set blue up", "has table 9, not 77", ""},
		} {
			if strings.HasPrefix(broken.do, "route") {
				plugintest.Try(f.pod, "ip", "route", "flush", "table", "77")
			}
			f.inside(broken.do)
			if err := f.plugin.Check(context.Background(), r); err == nil || !strings.Contains(err.Error(), broken.want) {
				t.Errorf("%s: %v, want %q", broken.do, err, broken.want)
			}
			if broken.undo != "" {
				f.inside(broken.undo)
			}
		}
	})
}

// TestBesideReference: the same VRF and routes, and each undoes what the other made.
func TestBesideReference(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		dir := os.Getenv("SEAM_REFERENCE_PLUGINS")
		if dir == "" {
			t.Skip("needs the reference plugins: set SEAM_REFERENCE_PLUGINS to their folder, as make test does")
		}
		reference := func(verb string) {
			t.Helper()
			cmd := exec.Command(filepath.Join(dir, "vrf"))
			cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID=c1", "CNI_NETNS="+f.pod.Path, "CNI_IFNAME=eth0", "CNI_PATH="+dir)
			cmd.Stdin = strings.NewReader(conf(`"vrfname":"blue","prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"` + f.pod.Path + `"}]}`))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("reference %s: %v\n%s", verb, err, out)
			}
		}
		state := func() string {
			return f.inside("route show vrf blue") + f.inside("-6 route show vrf blue") + f.inside("-br addr show eth0")
		}
		r := f.add("eth0", `"vrfname":"blue"`)
		ours := state()
		reference("CHECK")
		reference("DEL")
		if out, err := plugintest.Try(f.pod, "ip", "link", "show", "blue"); err == nil {
			t.Errorf("left by the reference: %s", out)
		}
		f.inside("addr flush dev eth0 scope global")
		for _, args := range []string{"addr add 10.1.0.5/24 dev eth0", "addr add fd00:1::5/64 nodad dev eth0",
			"route add 192.0.2.0/24 via 10.1.0.1 dev eth0", "-6 route add 2001:db8::/32 via fd00:1::1 dev eth0"} {
			f.inside(args)
		}
		reference("ADD")
		if diff := cmp.Diff(state(), ours); diff != "" {
			t.Errorf("(-reference +ours):\n%s", diff)
		}
		if err := f.plugin.Check(context.Background(), r); err != nil {
			t.Errorf("check of the reference's: %v", err)
		}
		f.del(r)
		if out, err := plugintest.Try(f.pod, "ip", "link", "show", "blue"); err == nil {
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
		err := p.Status(context.Background(), r)
		if err == nil || !strings.Contains(err.Error(), want) || cni.CodeOf(err) == cni.CodeInvalidEnvironment {
			t.Errorf("%s: %v, code %d, want %q", keys, err, cni.CodeOf(err), want)
		}
	}
	r := plugintest.Request(t, conf(`"vrfname":"blue"`), nil, "c1", cni.Registry{})
	if _, err := p.Add(context.Background(), r); cni.CodeOf(err) != cni.CodeInvalidConfig || !strings.Contains(err.Error(), "prevResult") {
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
