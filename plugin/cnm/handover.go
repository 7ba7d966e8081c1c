package cnm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/plugin"
	"golang.org/x/sys/unix"
)

// handOver moves the driver's link into the namespace, under the name that it is to have
// there, as engines do. Its alias is the attachment's tag, as long as it is there.
func (a *attaching) handOver() error {
	name := a.joined.Link.Name
	l, err := a.Links.ByName(name)
	if link.Missing(err) {
		return fmt.Errorf("driver %s: says that the link is %s, which is not on the host: %w", a.conf.Driver, name, err)
	}
	if err != nil {
		return err
	}
	if err := a.Links.Move(l, link.Move{To: a.Pod, Name: a.IfName, Alias: plugin.Alias(a.Tag())}); err != nil {
		return err
	}
	if a.Link, err = a.Pod.ByName(a.IfName); err != nil {
		return err
	}
	change := link.Change{MTU: a.conf.MTU}
	if a.iface.MAC != nil && !bytes.Equal(a.iface.MAC, a.Link.MAC) {
		change.MAC = a.iface.MAC
	}
	if change.MTU != 0 || change.MAC != nil {
		if err := a.Pod.Set(a.Link, change); err != nil {
			return err
		}
		a.Link, err = a.Pod.ByName(a.IfName)
	}
	return err
}

// tell completes the result by what the driver said: the frame sets it.
func (a *attaching) tell() {
	given := len(a.Result.IPs) > 0 // by CNI's IPAM
	for _, p := range a.iface.Addresses {
		if !given || !of(p.Addr(), prefixes(a.Result.IPs)).IsValid() {
			a.Result.IPs = append(a.Result.IPs, cni.IP{Address: p, Interface: new(int)})
		}
	}
	connected := unix.RT_SCOPE_LINK
	for _, r := range a.joined.Routes {
		route := cni.Route{Dst: r.Dst, GW: r.NextHop}
		if !r.NextHop.IsValid() {
			route.Scope = &connected
		}
		a.Result.Routes = append(a.Result.Routes, route)
	}
	// The connected ones first: the gateways of others may be there.
	slices.SortStableFunc(a.Result.Routes, func(a, b cni.Route) int { return scopeOf(b) - scopeOf(a) })
	for _, g := range a.gateways() {
		a.leadOut(g)
	}
}

func scopeOf(r cni.Route) int {
	if r.Scope == nil {
		return 0
	}
	return *r.Scope
}

func prefixes(ips []cni.IP) (list []netip.Prefix) {
	for _, ip := range ips {
		list = append(list, ip.Address)
	}
	return list
}

// leadOut adds the default route, unless CNI's IPAM has given one of that family.
func (a *attaching) leadOut(gateway netip.Addr) {
	for i := range a.Result.IPs {
		if ip := &a.Result.IPs[i]; ip.Address.Addr().Is4() == gateway.Is4() && !ip.Gateway.IsValid() {
			ip.Gateway = gateway
		}
	}
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if gateway.Is6() {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if !slices.ContainsFunc(a.Result.Routes, func(r cni.Route) bool { return r.Dst.Masked() == all }) {
		a.Result.Routes = append(a.Result.Routes, cni.Route{Dst: all, GW: gateway})
	}
}

// takeOver is for a driver that has none of its links moved: it has set the namespace up
// itself, under the name that CreateEndpoint told it. Routes that it left to its engine are
// added, and the result becomes what is there.
func (a *attaching) takeOver() error {
	l, err := a.Pod.ByName(a.IfName)
	if link.Missing(err) {
		return fmt.Errorf("driver %s: names no link to be moved, and has made no interface %s in the pod: %w", a.conf.Driver, a.IfName, err)
	}
	if err != nil {
		return err
	}
	for _, r := range a.Result.Routes {
		if !r.GW.IsValid() && r.Scope == nil {
			r.GW = a.Result.Gateway(r.Dst.Addr())
		}
		if err := a.Pod.AddRoute(l, link.Route{Route: r}); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("pod %s: %w", a.NetNS, err)
		}
	}
	addrs, err := a.Pod.Addrs(l)
	if err != nil {
		return err
	}
	was := a.Result.IPs
	a.Result.IPs = nil
	for _, is := range addrs {
		if is.Prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		ip := cni.IP{Address: is.Prefix, Interface: new(int)}
		for _, told := range was {
			if told.Address == ip.Address {
				ip.Gateway = told.Gateway
			}
		}
		a.Result.IPs = append(a.Result.IPs, ip)
	}
	return a.readRoutes(l)
}

// readRoutes sets the result's routes to the main table's, but for those that addresses
// bring along.
func (a *attaching) readRoutes(l link.Link) error {
	routes, err := a.Pod.Routes(l)
	if err != nil {
		return err
	}
	a.Result.Routes = nil
	for _, r := range routes {
		own := slices.ContainsFunc(a.Result.IPs, func(ip cni.IP) bool { return ip.Address.Masked() == r.Dst.Masked() })
		if *r.Table != unix.RT_TABLE_MAIN || own || r.Dst.Addr().IsLinkLocalUnicast() || r.Dst.Addr().IsMulticast() {
			continue
		}
		route := cni.Route{Dst: r.Dst, GW: r.GW}
		if !r.GW.IsValid() {
			route.Scope = r.Scope
		} else if r.Dst.Bits() == 0 {
			for i := range a.Result.IPs {
				if ip := &a.Result.IPs[i]; ip.Address.Addr().Is4() == r.GW.Is4() && !ip.Gateway.IsValid() {
					ip.Gateway = r.GW
				}
			}
		}
		a.Result.Routes = append(a.Result.Routes, route)
	}
	return nil
}

// takeBack moves the link from the namespace to the host, under the driver's name for it,
// down. It is fine if it is not there any more, or the namespace is not.
func (e *endpoint) takeBack(host *link.Handle) error {
	if e.Link == "" || e.NetNS == "" {
		return nil
	}
	ns, err := netns.Open(e.NetNS)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	pod, err := link.In(ns)
	if err != nil {
		return err
	}
	defer pod.Close()
	for _, name := range []string{e.Name, e.Link} { // the other one if a kill came in between
		l, err := pod.ByName(name)
		if link.Missing(err) || err == nil && l.Alias != plugin.Alias(e.Tag) {
			continue
		}
		if err != nil {
			return err
		}
		return e.bring(pod, host, l)
	}
	return nil
}

// bring renames the link before it moves: on the host, another may have the name that it has
// in the pod.
func (e *endpoint) bring(pod, host *link.Handle, l link.Link) error {
	if err := pod.Set(l, link.Change{Down: true}); err != nil {
		return err
	}
	if l.Name != e.Link {
		if err := pod.Rename(l, e.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	err := pod.Move(l, link.Move{To: host, Name: e.Link})
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("return %s to the host: another link there is called %s: rename that, and repeat: %w", e.Name, e.Link, err)
	}
	return err
}
