package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/hostlocal"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
)

// conf is a network with one bridge; keys are added to the plugin's object.
func conf(keys string) string {
	if keys != "" {
		keys += ","
	}
	return `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0",` + keys + `"x":1}`
}

const ipam4 = `"ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24"}],"routes":[{"dst":"192.0.2.0/24"}]}`
const ipam6 = `"ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24"},{"address":"fd00:1::5/64","gateway":"fd00:1::1"}]}`

var finder = cni.Registry{"static": static.New()}

type fixture struct {
	*testing.T
	host   *plugin.Host
	plugin cni.Plugin
	pod    *netnstest.Pod
}

func setup(t *testing.T) *fixture {
	host := plugintest.Host(t)
	return &fixture{t, host, bridge.New(host), netnstest.NewPod(t, "pod1")}
}

func (f *fixture) request(keys string) *cni.Request {
	f.Helper()
	return plugintest.Request(f, conf(keys), f.pod, "c1", finder)
}

func (f *fixture) add(keys string) *cni.Result {
	f.Helper()
	result, err := f.plugin.Add(context.Background(), f.request(keys))
	if err != nil {
		f.Fatalf("add: %v", err)
	}
	return result
}

func (f *fixture) sysctl(pod *netnstest.Pod, path string) string {
	f.Helper()
	return strings.TrimSpace(plugintest.Run(f, pod, "cat", "/proc/sys/net/"+path))
}

func TestAddAndDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		keys := `"isDefaultGateway":true,"ipMasq":true,"mtu":1400,` + ipam6
		result := f.add(keys)
		var names []string
		for _, i := range result.Interfaces {
			names = append(names, fmt.Sprintf("%s %t", i.Name, i.Sandbox != ""))
		}
		veth := plugin.HostName(f.request("").Tag())
		if diff := cmp.Diff([]string{"br0 false", veth + " false", "eth0 true"}, names); diff != "" {
			t.Errorf("interfaces (-want +got):\n%s", diff)
		}
		var routes []string
		for _, r := range result.Routes {
			routes = append(routes, r.Dst.String()+" via "+r.GW.String())
		}
		if diff := cmp.Diff([]string{"0.0.0.0/0 via 10.1.0.1", "::/0 via fd00:1::1"}, routes); diff != "" {
			t.Errorf("routes (-want +got):\n%s", diff)
		}
		if *result.IPs[0].Interface != 2 || result.IPs[0].Gateway != netip.MustParseAddr("10.1.0.1") {
			t.Errorf("ip: %+v", result.IPs[0])
		}
		for _, address := range []string{"10.1.0.1", "fd00:1::1"} { // usable at once
			plugintest.Run(t, f.pod, "ping", "-c1", "-W5", address)
		}
		for _, address := range []string{"10.1.0.5", "fd00:1::5"} {
			plugintest.Run(t, nil, "ping", "-c1", "-W5", address)
		}
		for path, want := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv6/conf/br0/accept_ra": "0"} {
			if got := f.sysctl(nil, path); got != want {
				t.Errorf("%s = %s, want %s", path, got, want)
			}
		}
		for path, want := range map[string]string{"ipv4/conf/eth0/arp_notify": "1", "ipv6/conf/eth0/accept_dad": "0", "ipv6/conf/eth0/keep_addr_on_down": "1"} {
			if got := f.sysctl(f.pod, path); got != want {
				t.Errorf("pod: %s = %s, want %s", path, got, want)
			}
		}
		check := f.request(keys)
		check.Prev = result
		if err := f.plugin.Check(context.Background(), check); err != nil {
			t.Errorf("check: %v", err)
		}
		// DEL with nothing but the identity, twice.
		for range 2 {
			r := f.request(keys)
			r.NetNS = ""
			if err := f.plugin.Del(context.Background(), r); err != nil {
				t.Errorf("del: %v", err)
			}
		}
		if out, err := plugintest.Try(f.pod, "ip", "link", "show", "eth0"); err == nil {
			t.Errorf("eth0 is left: %s", out)
		}
		if rules := plugintest.Run(t, nil, "nft", "list", "ruleset"); strings.Contains(rules, "10.1.0.5") {
			t.Errorf("rules are left:\n%s", rules)
		}
	})
}

// TestIPv6AtOnce: what another host sends reaches the pod as soon as ADD has returned,
// also over a bridge that it has just made.
func TestIPv6AtOnce(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		outside := netnstest.NewPod(t, "outside")
		plugintest.Run(t, nil, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside")
		for _, end := range []struct {
			pod           *netnstest.Pod
			link, address string
		}{{nil, "up0", "fd00:2::1/64"}, {outside, "eth0", "fd00:2::2/64"}} {
			plugintest.Run(t, end.pod, "sysctl", "-qw", "net.ipv6.conf."+end.link+".accept_dad=0")
			plugintest.Run(t, end.pod, "ip", "addr", "add", end.address, "nodad", "dev", end.link)
			plugintest.Run(t, end.pod, "ip", "link", "set", end.link, "up")
		}
		plugintest.Run(t, outside, "ip", "route", "add", "fd00:1::/64", "via", "fd00:2::1")
		plugintest.Run(t, outside, "ping", "-c1", "-W2", "fd00:2::1") // this link is settled
		f := setup(t)
		f.add(`"isDefaultGateway":true,` + ipam6)
		// A solicitation that the pod does not answer is not repeated in time.
		plugintest.Run(t, nil, "sysctl", "-qw", "net.ipv6.neigh.br0.retrans_time_ms=60000")
		plugintest.Run(t, outside, "ping", "-c1", "-W5", "fd00:1::5")
	})
}

// TestSpanningTree: a bridge of someone else's that listens before it forwards takes a pod.
func TestSpanningTree(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Run(t, nil, "ip", "link", "add", "br0", "type", "bridge", "stp_state", "1", "forward_delay", "1500")
		plugintest.Run(t, nil, "ip", "link", "set", "br0", "up")
		setup(t).add(ipam6)
	})
}

// TestRefusedGateways: of two gateways one is in an address's way; neither stays.
func TestRefusedGateways(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		plugintest.Run(t, nil, "ip", "link", "add", "br0", "address", "02:00:00:00:00:01", "type", "bridge")
		plugintest.Run(t, nil, "ip", "addr", "add", "fd00:1::9/60", "dev", "br0")
		plugintest.Run(t, nil, "ip", "link", "set", "br0", "up")
		before := plugintest.State(t)
		if _, err := cni.Add(context.Background(), f.plugin, f.request(`"isGateway":true,`+ipam6)); err == nil || !strings.Contains(err.Error(), "in the way") {
			t.Errorf("add: %v", err)
		}
		if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// TestPrevResult: an earlier plugin's result is passed on, and this one's joins it.
func TestPrevResult(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.request(ipam4)
		zero := 0
		r.Prev = &cni.Result{
			Interfaces: []cni.Interface{{Name: "tap0", Sandbox: f.pod.Path}},
			IPs:        []cni.IP{{Address: netip.MustParsePrefix("192.0.2.9/24"), Interface: &zero}},
		}
		result, err := f.plugin.Add(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ip := range result.IPs {
			got = append(got, ip.Address.String()+" "+result.Interfaces[*ip.Interface].Name)
		}
		if diff := cmp.Diff([]string{"192.0.2.9/24 tap0", "10.1.0.5/24 eth0"}, got); diff != "" {
			t.Errorf("addresses (-want +got):\n%s", diff)
		}
		r.Prev = result
		if err := f.plugin.Check(context.Background(), r); err != nil {
			t.Errorf("check: %v", err)
		}
	})
}

// TestExistingInterface: what is there is refused and untouched.
func TestExistingInterface(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.add(ipam4)
		before := plugintest.State(t) + plugintest.Run(t, f.pod, "ip", "addr")
		for _, id := range []string{"c1", "c2"} {
			r := f.request(ipam4)
			r.ContainerID = id
			if _, err := cni.Add(context.Background(), f.plugin, r); cni.CodeOf(err) != cni.CodeExists {
				t.Errorf("second add as %s: %v, want code %d", id, err, cni.CodeExists)
			}
			// A runtime sends DEL after any failed ADD.
			if id == "c2" {
				if err := f.plugin.Del(context.Background(), r); err != nil {
					t.Error(err)
				}
			}
		}
		if diff := cmp.Diff(before, plugintest.State(t)+plugintest.Run(t, f.pod, "ip", "addr")); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// TestLeaseExists: IPAM knows the attachment from an earlier ADD, whose veth someone
// else made under another name.
func TestLeaseExists(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		leases := t.TempDir()
		keys := `"ipam":{"type":"host-local","dataDir":"` + leases + `","subnet":"10.1.0.0/24"}`
		ipam := hostlocal.New(leases)
		r := f.request(keys)
		r.Plugins = cni.Registry{"host-local": ipam}
		f.add("")
		if err := f.plugin.Del(context.Background(), f.request("")); err != nil {
			t.Fatal(err)
		}
		if _, err := ipam.Add(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		before := plugintest.State(t)
		if _, err := cni.Add(context.Background(), f.plugin, r); cni.CodeOf(err) != cni.CodeExists {
			t.Errorf("add: %v, want code %d", err, cni.CodeExists)
		}
		if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
		if _, err := ipam.Add(context.Background(), r); cni.CodeOf(err) != cni.CodeExists {
			t.Errorf("the earlier lease is gone: %v", err)
		}
	})
}

func TestFailedAddLeavesNothing(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.add("")
		if err := f.plugin.Del(context.Background(), f.request("")); err != nil {
			t.Fatal(err)
		}
		before := plugintest.State(t)
		for name, keys := range map[string]string{
			"ipam unknown":   `"ipam":{"type":"nowhere"}`,
			"ipam empty":     `"ipam":{"type":"static"}`,
			"bad route":      `"ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24"}],"routes":[{"dst":"192.0.2.0/24","gw":"198.51.100.1"}]}`,
			"bad mac":        `"args":{"cni":{"mac":"01:00:00:00:00:01"}}`,
			"address in way": `"bridge":"br1","isGateway":true,` + ipam4,
		} {
			if strings.Contains(keys, "br1") {
				plugintest.Run(t, nil, "ip", "link", "add", "br1", "address", "02:00:00:00:00:01", "type", "bridge")
				plugintest.Run(t, nil, "ip", "addr", "add", "192.0.2.1/24", "dev", "br1")
				plugintest.Run(t, nil, "ip", "link", "set", "br1", "up")
				before = plugintest.State(t)
			}
			if _, err := cni.Add(context.Background(), f.plugin, f.request(keys)); err == nil {
				t.Errorf("%s: add succeeded", name)
			} else {
				t.Logf("%s: %v", name, err)
			}
			if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
				t.Errorf("%s: state (-before +after):\n%s", name, diff)
			}
		}
	})
}

func TestKeys(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		for _, test := range []struct {
			name, keys string
			pod        bool // where the command runs
			command    string
			want       string // is to be in its output
		}{
			{"hairpinMode", `"hairpinMode":true`, false, "ip -d link show master br0", "hairpin on"},
			{"portIsolation", `"portIsolation":true`, false, "ip -d link show master br0", "isolated on"},
			{"promiscMode", `"promiscMode":true`, false, "ip -d link show br0", "promiscuity 1"},
			{"mac by args", `"args":{"cni":{"mac":"02:00:00:00:00:07"}}`, true, "ip link show eth0", "02:00:00:00:00:07"},
			{"mac by capability", `"runtimeConfig":{"MAC":"02:00:00:00:00:08"},"args":{"cni":{"mac":"02:00:00:00:00:07"}}`, true, "ip link show eth0", "02:00:00:00:00:08"},
			{"disableContainerInterface", `"disableContainerInterface":true`, true, "ip link show eth0", "state DOWN"},
			{"enabledad", `"enabledad":true,"isGateway":true,` + ipam6, true, "cat /proc/sys/net/ipv6/conf/eth0/accept_dad", "1"},
			{"macspoofchk", `"macspoofchk":true`, false, "nft list table bridge seam", "02:00:00:00:00:09"},
			{"mtu", `"mtu":1280`, true, "ip link show eth0", "mtu 1280"},
			{"layer 2 only", `"isGateway":true`, true, "ip link show eth0", "state UP"},
		} {
			f := setup(t)
			r := f.request(test.keys)
			if test.name == "macspoofchk" {
				r.Args = cni.Args{{Key: "MAC", Value: "02:00:00:00:00:09"}, {Key: "K8S_POD_NAME", Value: "x"}, {Key: "IgnoreUnknown", Value: "1"}}
			}
			result, err := f.plugin.Add(context.Background(), r)
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			pod := f.pod
			if !test.pod {
				pod = nil
			}
			words := strings.Fields(test.command)
			if got := plugintest.Run(t, pod, words[0], words[1:]...); !strings.Contains(got, test.want) {
				t.Errorf("%s: %s: want %q in:\n%s", test.name, test.command, test.want, got)
			}
			r.Prev = result
			if err := f.plugin.Check(context.Background(), r); err != nil {
				t.Errorf("%s: check: %v", test.name, err)
			}
			if err := f.plugin.Del(context.Background(), r); err != nil {
				t.Errorf("%s: del: %v", test.name, err)
			}
			f.pod.NS.Close()
			plugintest.Run(t, nil, "ip", "netns", "del", "pod1")
			plugintest.Run(t, nil, "ip", "link", "del", "br0")
		}
	})
}

// TestVLANs needs a kernel with VLAN filtering on bridges (CONFIG_BRIDGE_VLAN_FILTERING).
func TestVLANs(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		if out, err := plugintest.Try(nil, "ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"); err != nil {
			t.Skipf("this kernel's bridges have no VLAN filtering: %s", out)
		}
		for _, there := range []bool{false, true} {
			f := setup(t)
			if there { // made by someone who knew of no VLANs
				f.ip(nil, "link add br0 type bridge")
				f.ip(nil, "link set br0 up")
			}
			keys := `"vlan":100,"isGateway":true,"vlanTrunk":[{"id":200},{"minID":300,"maxID":302}],` + ipam4
			r := f.request(keys)
			r.Prev = f.add(keys)
			if len(r.Prev.Interfaces) != 4 || r.Prev.Interfaces[3].Name != "br0.100" {
				t.Errorf("interfaces: %+v, want br0.100 as the fourth", r.Prev.Interfaces)
			}
			vlans := plugintest.Run(t, nil, "bridge", "vlan", "show", "dev", plugin.HostName(r.Tag()))
			for _, want := range []string{"100 PVID Egress Untagged", "200", "300", "302"} {
				if !strings.Contains(vlans, want) {
					t.Errorf("want %q in:\n%s", want, vlans)
				}
			}
			plugintest.Run(t, f.pod, "ping", "-c1", "-W5", "10.1.0.1")
			if err := errors.Join(f.plugin.Check(f.Context(), r), f.plugin.Del(f.Context(), r)); err != nil {
				t.Errorf("bridge there before %t: %v", there, err)
			}
			f.ip(nil, "netns del pod1")
			f.ip(nil, "link del br0")
			f.ip(nil, "link del br0.100")
		}
	})
}

// TestNoVLANs: a kernel whose bridges filter no VLANs says so, whoever made the bridge.
func TestNoVLANs(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		if _, err := plugintest.Try(nil, "ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"); err == nil {
			t.Skip("its bridges have VLAN filtering")
		}
		f := setup(t)
		f.ip(nil, "link add br0 type bridge")
		if _, err := cni.Add(f.Context(), f.plugin, f.request(`"vlan":100,`+ipam4)); err == nil || !strings.Contains(err.Error(), "vlan filtering of bridge br0: not supported by this kernel") {
			t.Errorf("ADD: %v", err)
		}
	})
}

// TestCheckFinds: each thing that a person can break by hand.
func TestCheckFinds(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		keys := `"isDefaultGateway":true,"ipMasq":true,"hairpinMode":true,"macspoofchk":true,` + ipam4
		f := setup(t)
		veth := plugin.HostName(f.request("").Tag())
		for _, test := range []struct {
			pod  bool
			do   string
			want string
		}{
			{true, "ip addr del 10.1.0.5/24 dev eth0", "address 10.1.0.5/24"},
			{true, "ip route del 192.0.2.0/24", "route 192.0.2.0/24"},
			{true, "ip route del default", "route 0.0.0.0/0"},
			{true, "ip link set eth0 address 02:00:00:00:00:01", "MAC address"},
			{true, "ip link set eth0 name eth9", "eth0"},
			{false, "ip addr del 10.1.0.1/24 dev br0", "gateway address 10.1.0.1"},
			{false, "ip link set br0 down", "br0: is down"},
			{false, "ip link set " + veth + " nomaster", "not a port of bridge br0"},
			{false, "ip link set " + veth + " type bridge_slave hairpin off", "hairpin mode is off"},
			{false, "nft delete table inet seam", "seam check --repair"},
			{false, "nft flush table inet seam", "seam check --repair"},
			{false, "nft delete table bridge seam", "seam check --repair"},
		} {
			r := f.request(keys)
			result, err := f.plugin.Add(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			r.Prev = result
			if err := f.plugin.Check(context.Background(), r); err != nil {
				t.Fatalf("check of what is whole: %v", err)
			}
			pod := f.pod
			if !test.pod {
				pod = nil
			}
			words := strings.Fields(test.do)
			plugintest.Run(t, pod, words[0], words[1:]...)
			if err := f.plugin.Check(context.Background(), r); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("after %q: %v, want %q", test.do, err, test.want)
			}
			if err := f.plugin.Del(context.Background(), r); err != nil {
				t.Errorf("after %q: del: %v", test.do, err)
			}
			plugintest.Run(t, nil, "ip", "link", "del", "br0")
		}
	})
}

func TestGC(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		other := netnstest.NewPod(t, "pod2")
		keys := func(address string) string {
			return `"ipMasq":true,"ipam":{"type":"static","addresses":[{"address":"` + address + `"}]}`
		}
		f.add(keys("10.1.0.5/24"))
		second := plugintest.Request(t, conf(keys("10.1.0.6/24")), other, "c2", finder)
		if _, err := f.plugin.Add(context.Background(), second); err != nil {
			t.Fatal(err)
		}
		gc := f.request(keys("10.1.0.5/24"))
		gc.Attachment = cni.Attachment{Network: "net"}
		if err := f.plugin.GC(context.Background(), gc); err != nil { // no list: nothing to do
			t.Fatal(err)
		}
		plugintest.Run(t, other, "ip", "link", "show", "eth0")
		gc.Valid = []cni.Attachment{{Network: "net", ContainerID: "c1", IfName: "eth0"}}
		if err := f.plugin.GC(context.Background(), gc); err != nil {
			t.Fatal(err)
		}
		if _, err := plugintest.Try(other, "ip", "link", "show", "eth0"); err == nil {
			t.Error("the stale attachment's interface is left")
		}
		rules := plugintest.Run(t, nil, "nft", "list", "ruleset")
		if strings.Contains(rules, "10.1.0.6") || !strings.Contains(rules, "10.1.0.5") {
			t.Errorf("want 10.1.0.5 and not 10.1.0.6 in:\n%s", rules)
		}
		plugintest.Run(t, f.pod, "ip", "link", "show", "eth0")
	})
}

func TestInvalid(t *testing.T) {
	for _, test := range []struct{ keys, want string }{
		{`"mtu":-1`, "mtu -1"},
		{`"vlan":5000`, "vlan 5000"},
		{`"vlan":-1`, `"vlan"`},
		{`"hairpinMode":true,"promiscMode":true`, "exclude one another"},
		{`"disableContainerInterface":true,` + ipam4, "ipam"},
		{`"vlanTrunk":[{"minID":5}]`, "minID and maxID"},
		{`"vlanTrunk":[{"minID":9,"maxID":5}]`, "must rise"},
		{`"vlanTrunk":[{}]`, "needs id"},
		{`"vlanTrunk":[{"id":0}]`, "id 0"},
		{`"bridge":"a/b"`, "a/b"},
		{`"ipMasqBackend":"pf"`, "ipMasqBackend"},
		{`"isGateway":"yes"`, "isGateway"},
	} {
		r := &cni.Request{Config: cni.Config{Name: "net", Type: "bridge", JSON: json.RawMessage(conf(test.keys))}}
		_, err := bridge.New(plugin.NewHost(plugin.Dirs{})).Add(context.Background(), r)
		code := cni.CodeOf(err)
		if err == nil || !strings.Contains(err.Error(), test.want) || code != cni.CodeInvalidConfig && code != cni.CodeDecoding {
			t.Errorf("%s: %v (code %d), want %q", test.keys, err, code, test.want)
		}
	}
}
