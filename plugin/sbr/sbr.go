// Package sbr routes by source: the plugin "sbr", chained after one that makes an
// interface, for pods with several.
//
// What a pod sends from an interface's address leaves by that interface, whatever the
// main routing table says: each address has a rule that leads to a table with the
// interface's routes. All of it is inside the pod. It makes no addresses, and does
// nothing for packets that have no source yet. To see its work, inside the pod: ip rule,
// ip -6 rule, ip route show table all, ip route get ADDRESS from SOURCE.
package sbr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
	"golang.org/x/sys/unix"
)

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Altering(h, func() plugin.Alteration { return &Config{} })
}

// firstTable is the first number that an address's table may have.
const firstTable = 100

// Apply makes the rules and, unless a table is given, moves the routes.
func (c *Config) Apply(ctx context.Context, call *plugin.Call) error {
	ips := call.Result.PodIPs(call.IfName)
	if len(ips) == 0 { // to move the routes nevertheless would leave the interface without any
		return cni.Errorf(cni.CodeInvalidConfig, "%s: prevResult has no addresses of %s to route by", call.Config.Type, call.IfName)
	}
	// Others, the reference plugin among them, are not to choose a table in the same pod at
	// the same time. The lock is on the namespace itself: no file is made.
	unlock, err := state.LockFD(ctx, call.PodNS.Fd(), "the pod's namespace")
	if err != nil {
		return err
	}
	defer unlock()
	if c.Table != nil {
		for _, ip := range ips {
			if err := addRule(call, ip, *c.Table); err != nil {
				return err
			}
		}
		return nil
	}
	return c.move(call, ips)
}

// move gives each address a table with the interface's routes, which leave the main
// table when all have theirs: a gateway is found by a route that must still be there.
func (c *Config) move(call *plugin.Call, ips []cni.IP) error {
	taken, err := call.Pod.Tables()
	if err != nil {
		return err
	}
	all, err := call.Pod.Routes(call.Link)
	if err != nil {
		return err
	}
	routes := slices.DeleteFunc(all, notMoved)
	table := firstTable
	for _, ip := range ips {
		for taken[table] {
			table++
		}
		if err := c.fill(call, ip, routes, table); err != nil {
			return err
		}
		if err := addRule(call, ip, table); err != nil {
			return err
		}
		table++
	}
	return c.clear(call, ips, routes)
}

// notMoved is what another table holds already, and the kernel's own route to
// link-local addresses: no rule leads from those to another table.
func notMoved(r link.Route) bool {
	return *r.Table != unix.RT_TABLE_MAIN || r.Dst.Addr().IsLinkLocalUnicast()
}

// fill copies to the table what is for the address, and gives it a default route.
func (c *Config) fill(call *plugin.Call, ip cni.IP, routes []link.Route, table int) error {
	gateway := c.gateway(ip.Address.Addr(), ip.Gateway)
	replaced := gateway.IsValid() && gateway != ip.Gateway
	hasDefault := false
	// Neighbours first: what lies behind a gateway needs the gateway.
	for _, behind := range []bool{false, true} {
		for _, r := range routes {
			isDefault := plainDefault(r)
			if r.GW.IsValid() != behind || !isFor(call.Result, ip, r) || isDefault && replaced {
				continue
			}
			r.Table = &table
			if err := ignoreExisting(call.Pod.AppendRoute(call.Link, r)); err != nil {
				return fmt.Errorf("pod %s: table %d: %w", call.NetNS, table, err)
			}
			hasDefault = hasDefault || isDefault
		}
	}
	if hasDefault || !gateway.IsValid() {
		return nil
	}
	r := link.Route{Route: cni.Route{Dst: everything(gateway), GW: gateway, Table: &table}}
	if err := call.Pod.AddRoute(call.Link, r); err != nil {
		return fmt.Errorf("pod %s: table %d: %w", call.NetNS, table, err)
	}
	return nil
}

// priorityIPv6 is what the kernel takes for an IPv6 route that names no priority.
const priorityIPv6 = 1024

// plainDefault reports whether r is the default route that is preferred to all.
func plainDefault(r link.Route) bool {
	return r.Dst.Bits() == 0 && (r.Priority == 0 || r.Priority == priorityIPv6 && r.Dst.Addr().Is6())
}

func everything(of netip.Addr) netip.Prefix {
	if of.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// isFor reports whether a route is for what comes from the address: its gateway or its
// preferred source is in the address's subnet, or in that of none of the addresses.
func isFor(result *cni.Result, ip cni.IP, r link.Route) bool {
	within := func(ip cni.IP) bool {
		subnet := ip.Address.Masked()
		return subnet.Contains(r.GW) || subnet.Contains(r.Source)
	}
	if r.Dst.Addr().Is4() != ip.Address.Addr().Is4() {
		return false
	}
	return within(ip) || !slices.ContainsFunc(result.IPs, within)
}

// clear takes the routes from the main table. With source hints, those to the
// addresses' subnets stay, and name an address.
func (c *Config) clear(call *plugin.Call, ips []cni.IP, routes []link.Route) error {
	for _, r := range routes {
		if c.AddSourceHints {
			i := slices.IndexFunc(ips, func(ip cni.IP) bool { return r.Dst.Bits() > 0 && ip.Address.Masked().Overlaps(r.Dst) })
			if i >= 0 {
				if err := hint(call, r, ips[i].Address.Addr()); err != nil {
					return err
				}
				continue
			}
		}
		if err := call.Pod.DeleteRoute(call.Link, r); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("pod %s: %w", call.NetNS, err)
		}
	}
	return nil
}

func hint(call *plugin.Call, r link.Route, source netip.Addr) error {
	if r.Source.IsValid() {
		return nil
	}
	r.Source = source
	if err := call.Pod.SetRoute(call.Link, r); err != nil {
		return fmt.Errorf("pod %s: %w", call.NetNS, err)
	}
	return nil
}

func addRule(call *plugin.Call, ip cni.IP, table int) error {
	err := call.Pod.AddRule(link.Rule{Source: source(ip.Address), Table: table})
	if err != nil {
		return fmt.Errorf("pod %s: %w", call.NetNS, err)
	}
	return nil
}

// source returns the address alone, as a prefix.
func source(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(p.Addr(), p.Addr().BitLen()) }

func ignoreExisting(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Revert deletes the rules whose source is an address of the interface, or was one. The
// routes go with the interface.
func (c *Config) Revert(_ context.Context, call *plugin.Call) error {
	if call.Pod == nil {
		return nil
	}
	sources := make(map[netip.Prefix]bool)
	if call.Prev != nil {
		for _, ip := range call.Prev.PodIPs(call.IfName) {
			sources[source(ip.Address)] = true
		}
	}
	var errs []error
	if call.Link.Index != 0 {
		addrs, err := call.Pod.Addrs(call.Link)
		errs = append(errs, err)
		for _, a := range addrs {
			sources[source(a.Prefix)] = true
		}
	}
	for _, s := range slices.SortedFunc(maps.Keys(sources), func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }) {
		errs = append(errs, c.deleteRules(call.Pod, s))
	}
	return errors.Join(errs...)
}

// deleteRules deletes all rules of the source, which are to the table if one is given.
func (c *Config) deleteRules(pod *link.Handle, source netip.Prefix) error {
	rule := link.Rule{Source: source}
	if c.Table != nil {
		rule.Table = *c.Table
	}
	for {
		switch err := pod.DeleteRule(rule); {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
	}
}

// Retain has nothing to do: all is inside the pods, and goes with them.
func (c *Config) Retain(context.Context, *plugin.Host, *cni.Request, []cni.Tag) error { return nil }
