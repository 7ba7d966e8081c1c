package hostdevice_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/hostdevice"
	"github.com/seamnet/seam/plugin/hostlocal"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
)

const ipam = `,"ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24"}],"routes":[{"dst":"192.0.2.0/24","gw":"10.1.0.1"}]}`

func conf(keys string) string {
	return `{"cniVersion":"1.1.0","name":"net","type":"host-device",` + keys + `}`
}

var finder = cni.Registry{"static": static.New()}

type fixture struct {
	*testing.T
	host   *plugin.Host
	plugin cni.Plugin
	pod    *netnstest.Pod
}

// setup makes a device ens5, with all that a host may have given it.
func setup(t *testing.T) *fixture {
	for _, args := range []string{
		"link add ens5 address 02:00:00:00:00:05 mtu 1400 type veth peer name wire",
		"link set ens5 alias uplink", "addr add 198.51.100.5/24 dev ens5", "addr add 2001:db8::5/64 nodad dev ens5",
		"link set wire up", "link set ens5 up",
	} {
		plugintest.Run(t, nil, "ip", strings.Fields(args)...)
	}
	host := plugintest.Host(t)
	return &fixture{t, host, hostdevice.New(host), netnstest.NewPod(t, "pod1")}
}

func (f *fixture) request(keys string) *cni.Request {
	f.Helper()
	return plugintest.Request(f, conf(keys), f.pod, "c1", finder)
}

func (f *fixture) add(keys string) (*cni.Request, *cni.Result) {
	f.Helper()
	r := f.request(keys)
	result, err := f.plugin.Add(context.Background(), r)
	if err != nil {
		f.Fatalf("add: %v", err)
	}
	return r, result
}

func (f *fixture) del(r *cni.Request) {
	f.Helper()
	if err := f.plugin.Del(context.Background(), r); err != nil {
		f.Errorf("del: %v", err)
	}
}

// home returns the host's state, and the loans.
func (f *fixture) home() string {
	f.Helper()
	state, _, _ := strings.Cut(plugintest.State(f), "table inet seam")
	// The kernel makes this one a moment after the address.
	state = strings.NewReplacer("local 2001:db8::5 dev ens5 table local proto kernel metric 0 pref medium\n", "", " state LOWERLAYERDOWN", "").Replace(state)
	files, _ := filepath.Glob(filepath.Join(f.host.State("host-device"), "*"))
	return state + strings.Join(files, "\n")
}

func (f *fixture) same(what, before string) {
	f.Helper()
	if diff := cmp.Diff(before, f.home()); diff != "" {
		f.Errorf("%s: the host (-before +after):\n%s", what, diff)
	}
}

func TestAddAndDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		before := f.home()
		r, result := f.add(`"device":"ens5"` + ipam)
		want := cni.Interface{Name: "eth0", MAC: []byte{2, 0, 0, 0, 0, 5}, Sandbox: f.pod.Path}
		if diff := cmp.Diff([]cni.Interface{want}, result.Interfaces); diff != "" {
			t.Errorf("interfaces (-want +got):\n%s", diff)
		}
		inside := plugintest.Run(t, f.pod, "ip", "link", "show", "eth0") + plugintest.Run(t, f.pod, "ip", "addr") + plugintest.Run(t, f.pod, "ip", "route")
		for _, want := range []string{"mtu 1400", "state UP", "alias ens5", "10.1.0.5/24", "192.0.2.0/24 via 10.1.0.1"} {
			if !strings.Contains(inside, want) {
				t.Errorf("want %q in\n%s", want, inside)
			}
		}
		if strings.Contains(inside, "198.51.100.5") {
			t.Errorf("the host's address came along:\n%s", inside)
		}
		if out, err := plugintest.Try(nil, "ip", "link", "show", "ens5"); err == nil {
			t.Errorf("the host has it still: %s", out)
		}
		r.Prev = result
		if err := f.plugin.Check(context.Background(), r); err != nil {
			t.Errorf("check: %v", err)
		}
		// What the container may do to it is undone.
		plugintest.Run(t, f.pod, "ip", "link", "set", "eth0", "down")
		plugintest.Run(t, f.pod, "ip", "link", "set", "eth0", "name", "lan", "mtu", "1300", "address", "02:00:00:00:00:99", "alias", "mine")
		for range 2 {
			f.del(r)
			f.same("after DEL", before)
		}
	})
}

// TestDelFromAnywhere: with whatever a runtime still knows, and where the container has a
// link of the host's name.
func TestDelFromAnywhere(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		before := f.home()
		for name, change := range map[string]func(*cni.Request){
			"no namespace":      func(r *cni.Request) { r.NetNS = "" },
			"another namespace": func(r *cni.Request) { r.NetNS = netnstest.NewPod(t, "other").Path },
			"invalid configuration": func(r *cni.Request) {
				r.Config.JSON = []byte(conf(`"device":7`))
			},
			"name taken inside": func(r *cni.Request) {
				plugintest.Run(t, f.pod, "ip", "link", "add", "ens5", "type", "veth", "peer", "name", "ens6")
			},
			"name of the pod's on the host": func(r *cni.Request) {
				plugintest.Run(t, f.pod, "ip", "link", "del", "ens5")
				plugintest.Run(t, nil, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
			},
		} {
			r, _ := f.add(`"device":"ens5"` + ipam)
			if name == "name of the pod's on the host" {
				plugintest.Try(f.pod, "ip", "link", "add", "ens5", "type", "veth", "peer", "name", "ens6")
			}
			change(r)
			f.del(r)
			plugintest.Try(nil, "ip", "link", "del", "eth0")
			plugintest.Try(f.pod, "ip", "link", "del", "ens5")
			f.same(name, before)
		}
	})
}

func TestNameTakenAtHome(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		before := f.home()
		r, _ := f.add(`"device":"ens5"`)
		plugintest.Run(t, nil, "ip", "link", "add", "ens5", "type", "veth", "peer", "name", "x")
		if err := f.plugin.Del(context.Background(), r); err == nil || !strings.Contains(err.Error(), "another link there is called ens5") {
			t.Errorf("del: %v", err)
		}
		plugintest.Run(t, f.pod, "ip", "link", "show", "eth0") // nothing is lost
		plugintest.Run(t, nil, "ip", "link", "del", "ens5")
		f.del(r)
		f.same("after the second DEL", before)
	})
}

func TestExistingInterface(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		plugintest.Run(t, f.pod, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x")
		before := f.home() + plugintest.Run(t, f.pod, "ip", "link")
		r := f.request(`"device":"ens5"` + ipam)
		if _, err := cni.Add(context.Background(), f.plugin, r); cni.CodeOf(err) != cni.CodeExists {
			t.Errorf("add: %v, want code %d", err, cni.CodeExists)
		}
		f.del(r) // as runtimes do
		if diff := cmp.Diff(before, f.home()+plugintest.Run(t, f.pod, "ip", "link")); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
}

// TestAltNameTaken: the kernel does not move a device to where another of its names is
// taken, of which nobody can know before.
func TestAltNameTaken(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		plugintest.Run(t, nil, "ip", "link", "property", "add", "dev", "ens5", "altname", "card")
		plugintest.Run(t, f.pod, "ip", "link", "property", "add", "dev", "lo", "altname", "card")
		before := f.home()
		if _, err := cni.Add(context.Background(), f.plugin, f.request(`"device":"ens5"`)); cni.CodeOf(err) != cni.CodeExists {
			t.Errorf("add: %v, want code %d", err, cni.CodeExists)
		}
		f.same("refused", before)
	})
}

// TestAnothersDevice: neither an ADD that asks for a device that is lent nor the DEL after it
// touch it, also in the same pod.
func TestAnothersDevice(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r, result := f.add(`"device":"ens5"` + ipam)
		for _, keys := range []string{`"device":"ens5"`, `"hwaddr":"02:00:00:00:00:05"`} {
			other := plugintest.Request(t, conf(keys), netnstest.NewPod(t, "pod2"), "c2", finder)
			_, err := cni.Add(context.Background(), f.plugin, other)
			if cni.CodeOf(err) != cni.CodeTryAgain || !strings.Contains(err.Error(), "lent to attachment net/c1/eth0") {
				t.Errorf("%s: %v", keys, err)
			}
			netns.Remove("/run/netns/pod2")
		}
		same := plugintest.Request(t, conf(`"device":"wire"`), f.pod, "c3", finder)
		if _, err := cni.Add(context.Background(), f.plugin, same); cni.CodeOf(err) != cni.CodeExists {
			t.Errorf("another container in the same pod: %v", err)
		}
		f.del(same)
		r.Prev = result
		if err := f.plugin.Check(context.Background(), r); err != nil {
			t.Errorf("check: %v", err)
		}
		other := f.request(`"device":"nonesuch"`)
		other.IfName = "eth1"
		if _, err := cni.Add(context.Background(), f.plugin, other); err == nil || !strings.Contains(err.Error(), "device nonesuch") {
			t.Errorf("a device that is not there: %v", err)
		}
	})
}

func TestFailedAddLeavesNothing(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		before := f.home()
		leases := t.TempDir()
		lease := hostlocal.New(leases)
		for name, keys := range map[string]string{
			"ipam unknown": `"device":"ens5","ipam":{"type":"nowhere"}`,
			"bad route":    `"device":"ens5","ipam":{"type":"host-local","dataDir":"` + leases + `","subnet":"10.1.0.0/24","routes":[{"dst":"192.0.2.0/24","gw":"198.51.100.1"}]}`,
			"not movable":  `"device":"lo"`,
			"no selector":  `"dns":{}`,
		} {
			r := f.request(keys)
			r.Plugins = cni.Registry{"host-local": lease}
			_, err := cni.Add(context.Background(), f.plugin, r)
			if err == nil || strings.Contains(err.Error(), "roll back") {
				t.Errorf("%s: %v", name, err)
			}
			f.same(name, before)
		}
		if files, _ := filepath.Glob(leases + "/net/10.*"); len(files) != 0 {
			t.Errorf("leases are left: %v", files)
		}
	})
}

// TestIPAMReleased: also with nothing to go by but the identity.
func TestIPAMReleased(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		leases := t.TempDir()
		r := f.request(`"device":"ens5","ipam":{"type":"host-local","dataDir":"` + leases + `","subnet":"10.1.0.0/24"}`)
		r.Plugins = cni.Registry{"host-local": hostlocal.New(leases)}
		if _, err := f.plugin.Add(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		r.NetNS = ""
		f.del(r)
		if files, _ := filepath.Glob(leases + "/net/10.*"); len(files) != 0 {
			t.Errorf("leases are left: %v", files)
		}
	})
}

func TestGC(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		before := f.home()
		r, _ := f.add(`"device":"ens5"`)
		lent := f.home()
		gc := *r
		gc.Attachment = cni.Attachment{Network: "net"}
		for _, valid := range [][]cni.Attachment{nil, {r.Attachment}} {
			gc.Valid = valid
			if err := f.plugin.GC(context.Background(), &gc); err != nil {
				t.Error(err)
			}
			f.same("GC that leaves it", lent)
		}
		other := gc
		other.Network, other.Valid = "other", []cni.Attachment{}
		if err := f.plugin.GC(context.Background(), &other); err != nil {
			t.Error(err)
		}
		f.same("GC of another network", lent)
		gc.Valid = []cni.Attachment{}
		if err := f.plugin.GC(context.Background(), &gc); err != nil {
			t.Error(err)
		}
		f.same("GC", before)
	})
}

// TestPodDied: a virtual device ends with its namespace, and its loan with the DEL.
func TestPodDied(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r, _ := f.add(`"device":"ens5"`)
		f.pod.NS.Close()
		if err := netns.Remove(f.pod.Path); err != nil {
			t.Fatal(err)
		}
		f.del(r)
		if files, _ := os.ReadDir(f.host.State("host-device")); len(files) != 0 {
			t.Errorf("loans are left: %v", files)
		}
	})
}

func TestCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r, result := f.add(`"device":"ens5"` + ipam)
		r.Prev = result
		if err := f.plugin.Status(context.Background(), f.request(`"device":"ens5"`+ipam)); err != nil {
			t.Errorf("STATUS while the device is lent: %v", err)
		}
		for _, broken := range [][3]string{
			{"link set eth0 down", "is down", "link set eth0 up"},
			{"link set eth0 alias ", "has no alias", "link set eth0 alias ens5"},
			{"addr del 10.1.0.5/24 dev eth0", "10.1.0.5/24 of eth0 is gone", "addr add 10.1.0.5/24 dev eth0"},
			{"link set eth0 address 02:00:00:00:00:77", "has MAC address", "link set eth0 address 02:00:00:00:00:05"},
			{"link set eth0 name lan", "link eth0", ""},
			{"link add eth0 type veth peer name x", "is not the device ens5", ""},
		} {
			plugintest.Run(t, f.pod, "ip", strings.Split(broken[0], " ")...)
			if err := f.plugin.Check(context.Background(), r); err == nil || !strings.Contains(err.Error(), broken[1]) {
				t.Errorf("%s: %v, want %q", broken[0], err, broken[1])
			}
			if broken[2] != "" {
				plugintest.Run(t, f.pod, "ip", strings.Fields(broken[2])...)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	for keys, want := range map[string]string{
		`"hwaddr":"zz"`:                               "is no MAC address",
		`"hwaddr":"0:0:0:0:0:0"`:                      "is no MAC address",
		`"kernelpath":"/sys/class"`:                   "must be below /sys/devices/",
		`"kernelpath":"/sys/devices/../class/net/lo"`: "must be below /sys/devices/",
		`"pciBusID":"../x"`:                           "is no address on a bus",
		`"hwaddr":"00:00:00:00:00:00"`:                "no device can be told by it",
	} {
		r := plugintest.Request(t, conf(keys), nil, "c1", finder)
		_, err := hostdevice.New(plugin.NewHost(plugin.Dirs{})).Add(context.Background(), r)
		if cni.CodeOf(err) != cni.CodeInvalidConfig || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", keys, err, want)
		}
	}
}
