package plugins

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/link"
)

func checkChecks() []check {
	return []check{
		{must("check", specCHECK, "CHECK right after ADD succeeds, for each plugin with the result of the whole chain."), nil, checkWhole},
		{should("check-silent", "CNI 0.4.0, CHECK", "CHECK that succeeds prints nothing on stdout."), nil, each(silent("CHECK"))},
		{should("check-no-prev-result", specCHECK, "CHECK without the result of ADD, which says what is expected, is refused."), []Role{Interface}, each(checkCheckNoPrev)},
		{must("check-later-route", specCHECK, "CHECK passes a route that a later plugin has added."), []Role{Interface, Chained}, each(checkLaterRoute)},
		{open("check-moved-route", specCHECK, "CHECK passes a default route that a later plugin has moved to a table of its own."), []Role{Interface}, each(checkMovedRoute)},
		{should("check-later-mac", specCHECK, "CHECK passes a MAC address that a later plugin has set, and has told of in the result."), []Role{Interface, Chained}, each(checkLaterMAC)},
		{should("check-later-mtu", specCHECK, "CHECK passes an MTU that a later plugin has set, and has told of in the result."), []Role{Interface}, each(checkLaterMTU)},
		{should("check-later-interface", specCHECK, "CHECK passes an interface in the result that a later plugin has made."), []Role{Interface, Chained}, each(checkLaterInterface)},
		{should("check-later-address", specCHECK, "CHECK passes an address in the result that is of an interface of a later plugin."), []Role{Interface, Chained}, each(checkLaterAddress)},
	}
}

func checkWhole(h *host) {
	a := h.attachment(h.pod())
	if err := a.add(); err != nil {
		h.Skipf("%v", err)
	}
	defer a.del()
	for _, m := range h.network.Subjects {
		if answer := h.run(m, a.call("CHECK", m, a.Raw)); answer.Exit != 0 || answer.Hung != nil {
			h.Errorf("%s: CHECK: want success: %v", m.Type, answer)
		}
	}
}

func checkCheckNoPrev(t *trial) {
	if t.loopback() {
		t.skip("what is to be found out of lo, there is no result needed for")
	}
	t.add()
	t.refuses("CHECK without the result of ADD", t.run("CHECK", nil))
}

// checks ends the check unless CHECK of what is as it was made succeeds.
func (t *trial) checks() {
	t.add()
	if a := t.run("CHECK", t.Raw); a.Exit != 0 {
		t.skip("%s: its CHECK does not work: %v", t.m.Type, a)
	}
}

// passes tells if CHECK, with the result changed as a later plugin does, fails.
func (t *trial) passes(what string, change func(r *cni.Result)) {
	result := t.Result.Clone()
	change(result)
	raw, err := wire.EncodeResult(result, t.Version)
	t.h.Must(err)
	t.works("CHECK after a later plugin "+what, t.run("CHECK", json.RawMessage(raw)))
}

// made returns the pod's interface, or skips the check.
func (t *trial) made() link.Link {
	t.checks()
	if t.loopback() {
		t.skip("plugins leave lo alone")
	}
	l, err := t.Pod.links.ByName(t.IfName)
	if err != nil {
		t.skip("%s: its ADD made no interface: %v", t.m.Type, err)
	}
	return l
}

// later are addresses that no network under test has.
func later() (address netip.Prefix, route netip.Prefix) {
	return netip.MustParsePrefix("198.51.100.7/24"), netip.MustParsePrefix("203.0.113.0/24")
}

func checkLaterRoute(t *trial) {
	l := t.made()
	_, dst := later()
	route := cni.Route{Dst: dst, GW: t.Result.Gateway(dst.Addr())}
	if !t.routable(l, route.GW) {
		route.GW = netip.Addr{}
	}
	t.h.Must(t.Pod.links.AddRoute(l, link.Route{Route: route}))
	t.passes("added a route", func(*cni.Result) {})
	if route.GW.IsValid() { // in a result, a route without one is over the first that there is
		t.passes("added a route and told of it", func(r *cni.Result) { r.Routes = append(r.Routes, route) })
	}
}

// checkMovedRoute does what routing by source is made of.
func checkMovedRoute(t *trial) {
	l := t.made()
	table := 100
	routes, err := t.Pod.links.Routes(l)
	t.h.Must(err)
	moved := false
	for _, ip := range t.Result.PodIPs(t.IfName) {
		for _, r := range routes {
			if !ofMainTable(r) || r.Dst.Bits() != 0 || r.Dst.Addr().Is4() != ip.Address.Addr().Is4() {
				continue
			}
			t.h.Must(t.Pod.links.DeleteRoute(l, r))
			r.Table, r.OnLink, moved = &table, true, true
			t.h.Must(t.Pod.links.AddRoute(l, r))
			host := netip.PrefixFrom(ip.Address.Addr(), ip.Address.Addr().BitLen())
			t.h.Must(t.Pod.links.AddRule(link.Rule{Source: host, Table: table}))
		}
	}
	if !moved {
		t.skip("%s makes no default route", t.m.Type)
	}
	t.passes("moved the default route", func(*cni.Result) {})
}

// ofMainTable reports whether a route, as the kernel tells of it, is in the main table.
func ofMainTable(r link.Route) bool { return r.Table == nil || *r.Table == 254 }

// routable reports whether a gateway can be one over the link.
func (t *trial) routable(l link.Link, gateway netip.Addr) bool {
	routes, err := t.Pod.links.Routes(l)
	t.h.Must(err)
	return gateway.IsValid() && slices.ContainsFunc(routes, func(r link.Route) bool {
		return ofMainTable(r) && !r.GW.IsValid() && r.Dst.Contains(gateway)
	})
}

func checkLaterMAC(t *trial) {
	l := t.made()
	mac := net.HardwareAddr{0x02, 0x53, 0, 0, 0, 0x07}
	if err := t.Pod.links.Set(l, link.Change{MAC: mac}); err != nil {
		t.skip("its MAC address cannot be changed: %v", err)
	}
	t.passes("set the MAC address", func(r *cni.Result) {
		for i := range r.Interfaces {
			if r.Interfaces[i].Name == t.IfName && r.Interfaces[i].Sandbox != "" {
				r.Interfaces[i].MAC = mac
			}
		}
	})
}

func checkLaterMTU(t *trial) {
	l := t.made()
	if err := t.Pod.links.Set(l, link.Change{MTU: 1350}); err != nil {
		t.skip("its MTU cannot be changed: %v", err)
	}
	t.passes("set the MTU", func(r *cni.Result) {
		for i := range r.Interfaces {
			if r.Interfaces[i].Name == t.IfName && r.Interfaces[i].Sandbox != "" && r.Interfaces[i].MTU != 0 {
				r.Interfaces[i].MTU = 1350
			}
		}
	})
}

func checkLaterInterface(t *trial) {
	t.made()
	l := t.another()
	t.passes("made an interface", func(r *cni.Result) {
		r.Interfaces = append(r.Interfaces, cni.Interface{Name: l.Name, MAC: l.MAC, Sandbox: t.Pod.Path})
	})
}

func checkLaterAddress(t *trial) {
	t.made()
	l := t.another()
	address, _ := later()
	t.h.Must(t.Pod.links.AddAddr(l, link.Addr{Prefix: address}))
	t.passes("made an interface with an address", func(r *cni.Result) {
		index := len(r.Interfaces)
		r.Interfaces = append(r.Interfaces, cni.Interface{Name: l.Name, MAC: l.MAC, Sandbox: t.Pod.Path})
		r.IPs = append(r.IPs, cni.IP{Address: address, Interface: &index})
	})
}

// another makes a second interface in the pod, and sets it up.
func (t *trial) another() link.Link {
	const name = "later0"
	t.h.Must(t.Pod.links.AddVeth(link.Veth{Name: name, PeerName: "later1", PeerNS: t.Pod.ns}))
	l := t.inside(name)
	t.h.Must(t.Pod.links.Set(l, link.Change{Up: true}))
	return l
}
