package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/scratch"
)

// The host that a check runs on has one cable, to another host that knows no way to pods:
// what comes from them must bear the host's address or one of the cable's network.
const (
	Uplink    = "eth0"   // the host's end, and so the master that targets name
	Spare     = "spare0" // a second cable, where the target's configuration speaks of it
	helperDir = "/run/conformance/helpers"
	trialDir  = "/run/conformance/trial"
	podDir    = "/run/netns"
)

var (
	hostAddrs    = [2]netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("2001:db8::2/64")}
	outsideAddrs = [2]netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
)

// A host is where one check runs, and the check itself.
type host struct {
	*conformance.T
	network *network
	target  Target
	links   *link.Handle // this host's
	outside *pod
	pods    int
	waited  bool // probes waited for duplicate detection

	beside func(pluginType string) program // one that is not of the chain, as its members find it
}

// A pod is a namespace that stands for a container, or for another host.
type pod struct {
	Name, Path string
	ns         *netns.Namespace
	links      *link.Handle
}

func (c *check) carryOut(t *conformance.T, target Target, builtins func() cni.Registry) {
	n, err := target.parse()
	t.Must(err)
	h := &host{T: t, network: n, target: target}
	h.roles(c.roles)
	h.findPrograms(builtins)
	h.links, err = link.Open()
	t.Must(err)
	h.needKinds()
	h.outside = h.newPod("outside")
	t.Must(h.links.AddVeth(link.Veth{Name: Uplink, PeerName: Uplink, PeerNS: h.outside.ns}))
	t.Must(errors.Join(settled(), h.outside.ns.Do(settled)))
	h.configure(h.links, Uplink, hostAddrs)
	h.configure(h.outside.links, Uplink, outsideAddrs)
	h.defaultRoutes(h.links, Uplink, outsideAddrs)
	for _, links := range []*link.Handle{h.links, h.outside.links} { // before, IPv6 hears nobody
		_, err := links.WaitRunning(t.Context(), Uplink)
		t.Must(err)
	}
	if bytes.Contains(target.Config, []byte(Spare)) {
		t.Must(h.links.AddVeth(link.Veth{Name: Spare, PeerName: Spare, PeerNS: h.outside.ns}))
		h.configure(h.outside.links, Spare, [2]netip.Prefix{})
	}
	c.run(h)
}

// settled lets the cable's link-local addresses be used at once. Until one may, a second
// or two, a host that forwards asks for no neighbour, and so reaches nobody by IPv6.
func settled() error { return link.Sysctl("ipv6/conf/" + Uplink + "/accept_dad").Set("0") }

// needKinds skips the check if the kernel lacks a kind of link that a plugin of the chain
// is there to make.
func (h *host) needKinds() {
	for _, m := range h.network.Members {
		switch m.Type {
		case "bridge", "dummy", "ipvlan", "macvlan", "vlan", "vrf":
			ok, err := h.links.Supports(m.Type)
			h.Must(err)
			if !ok {
				h.Skipf("this kernel has no %s links", m.Type)
			}
		}
	}
}

// roles leaves only the subjects that the check is about.
func (h *host) roles(roles []Role) {
	h.network.Subjects = slices.DeleteFunc(h.network.Subjects, func(m member) bool { return roles != nil && !slices.Contains(roles, m.Role) })
}

func (h *host) configure(links *link.Handle, name string, addrs [2]netip.Prefix) {
	l, err := links.ByName(name)
	h.Must(err)
	for _, a := range addrs {
		if !a.IsValid() {
			continue
		}
		h.Must(links.AddAddr(l, link.Addr{Prefix: a, NoDAD: true}))
	}
	h.Must(links.Set(l, link.Change{Up: true}))
}

func (h *host) defaultRoutes(links *link.Handle, name string, via [2]netip.Prefix) {
	l, err := links.ByName(name)
	h.Must(err)
	for _, gateway := range via {
		everywhere := netip.PrefixFrom(unspecified(gateway.Addr()), 0)
		h.Must(links.AddRoute(l, link.Route{Route: cni.Route{Dst: everywhere, GW: gateway.Addr()}}))
	}
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// newPod makes a namespace with lo up, which goes away with the check's host.
func (h *host) newPod(name string) *pod {
	p := &pod{Name: name, Path: filepath.Join(podDir, name)}
	var err error
	p.ns, err = netns.NewAt(p.Path)
	h.Must(err)
	h.Must(p.ns.Do(func() error { return scratch.Up("lo") }))
	p.links, err = link.In(p.ns)
	h.Must(err)
	return p
}

// pod makes the next pod.
func (h *host) pod() *pod {
	h.pods++
	return h.newPod(fmt.Sprintf("pod%d", h.pods))
}

// remove takes the pod's namespace away, with what is in it.
func (h *host) remove(p *pod) {
	p.links.Close()
	p.ns.Close()
	h.Must(netns.Remove(p.Path))
}

// findPrograms finds out how each plugin is called.
func (h *host) findPrograms(builtins func() cni.Registry) {
	var registry cni.Registry
	if builtins != nil {
		registry = builtins()
	}
	links := make(map[string]string)
	if h.target.Helper != "" {
		for name := range registry {
			links[name] = h.target.Helper
		}
	}
	h.target.Dirs = append(slices.Clip(h.target.Dirs), h.folder(helperDir, links)) // CNI_PATH may not be empty
	if len(h.target.Programs) > 0 {                                                // what executed plugins delegate to is found by its type
		h.target.Dirs = slices.Insert(slices.Clone(h.target.Dirs), 0, h.folder(trialDir, h.target.Programs))
	}
	h.beside = func(pluginType string) program { return h.find(pluginType, true, registry) }
	for _, list := range [][]member{h.network.Members, h.network.Subjects} {
		for i := range list {
			list[i].program = h.find(list[i].Type, list[i].Trial, registry)
		}
	}
}

// folder makes a folder of plugins out of programs that are elsewhere.
func (h *host) folder(dir string, programs map[string]string) string {
	h.Must(os.MkdirAll(dir, 0o755))
	for name, file := range programs {
		h.Must(os.Symlink(file, filepath.Join(dir, name)))
	}
	return dir
}

func (h *host) find(pluginType string, trial bool, registry cni.Registry) program {
	path := wire.Path{Dirs: h.target.Dirs}
	file, ok := h.target.Programs[pluginType]
	if !ok && (trial && !h.target.Builtin || registry[pluginType] == nil) {
		var err error
		file, _, err = path.Lookup(pluginType)
		h.Must(err)
	}
	if file != "" {
		if _, err := os.Stat(file); err != nil {
			h.Brokenf("plugin %s: %v; note that the suite's host hides %s", pluginType, err, strings.Join(scratch.StateDirs(), ", "))
		}
		return program{file: file}
	}
	return program{builtin: registry[pluginType], finder: func(dirs []string) cni.Finder {
		// An IPAM plugin beside the one on trial is not to answer for what that one does.
		_, ipam := h.onTrialAlone()
		if h.target.Builtin || !ipam && registry[h.network.ipamType()] != nil {
			return registry
		}
		return wire.Path{Dirs: dirs, Builtins: registry}
	}}
}

// path is CNI_PATH.
func (h *host) path() string { return strings.Join(h.target.Dirs, ":") }
