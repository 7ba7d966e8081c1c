package sbr

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
	"golang.org/x/sys/unix"
)

// Check looks for each address's rule and, unless a table is given, for the routes that
// the rule must lead to.
func (c *Config) Check(_ context.Context, call *plugin.Call) error {
	rules, err := call.Pod.Rules()
	if err != nil {
		return err
	}
	routes, err := call.Pod.Routes(call.Link)
	if err != nil {
		return err
	}
	var errs []error
	for _, ip := range call.Result.PodIPs(call.IfName) {
		i := slices.IndexFunc(rules, func(r link.Rule) bool { return r.Source == source(ip.Address) })
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("pod %s: rule from %s is gone", call.NetNS, ip.Address.Addr()))
		case c.Table == nil:
			errs = append(errs, c.checkTable(call, ip, routes, rules[i].Table), c.checkHint(call, ip, routes))
		case rules[i].Table != *c.Table:
			errs = append(errs, fmt.Errorf("pod %s: rule %s: not to table %d", call.NetNS, rules[i], *c.Table))
		}
	}
	return errors.Join(errs...)
}

// checkTable compares an address's table with what Apply must have put there: it knows
// the result, but not any more what the main table held.
func (c *Config) checkTable(call *plugin.Call, ip cni.IP, routes []link.Route, table int) error {
	var errs []error
	want := func(dst netip.Prefix, gateway netip.Addr) {
		has := slices.ContainsFunc(routes, func(r link.Route) bool {
			return *r.Table == table && r.Dst == dst && (!gateway.IsValid() || r.GW == gateway)
		})
		if !has {
			route := link.Route{Route: cni.Route{Dst: dst, GW: gateway}}
			errs = append(errs, fmt.Errorf("pod %s: route %s over %s is gone from table %d", call.NetNS, route, call.IfName, table))
		}
	}
	if subnet := ip.Address.Masked(); !ip.Address.IsSingleIP() {
		want(subnet, netip.Addr{})
	}
	gateway := c.gateway(ip.Address.Addr(), ip.Gateway)
	for _, r := range call.Result.Routes {
		if !r.GW.IsValid() && r.Scope == nil {
			r.GW = call.Result.Gateway(r.Dst.Addr())
		}
		if (r.Table == nil || *r.Table == table) && r.Dst.Bits() > 0 && isFor(call.Result, ip, link.Route{Route: r}) {
			want(r.Dst.Masked(), r.GW)
		}
	}
	if gateway.IsValid() {
		// A default route of the result's may lead to another gateway than the address's.
		want(everything(gateway), c.gateway(ip.Address.Addr(), netip.Addr{}))
	}
	return errors.Join(errs...)
}

// checkHint looks for the route that addSourceHints keeps in the main table. Which of the
// subnet's addresses it names does not matter: others may have chosen one before.
func (c *Config) checkHint(call *plugin.Call, ip cni.IP, routes []link.Route) error {
	kept := func(r link.Route) bool {
		return *r.Table == unix.RT_TABLE_MAIN && r.Dst == ip.Address.Masked() && r.Source.IsValid()
	}
	if !c.AddSourceHints || ip.Address.IsSingleIP() || slices.ContainsFunc(routes, kept) {
		return nil
	}
	return fmt.Errorf("pod %s: route %s over %s with a source is gone from the main table", call.NetNS, ip.Address.Masked(), call.IfName)
}
