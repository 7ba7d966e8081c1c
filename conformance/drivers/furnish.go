package drivers

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

// addresses are the endpoint's, whoever chose them.
func (p *endpoint) addresses() []netip.Prefix {
	all := slices.Clone(p.Addresses)
	if len(all) > 0 || p.Chosen == nil {
		return all
	}
	for _, text := range []string{p.Chosen.Address, p.Chosen.AddressIPv6} {
		if a, err := netip.ParsePrefix(text); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// address returns the endpoint's address of IPv4, or of IPv6.
func (p *endpoint) address(v6 bool) netip.Addr {
	for _, a := range p.addresses() {
		if a.Addr().Is6() == v6 {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// mac is the interface's, if anybody has chosen it.
func (p *endpoint) mac() (net.HardwareAddr, error) {
	text := p.Asked.MacAddress
	if text == "" && p.Chosen != nil {
		text = p.Chosen.MacAddress
	}
	if text == "" {
		return nil, nil
	}
	return net.ParseMAC(text)
}

// furnish moves the link that the driver has named into the sandbox and gives it what an
// engine gives it.
func (p *endpoint) furnish() error {
	if j := p.Joined.InterfaceName; j == nil || j.SrcName == "" {
		return p.furnished()
	}
	l, err := p.moveIn()
	if err != nil {
		return fmt.Errorf("moving the interface into the sandbox: %w", err)
	}
	in := p.Sandbox.links
	mac, err := p.mac()
	if err != nil {
		return err
	}
	if mac != nil {
		if err := in.Set(l, link.Change{MAC: mac}); err != nil {
			return err
		}
	}
	for _, a := range p.addresses() {
		if err := in.AddAddr(l, link.Addr{Prefix: a, NoDAD: true}); err != nil {
			return err
		}
	}
	if err := in.Set(l, link.Change{Up: true}); err != nil {
		return err
	}
	return p.route(l)
}

func (p *endpoint) moveIn() (link.Link, error) {
	name := p.Joined.InterfaceName
	l, err := p.n.e.links.ByName(name.SrcName)
	if err != nil {
		return l, err
	}
	p.Name = name.DstName
	if p.Name == "" {
		p.Name = fmt.Sprintf("%s%d", name.DstPrefix, p.Sandbox.count)
	}
	p.Sandbox.count++
	if err := p.n.e.links.Set(l, link.Change{Down: true}); err != nil {
		return l, err
	}
	if err := p.n.e.links.Move(l, link.Move{To: p.Sandbox.links, Name: p.Name, Alias: l.Alias}); err != nil {
		return l, err
	}
	return p.Sandbox.links.ByName(p.Name)
}

// route adds the routes that Join answered, and the default routes.
func (p *endpoint) route(l link.Link) error {
	in := p.Sandbox.links
	for _, r := range p.Joined.StaticRoutes {
		dst, err := netip.ParsePrefix(r.Destination)
		if err != nil {
			return fmt.Errorf("static route: %w", err)
		}
		route := link.Route{Route: cni.Route{Dst: dst}}
		if r.RouteType == byNextHop {
			if route.GW, err = netip.ParseAddr(r.NextHop); err != nil {
				return fmt.Errorf("static route to %s: %w", dst, err)
			}
		}
		if err := in.AddRoute(l, route); err != nil {
			return fmt.Errorf("static route: %w", err)
		}
	}
	for _, text := range []string{p.Joined.Gateway, p.Joined.GatewayIPv6} {
		if text == "" {
			continue
		}
		gw, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
		if err := in.AddRoute(l, link.Route{Route: cni.Route{Dst: netip.PrefixFrom(unspecified(gw), 0), GW: gw}}); err != nil {
			return fmt.Errorf("default route by the gateway that Join answered: %w", err)
		}
	}
	return nil
}

// Types of static routes.
const (
	byNextHop = 0
	connected = 1
)

// furnished reports what is missing in a sandbox that the driver furnishes itself.
func (p *endpoint) furnished() error {
	all, err := p.Sandbox.links.List()
	if err != nil {
		return err
	}
	var has []string
	for _, l := range all {
		addrs, err := p.Sandbox.links.Addrs(l)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			has = append(has, a.Prefix.String())
		}
	}
	for _, a := range p.addresses() {
		if !slices.Contains(has, a.String()) {
			return fmt.Errorf("no link to move is named, and the sandbox has no interface with %s: it has %s", a, strings.Join(has, ", "))
		}
	}
	return nil
}

// bringBack moves the interface to the host again, under the name that it had. If the
// sandbox is no more, that is gone too.
func (p *endpoint) bringBack() error {
	if p.Name == "" || p.Sandbox.ns == nil {
		return nil
	}
	in := p.Sandbox.links
	l, err := in.ByName(p.Name)
	if link.Missing(err) { // the driver took it
		return nil
	}
	if err != nil {
		return err
	}
	name := p.Joined.InterfaceName.SrcName
	p.Name = ""
	err = errors.Join(in.Set(l, link.Change{Down: true}), in.Move(l, link.Move{To: p.n.e.links, Name: name, Alias: l.Alias}))
	if err != nil {
		return fmt.Errorf("moving the interface back to the host: %w", err)
	}
	return nil
}
