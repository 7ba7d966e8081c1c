package tap_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
	"github.com/seamnet/seam/plugin/tap"
	"golang.org/x/sys/unix"
)

const ipam = `"ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24"}],"routes":[{"dst":"192.0.2.0/24","gw":"10.1.0.1"}]}`

var finder = cni.Registry{"static": static.New()}

func conf(keys string) string { return plugintest.Conf("tap", keys) }

func setup(t *testing.T) *plugintest.Fixture {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("this kernel has no taps: make test-kernels runs this")
	}
	return plugintest.New(t, tap.New(plugintest.Host(t)), finder)
}

func TestAddAndDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.IP("link add br0 address 02:00:00:00:00:01 type bridge")
		before := f.IP("-o link") + plugintest.State(t)
		r := f.Request(conf(`"multiQueue":true,"mtu":1400,"mac":"02:00:00:00:00:05","owner":54321,"group":54322,"bridge":"br0",` + ipam))
		f.Attach(f, r)
		want := []cni.Interface{{Name: "eth0", MAC: []byte{2, 0, 0, 0, 0, 5}, Sandbox: f.Pod.Path}}
		if diff := cmp.Diff(want, r.Prev.Interfaces); diff != "" {
			t.Errorf("interfaces (-want +got):\n%s", diff)
		}
		got := f.IP("-d link show eth0") + f.IP("addr show eth0") + f.IP("route")
		for _, want := range []string{"mtu 1400", "master br0", "tun type tap", "multi_queue numqueues", "persist on", "user 54321", "group 54322", "10.1.0.5/24"} {
			if !strings.Contains(got, want) {
				t.Errorf("want %q in\n%s", want, got)
			}
		}
		f.Passes(r)
		f.DetachTwice(r)
		if diff := cmp.Diff(before, f.IP("-o link")+plugintest.State(t)); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
}

// TestAttach: what is made for a user is the user's: the one may attach, another not.
func TestAttach(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.Attach(f, f.Request(conf(`"mac":"02:00:00:00:00:05","owner":0`)))
		if got := f.IP("link show eth0"); !strings.Contains(got, "NO-CARRIER") {
			t.Errorf("nobody is attached yet: %s", got)
		}
		err := f.Pod.NS.Do(func() error {
			file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer file.Close()
			ifr, err := unix.NewIfreq("eth0")
			if err != nil {
				return err
			}
			ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
			if err := unix.IoctlIfreq(int(file.Fd()), unix.TUNSETIFF, ifr); err != nil {
				return err
			}
			out, err := exec.Command("ip", "link", "show", "eth0").CombinedOutput()
			if !strings.Contains(string(out), "LOWER_UP") {
				t.Errorf("attached: %s", out)
			}
			return err
		})
		if err != nil {
			t.Errorf("attach: %v", err)
		}
		f.IP("link show eth0") // it stays without a program
	})
}

func TestMAC(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		for _, c := range []struct{ keys, args, want string }{
			{`"mac":"02:00:00:00:00:01"`, "", "02:00:00:00:00:01"},
			{`"mac":"02:00:00:00:00:01"`, "02:00:00:00:00:02", "02:00:00:00:00:02"},
			{`"mac":"02:00:00:00:00:01","runtimeConfig":{"mac":"02:00:00:00:00:03"}`, "02:00:00:00:00:02", "02:00:00:00:00:03"},
			{`"owner":1,"group":1,"mac":"02:00:00:00:00:04"`, "", "02:00:00:00:00:04"}, // the reference forgets it
		} {
			r := f.Request(conf(c.keys))
			if c.args != "" {
				r.Args = cni.Args{{Key: "MAC", Value: c.args}}
			}
			f.Attach(f, r)
			if got := r.Prev.Interfaces[0].MAC.String(); got != c.want || !strings.Contains(f.IP("link show eth0"), c.want) {
				t.Errorf("%+v: got %s", c, got)
			}
			f.Detach(f, r)
		}
	})
}

// TestExistingInterface: also a tap that stands there is refused, not taken over.
func TestExistingInterface(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		for _, made := range []string{"tuntap add mode tap name eth0", "link add eth0 type veth peer name x"} {
			f.IP(made)
			before := f.IP("-d link")
			f.Refuses("over "+made, f.Request(conf(`"mtu":1300,`+ipam)), cni.CodeExists)
			if diff := cmp.Diff(before, f.IP("-d link")); diff != "" {
				t.Errorf("%s (-before +after):\n%s", made, diff)
			}
			f.IP("link del eth0")
		}
	})
}

func TestFailedAddLeavesNothing(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.IP("link add notbr type veth peer name x")
		before := f.IP("-o link")
		for keys, want := range map[string]string{
			`"ipam":{"type":"nowhere"}`:        "nowhere",
			`"ipam":{"type":"static"}`:         "address",
			`"bridge":"br9"`:                   "no bridge br9",
			`"bridge":"notbr"`:                 "is a veth, not a bridge",
			`"bridge":"a/b"`:                   "interface name",
			`"mac":"01:00:00:00:00:01"`:        "group address",
			`"owner":4294967295`:               "no user or group",
			`"owner":-1`:                       "whole number",
			`"mtu":50`:                         "set link eth0",
			`"selinuxContext":"a:b:c"`:         `selinuxContext "a:b:c"`,
			`"selinuxcontext":"a:b:c","mtu":9`: `selinuxContext "a:b:c"`,
		} {
			_, err := cni.Add(f.Context(), f, f.Request(conf(keys)))
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "roll back") {
				t.Errorf("%s: %v, want %q", keys, err, want)
			}
			if diff := cmp.Diff(before, f.IP("-o link")); diff != "" {
				t.Errorf("%s (-before +after):\n%s", keys, diff)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.IP("link add br0 type bridge")
		r := f.Request(conf(`"owner":1000,"mtu":1400,"mac":"02:00:00:00:00:05","bridge":"br0",` + ipam))
		f.Attach(f, r)
		for _, broken := range []struct{ do, want, undo string }{
			{"link set eth0 down", "is down", "link set eth0 up"},
			{"link set eth0 mtu 1300", "has MTU 1300, not 1400", "link set eth0 mtu 1400"},
			{"link set eth0 nomaster", "is not a port of bridge br0", "link set eth0 master br0"},
			{"addr del 10.1.0.5/24 dev eth0", "10.1.0.5/24 of eth0 is gone", "addr add 10.1.0.5/24 dev eth0"},
			{"link set eth0 address 02:00:00:00:00:06", "has MAC address 02:00:00:00:00:06, not", "link set eth0 address 02:00:00:00:00:05"},
			{"link del br0", "cannot be a port of its bridge", ""},
			{"link del eth0", "link eth0", "tuntap add mode tap name eth0 user 7 multi_queue"},
			{"link set eth0 up", "has owner 7, not 1000", ""},
			{"link set eth0 up", "has several queues: true, not false", "link del eth0"},
			{"link add eth0 type veth peer name x", "is a veth, not a tap", ""},
		} {
			f.IP(broken.do)
			f.Finds(r, broken.want)
			if broken.undo != "" {
				f.IP(broken.undo)
			}
		}
	})
}

// TestBesideReference: the same tap, and each undoes what the other made.
func TestBesideReference(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		// Programs say anew what they want of the first two when they attach.
		unlike := regexp.MustCompile(`pi (on|off) vnet_hdr (on|off)|qdisc \S+`)
		for _, keys := range []string{ipam, `"owner":1000,` + ipam, `"owner":1000,"group":1000,"multiQueue":true,` + ipam, `"mtu":1400,"mac":"02:00:00:00:00:05"`} {
			f.WantLikeReference(f.Request(conf(keys)), plugintest.Unlike{MAC: !strings.Contains(keys, "mac"), State: unlike})
		}
	})
}

func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		if err := f.Status(f.Context(), f.Request(conf(ipam))); err != nil {
			t.Error(err)
		}
		err := f.Status(f.Context(), f.Request(conf(`"mac":"zz","bridge":"a b","mtu":-1`)))
		plugintest.WantError(t, "nonsense", err, cni.CodeInvalidConfig, `MAC address "zz"`, "bridge: interface name", "mtu -1")
		if err := unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		if err := f.Status(f.Context(), f.Request(conf(ipam))); cni.CodeOf(err) != cni.CodeNotAvailable {
			t.Errorf("without /dev/net/tun: %v", err)
		}
	})
}
