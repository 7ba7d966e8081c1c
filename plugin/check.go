package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// Subnets returns the network that the address is of: what its pod reaches without
// being masqueraded.
func Subnets(ip cni.IP) []netip.Prefix { return []netip.Prefix{ip.Address.Masked()} }

func (p *interfacePlugin) Check(ctx context.Context, r *cni.Request) error {
	dev := p.newDevice()
	if err := r.Decode(dev); err != nil {
		return err
	}
	if r.Prev == nil {
		return cni.Errorf(cni.CodeInvalidConfig, "%s: CHECK needs prevResult, the result of the ADD", r.Config.Type)
	}
	c, err := p.host.open(r)
	if err != nil {
		return err
	}
	defer c.close()
	c.Result = r.Prev
	// All findings are told at once: who repairs one should not have to ask again.
	errs := []error{dev.Common().IPAM.call(ctx, r, cni.Plugin.Check)}
	if lender, ok := dev.(Lender); ok && lender.UserSpace() {
		return errors.Join(errs...)
	}
	if c.Link, err = c.Pod.ByName(c.IfName); err != nil {
		return errors.Join(append(errs, fmt.Errorf("pod %s: %w", c.NetNS, err))...)
	}
	elements, err := dev.Check(ctx, c)
	errs = append(errs, c.checkPod(), err)
	elements = append(elements, masquerade(c, dev)...)
	if len(elements) > 0 {
		errs = append(errs, p.host.checkElements(r, elements))
	}
	return errors.Join(errs...)
}

// checkElements accepts also what a reference plugin made in the elements' place.
func (h *Host) checkElements(r *cni.Request, elements []nft.Element) error {
	table, err := h.Table()
	if err != nil {
		return err
	}
	err = table.Check(owner(r), elements...)
	if err == nil || inherited(table, owner(r), legacies(r.Attachment, elements)...) {
		return nil
	}
	return err
}

// legacies are the reference plugins' forms of the elements.
func legacies(a cni.Attachment, elements []nft.Element) []nft.Legacy {
	var masquerade, guard bool
	for _, e := range elements {
		switch e.(type) {
		case nft.Masquerade:
			masquerade = true
		case nft.Guard:
			guard = true
		}
	}
	var list []nft.Legacy
	if masquerade {
		list = append(list, nft.LegacyMasquerade(a))
	}
	if guard {
		list = append(list, nft.LegacyGuard(a))
	}
	return list
}

// checkPod compares the pod's interface, addresses and routes with the result.
// Other plugins may have added to them, and moved routes to other tables.
func (c *Call) checkPod() error {
	pod := c.Link
	errs := []error{c.checkMAC(pod)}
	addrs, err := c.Pod.Addrs(pod)
	errs = append(errs, err)
	for _, ip := range c.Result.PodIPs(c.IfName) {
		has := slices.ContainsFunc(addrs, func(a link.Addr) bool { return a.Prefix == ip.Address })
		if !has && err == nil {
			errs = append(errs, fmt.Errorf("pod %s: address %s of %s is gone", c.NetNS, ip.Address, c.IfName))
		}
	}
	routes, err := c.Pod.Routes(pod)
	errs = append(errs, err)
	for _, ip := range c.Result.PodIPs(c.IfName) {
		if !c.ViaGateway || !ip.Gateway.IsValid() || err != nil {
			continue
		}
		for _, want := range gatewayRoutes(ip) {
			if !slices.ContainsFunc(routes, func(has link.Route) bool { return has.Dst == want.Dst && has.GW == want.GW }) {
				errs = append(errs, fmt.Errorf("pod %s: route %s over %s is gone", c.NetNS, want, c.IfName))
			}
		}
	}
	for _, r := range c.Result.Routes {
		if err == nil && !slices.ContainsFunc(routes, func(has link.Route) bool { return c.sameRoute(has, r) }) {
			errs = append(errs, fmt.Errorf("pod %s: route %s over %s is gone", c.NetNS, link.Route{Route: r}, c.IfName))
		}
	}
	return errors.Join(errs...)
}

func (c *Call) checkMAC(pod link.Link) error {
	for _, i := range c.Result.Interfaces {
		if i.Name == pod.Name && i.Sandbox != "" && i.MAC != nil && !bytes.Equal(i.MAC, pod.MAC) {
			return fmt.Errorf("pod %s: interface %s has MAC address %s, not %s", c.NetNS, pod.Name, pod.MAC, i.MAC)
		}
	}
	return nil
}

// sameRoute compares what the kernel has with what the result asks for. The table is
// left out, as a later plugin may have moved the route (sbr).
func (c *Call) sameRoute(has link.Route, want cni.Route) bool {
	gateway := want.GW
	if !gateway.IsValid() && want.Scope == nil {
		gateway = c.Result.Gateway(want.Dst.Addr())
	}
	if gateway.IsValid() && gateway.IsUnspecified() {
		gateway = netip.Addr{} // a lease's 0.0.0.0: over the link itself
	}
	return has.Dst == want.Dst.Masked() && has.GW == gateway
}

// CheckHostLink reports whether a link that the result lists for the host is there,
// up, and has its MAC address.
func (c *Call) CheckHostLink(name string) (link.Link, error) {
	l, err := c.Links.ByName(name)
	if err != nil {
		return l, err
	}
	if !l.Up {
		return l, fmt.Errorf("link %s: is down", name)
	}
	for _, i := range c.Result.Interfaces {
		if i.Name == name && i.Sandbox == "" && i.MAC != nil && !bytes.Equal(i.MAC, l.MAC) {
			return l, fmt.Errorf("link %s: has MAC address %s, not %s", name, l.MAC, i.MAC)
		}
	}
	return l, nil
}
