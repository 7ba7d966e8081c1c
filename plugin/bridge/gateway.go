package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
)

// completeGateways gives every address a gateway, by default the first address of
// its subnet, and with isDefaultGateway each family a default route, unless IPAM
// gave one that names its gateway.
func (b *Config) completeGateways(r *cni.Result) {
	for i, ip := range r.IPs {
		if !ip.Gateway.IsValid() {
			r.IPs[i].Gateway = ip.Address.Masked().Addr().Next()
		}
		if !b.IsDefaultGateway {
			continue
		}
		everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if ip.Address.Addr().Is6() {
			everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		if !slices.ContainsFunc(r.Routes, func(r cni.Route) bool { return r.Dst == everything && r.GW.IsValid() }) {
			r.Routes = append(r.Routes, cni.Route{Dst: everything, GW: r.IPs[i].Gateway})
		}
	}
}

// gatewayLink returns the link that bears the gateway addresses: the bridge, or with
// a VLAN an interface of the host in that VLAN, which joins the result.
func (b *Config) gatewayLink(c *plugin.Call) (link.Link, error) {
	if b.VLAN == 0 {
		return b.link, nil
	}
	l, err := b.ensureVLANLink(c.Links)
	if err == nil {
		c.Result.Interfaces = append(c.Result.Interfaces, plugin.HostInterface(l))
	}
	return l, err
}

// giveGateways gives the link the addresses' gateways. That it has them already, the
// usual case, is found out by trying: the addresses are listed only after one was
// missing, to find others that are in its way. The link is not the attachment's, so
// what a failure leaves there would stay, and is taken back at once.
func (b *Config) giveGateways(links *link.Handle, l link.Link, ips []cni.IP) error {
	var given []netip.Prefix
	err := func() error {
		for _, ip := range ips {
			gateway := gatewayOf(ip)
			switch err := links.AddAddr(l, link.Addr{Prefix: gateway, NoDAD: true}); {
			case errors.Is(err, fs.ErrExist):
			case err != nil:
				return err
			default:
				given = append(given, gateway)
			}
		}
		if len(given) == 0 {
			return nil
		}
		return b.clearTheWay(links, l, ips, given)
	}()
	if err == nil {
		return nil
	}
	errs := []error{err}
	for _, gateway := range given {
		errs = append(errs, links.DeleteAddr(l, gateway))
	}
	return errors.Join(errs...)
}

// clearTheWay removes addresses of the link that stand against a gateway just given,
// or says, without forceAddress, that there is one.
func (b *Config) clearTheWay(links *link.Handle, l link.Link, ips []cni.IP, given []netip.Prefix) error {
	addrs, err := links.Addrs(l)
	if err != nil {
		return err
	}
	var old []netip.Prefix
	for _, a := range addrs {
		if slices.ContainsFunc(ips, func(ip cni.IP) bool { return gatewayOf(ip) == a.Prefix }) {
			continue
		}
		for _, gateway := range given {
			if !inTheWay(a.Prefix, gateway) {
				continue
			}
			if !b.ForceAddress {
				return cni.Errorf(cni.CodeInvalidConfig, "bridge: %s has address %s, which is in the way of gateway %s", l.Name, a.Prefix, gateway).
					WithDetails("name another bridge, delete the address (ip addr del %s dev %s), or set forceAddress", a.Prefix, l.Name)
			}
			old = append(old, a.Prefix)
			break
		}
	}
	for _, p := range old {
		if err := links.DeleteAddr(l, p); err != nil {
			return err
		}
	}
	return nil
}

// gatewayOf is the address's gateway as an address of the bridge.
func gatewayOf(ip cni.IP) netip.Prefix { return netip.PrefixFrom(ip.Gateway, ip.Address.Bits()) }

// inTheWay reports whether an address that the link has stands against the gateway:
// of IPv4 any other one, of IPv6 one of an overlapping subnet.
func inTheWay(has, gateway netip.Prefix) bool {
	if has == gateway || has.Addr().Is4() != gateway.Addr().Is4() || has.Addr().IsLinkLocalUnicast() {
		return false
	}
	return has.Addr().Is4() || has.Overlaps(gateway)
}

func (b *Config) checkGateway(c *plugin.Call) error {
	if !b.IsGateway || len(c.Result.IPs) == 0 {
		return nil
	}
	name := b.Bridge
	if b.VLAN != 0 {
		name = b.vlanLinkName()
	}
	l, err := c.Links.ByName(name)
	if err != nil {
		return err
	}
	addrs, err := c.Links.Addrs(l)
	if err != nil {
		return err
	}
	var errs []error
	for _, ip := range c.Result.PodIPs(c.IfName) {
		has := slices.ContainsFunc(addrs, func(a link.Addr) bool { return a.Prefix.Addr() == ip.Gateway })
		if ip.Gateway.IsValid() && !has {
			errs = append(errs, fmt.Errorf("link %s: gateway address %s is gone", l.Name, ip.Gateway))
		}
	}
	return errors.Join(append(errs, c.CheckForward(l.Name))...)
}
