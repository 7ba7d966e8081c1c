package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A VRF is a link to be made whose members route by a table of their own.
type VRF struct {
	Base
	Table uint32
}

// AddVRF makes it, down.
func (h *Handle) AddVRF(v VRF) error {
	return h.add("vrf", v.Base, func(data *nl.RtAttr) {
		data.AddRtAttr(nl.IFLA_VRF_TABLE, nl.Uint32Attr(v.Table))
	})
}

// VRFTable returns the routing table of a VRF.
func (h *Handle) VRFTable(l Link) (uint32, error) {
	is, err := h.nl.LinkByIndex(l.Index)
	if err != nil {
		return 0, failure("link", l.Name, err)
	}
	vrf, ok := is.(*netlink.Vrf)
	if !ok {
		return 0, fmt.Errorf("link %s: is a %s, not a vrf", l.Name, l.Kind)
	}
	return vrf.Table, nil
}

// VRFTables returns the tables of all VRFs: not for a namespace of many links.
func (h *Handle) VRFTables() ([]uint32, error) {
	all, err := retry(h.nl.LinkList)
	if err != nil {
		return nil, failure("list", "links", err)
	}
	var tables []uint32
	for _, l := range all {
		if vrf, ok := l.(*netlink.Vrf); ok {
			tables = append(tables, vrf.Table)
		}
	}
	return tables, nil
}

// Enslave makes l a member of the VRF of that table. The kernel sets l down and up for
// that, and so forgets its routes and, unless told to keep them, its IPv6 addresses: they
// are put back, those routes that were in the main table into the VRF's.
func (h *Handle) Enslave(ctx context.Context, l, vrf Link, table uint32) error {
	addrs, err := h.globalAddrs(l)
	if err != nil {
		return err
	}
	routes, err := h.mainRoutes(l)
	if err != nil {
		return err
	}
	if err := h.Set(l, Change{Master: vrf.Index}); err != nil {
		return err
	}
	kept, err := h.globalAddrs(l)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if slices.ContainsFunc(kept, a.Equal) {
			continue
		}
		a.Flags |= unix.IFA_F_NODAD // it was asked for when it was first added
		if err := h.nl.AddrAdd(device(l), &a); err != nil && !errors.Is(err, fs.ErrExist) {
			return failure("put back address", a.IPNet.String()+" of "+l.Name, err)
		}
	}
	if l.Up && len(addrs) > 0 { // a route cannot prefer an address that is tentative
		if err := h.WaitAddrs(ctx, l); err != nil {
			return err
		}
	}
	for _, r := range routes {
		r.Table = int(table)
		if err := h.nl.RouteAppend(&r); err != nil && !errors.Is(err, fs.ErrExist) {
			return failure("put back route", routeFrom(r).String()+" dev "+l.Name, err)
		}
	}
	return nil
}

// globalAddrs returns the IPv6 addresses of a link that are known beyond it.
func (h *Handle) globalAddrs(l Link) ([]netlink.Addr, error) {
	all, err := retry(func() ([]netlink.Addr, error) { return h.nl.AddrList(device(l), netlink.FAMILY_V6) })
	if err != nil {
		return nil, failure("addresses of", l.Name, err)
	}
	return slices.DeleteFunc(all, func(a netlink.Addr) bool { return a.Scope != unix.RT_SCOPE_UNIVERSE }), nil
}

// mainRoutes returns the routes over a link in the main table that neither the kernel nor
// a router made, those to neighbours first: the others' gateways are found by them.
func (h *Handle) mainRoutes(l Link) ([]netlink.Route, error) {
	all, err := retry(func() ([]netlink.Route, error) {
		return h.nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, failure("routes over", l.Name, err)
	}
	var neighbours, others []netlink.Route
	for _, r := range all {
		for _, hop := range hops(r) {
			switch {
			case hop.LinkIndex != l.Index, hop.Protocol == unix.RTPROT_KERNEL, hop.Protocol == unix.RTPROT_RA:
			case hop.Gw == nil && hop.Via == nil:
				neighbours = append(neighbours, hop)
			default:
				others = append(others, hop)
			}
		}
	}
	return append(neighbours, others...), nil
}

// SetFree ends that the link is a port or member of another.
func (h *Handle) SetFree(l Link) error {
	return failure("set free link", l.Name, h.nl.LinkSetNoMaster(device(l)))
}
