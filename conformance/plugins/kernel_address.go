package plugins

import (
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

func checkAddresses(h *host) {
	a := h.attach(h.pod())
	if len(a.Result.IPs) == 0 {
		h.Skipf("the result has no addresses")
	}
	a.addressesHold()
}

// addressesHold wants each address of the result on the interface that it names.
func (a *attachment) addressesHold() {
	for _, ip := range a.Result.IPs {
		links, name := a.Pod.links, a.IfName
		if i := ip.Interface; i != nil && *i >= 0 {
			if *i >= len(a.Result.Interfaces) {
				a.h.Errorf("address %v: is said to be of interface %d of %d", ip.Address, *i, len(a.Result.Interfaces))
				continue
			}
			links, name = a.place(a.Result.Interfaces[*i].Sandbox), a.Result.Interfaces[*i].Name
		}
		if links == nil {
			continue // checkInterfaces tells
		}
		if addrs := a.h.addrsOf(links, name); !slices.Contains(addrs, ip.Address) {
			a.h.Errorf("%s has the addresses %v; the result says %v", name, addrs, ip.Address)
		}
	}
}

func (h *host) addrsOf(links *link.Handle, name string) []netip.Prefix {
	l, err := links.ByName(name)
	if err != nil {
		h.Errorf("%v", err)
		return nil
	}
	addrs, err := links.Addrs(l)
	h.Must(err)
	var all []netip.Prefix
	for _, a := range addrs {
		all = append(all, a.Prefix)
	}
	return all
}

func checkNoOtherAddresses(h *host) {
	a := h.attach(h.pod())
	for _, p := range h.addrsOf(a.Pod.links, a.IfName) {
		if p.Addr().IsLinkLocalUnicast() || p.Addr().IsLoopback() {
			continue
		}
		if !slices.ContainsFunc(a.Result.PodIPs(a.IfName), func(ip cni.IP) bool { return ip.Address == p }) {
			h.Errorf("%s has the address %v, which is not in the result", a.IfName, p)
		}
	}
}

func checkUsable(h *host) {
	a := h.attach(h.pod())
	addrs, err := a.Pod.links.Addrs(a.own())
	h.Must(err)
	for _, addr := range addrs {
		if !addr.Prefix.Addr().IsLinkLocalUnicast() && (addr.Tentative || addr.Duplicate) {
			h.Errorf("%s: address %v cannot be used yet: tentative %t, duplicate %t", a.IfName, addr.Prefix, addr.Tentative, addr.Duplicate)
		}
	}
}

// checkIPv6TurnedOff begins with a pod as Docker and others make it.
func checkIPv6TurnedOff(h *host) {
	p := h.pod()
	h.Must(p.ns.Do(func() error {
		for _, name := range []string{"all", "default", "lo"} {
			if err := link.Sysctl("ipv6/conf/" + name + "/disable_ipv6").Write("1"); err != nil {
				return err
			}
		}
		return nil
	}))
	a := h.attach(p)
	if !slices.ContainsFunc(a.addrs(), netip.Addr.Is6) {
		h.Skipf("the result has no IPv6 address")
	}
	a.addressesHold()
}
