package all_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
	"github.com/seamnet/seam/plugin/cnm"
	"github.com/seamnet/seam/plugin/plugintest"
)

// subject is a plugin that leaves something behind, as one network uses it. In keys,
// NET is the number of the network and PORT one of the attachment.
type subject struct {
	name    string
	keys    string
	chained bool   // after a plugin that made the pod's interface
	real    bool   // and the interface is really there, a port of a bridge
	lent    bool   // a device devPORT is there to be lent
	kind    string // of link that the kernel must be able to make; empty: every kernel is
}

var subjects = []subject{
	{name: "bridge", keys: `"type":"bridge","bridge":"brNET","isDefaultGateway":true,"ipMasq":true,"macspoofchk":true,"portIsolation":true,
		"ipam":{"type":"host-local","ranges":[[{"subnet":"10.NET.0.0/24"}],[{"subnet":"fd00:NET::/64"}]]}`},
	{name: "ptp", keys: `"type":"ptp","ipMasq":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.NET.0.0/24"}],[{"subnet":"fd00:NET::/64"}]]}`},
	{name: "host-local", keys: `"type":"host-local","ipam":{"type":"host-local","subnet":"10.NET.0.0/24"}`},
	{name: "static", keys: `"type":"static","ipam":{"type":"static","addresses":[{"address":"10.NET.0.5/24"}]}`},
	{name: "portmap", chained: true, keys: `"type":"portmap","runtimeConfig":{"portMappings":[
		{"hostPort":PORT,"containerPort":80},{"hostPort":PORT,"containerPort":53,"protocol":"udp"}]}`},
	{name: "firewall", chained: true, real: true, keys: `"type":"firewall","ingressPolicy":"same-bridge"`},
	{name: "masquerade", chained: true, keys: `"type":"masquerade","except":["192.0.2.0/24"]`},
	{name: "macvlan", keys: `"type":"macvlan","master":"uplink","ipam":{"type":"host-local","subnet":"10.NET.0.0/24"}`},
	{name: "ipvlan", kind: "ipvlan", keys: `"type":"ipvlan","master":"uplink","ipam":{"type":"host-local","subnet":"10.NET.0.0/24"}`},
	{name: "vlan", kind: "vlan", keys: `"type":"vlan","master":"uplink","vlanId":PORT,"ipam":{"type":"host-local","subnet":"10.NET.0.0/24"}`},
	{name: "dummy", kind: "dummy", keys: `"type":"dummy","ipam":{"type":"host-local","subnet":"10.NET.0.0/24"}`},
	{name: "tap", keys: `"type":"tap","ipam":{"type":"host-local","subnet":"10.NET.0.0/24"}`},
	{name: "host-device", lent: true, keys: `"type":"host-device","device":"devPORT","ipam":{"type":"host-local","subnet":"10.NET.0.0/24"}`},
	{name: "cnm", keys: `"type":"cnm","driver":"bricks","ipamDriver":"bricks","pluginDirs":["DRIVERS"],"subnet":"10.NET.0.0/24"`},
	{name: "bandwidth", chained: true, real: true, keys: `"type":"bandwidth","ingressRate":1000000,"ingressBurst":1000000,"egressRate":1000000,"egressBurst":1000000`},
	{name: "tuning", chained: true, real: true, keys: `"type":"tuning","mtu":1400,"dataDir":"/run/seam-test-tuning"`},
	{name: "sbr", chained: true, real: true, keys: `"type":"sbr"`},
	{name: "vrf", chained: true, real: true, kind: "vrf", keys: `"type":"vrf","vrfname":"red"`},
	{name: "wrap", keys: `"type":"wrap","delegate":{"type":"ptp","ipMasq":true,"ipam":{"type":"host-local","subnet":"10.NET.0.0/24"}}`},
}

// stage is a host with one of the plugins.
type stage struct {
	*testing.T
	subject
	host    *plugin.Host
	links   *link.Handle
	plugins cni.Registry
	pods    map[string]*netnstest.Pod
	ports   int
	docker  *plugintest.Driver // of cnm, else nil
}

// registry returns all plugins, that of the daemon's program included.
func registry(host *plugin.Host) cni.Registry {
	plugins := all.Registry(host)
	plugins["cnm"] = cnm.New(host)
	return plugins
}

func setup(t *testing.T, s subject) *stage {
	t.Helper()
	host := plugintest.Host(t)
	links, err := host.Links()
	if err != nil {
		t.Fatal(err)
	}
	if runs, err := links.Supports(s.kind); s.kind != "" && (err != nil || !runs) {
		t.Skipf("this kernel has no links of kind %s (%v); make test-kernels runs this on one that has", s.kind, err)
	}
	st := &stage{T: t, subject: s, host: host, links: links, plugins: registry(host), pods: map[string]*netnstest.Pod{}, ports: 2000}
	if s.name == "cnm" {
		st.docker = plugintest.NewDriver(t, "bricks")
	}
	st.veth(link.Veth{Name: "uplink", PeerName: "beyond"})
	for network := 1; network <= 2; network++ {
		if err := links.AddBridge(link.Bridge{Name: bridgeOf(network)}); err != nil {
			t.Fatal(err)
		}
	}
	// What the first attachment makes and leaves on purpose, a bridge and the table, is no
	// part of what is compared.
	for network := 1; network <= 2; network++ {
		warm := st.request(network, "warm", "eth0")
		st.add(warm)
		st.call(cni.Plugin.Del, warm)
	}
	return st
}

// request is of a container on the network of that number. Each attachment has a
// namespace of its own: what tells them apart must be the plugin's doing.
func (s *stage) request(network int, id, ifname string) *cni.Request {
	s.Helper()
	s.ports++
	keys := strings.NewReplacer("NET", fmt.Sprint(network), "PORT", fmt.Sprint(s.ports)).Replace(s.keys)
	if s.docker != nil {
		keys = strings.ReplaceAll(keys, "DRIVERS", s.docker.Dir)
	}
	pod := fmt.Sprintf("%s-%d-%s", id, network, ifname)
	if s.pods[pod] == nil {
		s.pods[pod] = netnstest.NewPod(s, pod)
	}
	conf := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net%d",%s}`, network, keys)
	r := plugintest.Request(s, conf, s.pods[pod], id, s.plugins)
	r.IfName = ifname
	if s.lent {
		s.veth(link.Veth{Name: fmt.Sprintf("dev%d", s.ports), PeerName: fmt.Sprintf("far%d", s.ports)})
	}
	if s.real {
		s.makeReal(network, r)
	} else if s.chained {
		zero := 0
		address := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(network), byte(s.ports >> 8), byte(s.ports)}), 16)
		r.Prev = &cni.Result{
			Interfaces: []cni.Interface{{Name: ifname, Sandbox: r.NetNS}},
			IPs:        []cni.IP{{Address: address, Interface: &zero}},
		}
	}
	return r
}

func bridgeOf(network int) string { return fmt.Sprintf("real-br%d", network) }

func (s *stage) veth(v link.Veth) {
	s.Helper()
	if err := s.links.AddVeth(v); err != nil {
		s.Fatal(err)
	}
	for _, name := range []string{v.Name, v.PeerName} {
		if name == v.PeerName && v.PeerNS != nil {
			continue
		}
		if err := s.links.Set(link.Link{Name: name}, link.Change{Up: true}); err != nil {
			s.Fatal(err)
		}
	}
}

// makeReal makes the interface of which prevResult tells, as a bridge plugin would.
func (s *stage) makeReal(network int, r *cni.Request) {
	s.Helper()
	name := fmt.Sprintf("real%d", s.ports)
	pod := s.pods[fmt.Sprintf("%s-%d-%s", r.ContainerID, network, r.IfName)]
	s.veth(link.Veth{Name: name, PeerName: r.IfName, PeerNS: pod.NS})
	bridge, err := s.links.ByName(bridgeOf(network))
	if err != nil {
		s.Fatal(err)
	}
	if err := s.links.Set(link.Link{Name: name}, link.Change{Master: bridge.Index}); err != nil {
		s.Fatal(err)
	}
	address := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(network), byte(s.ports >> 8), byte(s.ports)}), 16)
	plugintest.Run(s, pod, "ip", "addr", "add", address.String(), "dev", r.IfName)
	plugintest.Run(s, pod, "ip", "link", "set", r.IfName, "up")
	inside := 2
	r.Prev = &cni.Result{
		Interfaces: []cni.Interface{{Name: bridge.Name}, {Name: name}, {Name: r.IfName, Sandbox: r.NetNS}},
		IPs:        []cni.IP{{Address: address, Interface: &inside}},
	}
}

func (s *stage) add(r *cni.Request) *cni.Result {
	s.Helper()
	result, err := s.plugins[s.name].Add(s.Context(), r)
	if err != nil {
		s.Fatalf("ADD: %v", err)
	}
	return result
}

func (s *stage) call(verb func(cni.Plugin, context.Context, *cni.Request) error, r *cni.Request) {
	s.Helper()
	if err := verb(s.plugins[s.name], s.Context(), r); err != nil {
		s.Error(err)
	}
}

// state is the host's, with the files in the plugin's folders; cursors move on, and the
// index is host-local's own affair.
func (s *stage) state() string {
	s.Helper()
	var b strings.Builder
	for line := range strings.Lines(plugintest.State(s)) {
		// What the test itself made, and what becomes of its names and numbers.
		if !ofTheTest.MatchString(line) {
			b.WriteString(line)
		}
	}
	if s.docker != nil {
		fmt.Fprintln(&b, s.docker.Has())
	}
	err := filepath.WalkDir(filepath.Dir(s.host.Dirs.State), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/.seam/") || strings.HasPrefix(d.Name(), "last_reserved_ip.") || d.Name() == "lock" {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s: %s\n", d.Name(), data)
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return b.String()
}

var ofTheTest = regexp.MustCompile(`^\d+: (real|dev|far)\d+|\bdev (real|dev|far)\d+|^\d+: real-br`)

func (s *stage) same(when, want string) {
	s.Helper()
	if diff := cmp.Diff(want, s.state()); diff != "" {
		s.Errorf("%s: state (-want +got):\n%s", when, diff)
	}
}

// each runs the test for every subject.
func each(t *testing.T, test func(s *stage)) {
	for _, sub := range subjects {
		t.Run(sub.name, func(t *testing.T) { test(setup(t, sub)) })
		wipe(t)
	}
}

// wipe makes the host as new. The kernel would delete the links of dead namespaces by
// itself, but later.
func wipe(t *testing.T) {
	t.Helper()
	plugintest.Run(t, nil, "nft", "flush", "ruleset")
	for line := range strings.Lines(plugintest.Run(t, nil, "ip", "-o", "link")) {
		name, _, _ := strings.Cut(strings.Fields(line)[1], "@")
		if name = strings.TrimSuffix(name, ":"); name != "lo" {
			_, _ = plugintest.Try(nil, "ip", "link", "del", name)
		}
	}
}

// TestDelNeedsNothing: what the host holds for an attachment is released without its
// namespace, without prevResult and runtimeConfig, with a configuration that became
// invalid, and to ask again is no error.
func TestDelNeedsNothing(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plain := filepath.Join(t.TempDir(), "plain")
		if err := os.WriteFile(plain, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		each(t, func(s *stage) {
			before := s.state()
			for way, change := range map[string]func(r *cni.Request){
				"no namespace":          func(r *cni.Request) { r.NetNS = "" },
				"namespace gone":        func(r *cni.Request) { r.NetNS = "/run/netns/gone" },
				"namespace not mounted": func(r *cni.Request) { r.NetNS = plain },
				"no prevResult":         func(r *cni.Request) { r.Prev = nil },
				"no runtimeConfig": func(r *cni.Request) {
					r.Config.JSON = []byte(strings.Replace(string(r.Config.JSON), `"runtimeConfig"`, `"x"`, 1))
				},
				"unknown arguments": func(r *cni.Request) { r.Args = cni.Args{{Key: "UNKNOWN", Value: "1"}} },
				"invalid keys": func(r *cni.Request) {
					r.Config.JSON = []byte(strings.Replace(string(r.Config.JSON), `{`, `{"mtu":-1,"backend":"none","except":[7],"vlan":-1,`, 1))
				},
			} {
				// In a pod of its own: without a namespace, what is inside stays there.
				r := s.request(1, "c-"+strings.ReplaceAll(way, " ", "-"), "eth0")
				r.Prev = s.add(r)
				change(r)
				for range 2 {
					s.call(cni.Plugin.Del, r)
				}
				s.same(way, before)
			}
			never := s.request(1, "never", "eth0")
			never.NetNS, never.Prev = "", nil
			s.call(cni.Plugin.Del, never)
			s.same("never added", before)
		})
	})
}

// TestInterfacesOfOneContainer: attachments that differ in the interface's name only do
// not share anything.
func TestInterfacesOfOneContainer(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		each(t, func(s *stage) {
			first := s.request(1, "c1", "eth0")
			first.Prev = s.add(first)
			one := s.state()
			second := s.request(1, "c1", "eth1")
			second.Prev = s.add(second)
			s.call(cni.Plugin.Check, first)
			s.call(cni.Plugin.Check, second)
			s.call(cni.Plugin.Del, second)
			s.same("DEL of the second", one)
			s.call(cni.Plugin.Check, first)
		})
	})
}

// TestGC: what is collected is told apart by network, container and interface, and
// nothing is while it is not known what is valid.
func TestGC(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		each(t, func(s *stage) {
			live, elsewhere := s.request(1, "c1", "eth0"), s.request(2, "c2", "eth0")
			s.add(live)
			s.add(elsewhere)
			want := s.state()
			s.add(s.request(1, "c1", "eth1"))
			s.add(s.request(1, "c2", "eth0"))
			gc := *live
			gc.Attachment, gc.NetNS, gc.Prev = cni.Attachment{Network: "net1"}, "", nil
			all := s.state()
			s.call(cni.Plugin.GC, &gc)
			s.same("not told what is valid", all)
			gc.Valid = []cni.Attachment{live.Attachment}
			for range 2 {
				s.call(cni.Plugin.GC, &gc)
				s.same("one is valid", want)
			}
		})
	})
}

// TestCheckNeedsPrevResult: without the result of the ADD there is nothing to compare with.
func TestCheckNeedsPrevResult(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		each(t, func(s *stage) {
			r := s.request(1, "c1", "eth0")
			s.add(r)
			r.Prev = nil
			if err := s.plugins[s.name].Check(s.Context(), r); cni.CodeOf(err) != cni.CodeInvalidConfig || !strings.Contains(err.Error(), "prevResult") {
				s.Errorf("CHECK: %v, want code %d and a word on prevResult", err, cni.CodeInvalidConfig)
			}
		})
	})
}

// TestPlaces: the lists of what a plugin is in a network are true, and complete.
func TestPlaces(t *testing.T) {
	var chained, ipam []string
	for name, newConfig := range all.Configs() {
		if _, makes := newConfig().(plugin.Device); makes || name == "loopback" || name == "wrap" {
			continue
		}
		if i := slices.IndexFunc(subjects, func(s subject) bool { return s.name == name }); i >= 0 && subjects[i].chained {
			chained = append(chained, name)
		} else {
			ipam = append(ipam, name)
		}
	}
	slices.Sort(chained)
	slices.Sort(ipam)
	if diff := cmp.Diff(chained, all.Chained()); diff != "" {
		t.Errorf("chained plugins (-tested so +listed):\n%s", diff)
	}
	if diff := cmp.Diff(ipam, all.IPAM()); diff != "" {
		t.Errorf("plugins that give addresses (-the others +listed):\n%s", diff)
	}
}

// TestEveryPluginIsASubject, so that a new one is not forgotten. The loopback plugin
// leaves nothing; what dhcp leaves is its daemon's, and tested there.
func TestEveryPluginIsASubject(t *testing.T) {
	got := map[string]bool{"loopback": true, "dhcp": true}
	for _, s := range subjects {
		got[s.name] = true
	}
	want := map[string]bool{}
	for name := range registry(plugin.NewHost(plugin.Dirs{})) {
		want[name] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plugins (-built in +tested):\n%s", diff)
	}
	configs := map[string]bool{"cnm": true} // which asks the daemon's program
	for name := range all.Configs() {
		configs[name] = true
	}
	if diff := cmp.Diff(want, configs); diff != "" {
		t.Errorf("configurations (-built in +listed):\n%s", diff)
	}
}
