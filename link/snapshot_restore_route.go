package link

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// addRoutes adds the routes that are not there. Of those that are there over the
// snapshot's links, it deletes what stands in the place of one of the snapshot's; and, in
// the end, because a gateway may have been found by it, what an address brought with it
// though the snapshot had no such route.
func (r *restoration) addRoutes() error {
	wanted, err := r.wantedRoutes()
	errs := []error{err}
	there, err := r.dumpRoutes()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	have, want, keys := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, w := range wanted {
		want[w.normal()], keys[w.key()] = true, true
	}
	var brought []savedRoute
	for _, is := range there {
		switch {
		case want[is.normal()]:
			have[is.normal()] = true
		case r.options.SkipDefaultRoutes && is.isDefault() || !r.owns(is):
		case keys[is.key()]:
			errs = append(errs, r.deleteRoute(is))
		case r.broughtByAddr(is):
			brought = append(brought, is)
		}
	}
	wanted = slices.DeleteFunc(wanted, func(w savedRoute) bool { return have[w.normal()] })
	errs = append(errs, r.addMissing(wanted))
	for _, is := range brought {
		errs = append(errs, r.deleteRoute(is))
	}
	return errors.Join(errs...)
}

// addMissing adds routes, and the next hops that some are over and others lead to.
func (r *restoration) addMissing(routes []savedRoute) error {
	first := slices.IndexFunc(routes, func(w savedRoute) bool { return w.depth() > 0 })
	if first < 0 {
		first = len(routes)
	}
	var adds []func() error
	for i, w := range routes {
		if i == first {
			adds = append(adds, r.addNextHops()...)
		}
		adds = append(adds, func() error { return r.addRoute(w) })
	}
	if first == len(routes) {
		adds = append(adds, r.addNextHops()...)
	}
	return untilDone(adds, func(add func() error) error { return add() })
}

func (r *restoration) addNextHops() (adds []func() error) {
	for _, saved := range r.snapshot.NextHops {
		adds = append(adds, func() error { return failure("restore", "next hop", unlessThere(r.addNextHop(saved))) })
	}
	return adds
}

func (r *restoration) addNextHop(saved SavedMessage) error {
	m, err := parseMessage(saved, sizeofNextHopHeader)
	if err != nil {
		return err
	}
	m.header[1] = 0 // its scope, which the kernel finds out
	m.setNumber(4, m.number(4)&unix.RTNH_F_ONLINK)
	m.attributes = m.without(nhaOpFlags, nhaGroupStats, nhaStatsUsed)
	if was, ok := m.uint32(nhaOIF); ok {
		m.set(nhaOIF, binary.NativeEndian.AppendUint32(nil, r.index(was)))
	}
	return r.send(unix.RTM_NEWNEXTHOP, unix.NLM_F_CREATE|unix.NLM_F_EXCL, m)
}

// addRoute adds a route, beside one that is the same but for its next hop.
func (r *restoration) addRoute(w savedRoute) error {
	err := r.send(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, w)
	return failure("restore route", w.String(), unlessThere(err))
}

func (r *restoration) deleteRoute(is savedRoute) error {
	return failure("delete route", is.String(), r.send(unix.RTM_DELROUTE, 0, is))
}

// wantedRoutes returns the snapshot's routes over links that are there, as they are to be
// now: to neighbours first, because the others' gateways are found by them.
func (r *restoration) wantedRoutes() ([]savedRoute, error) {
	var wanted []savedRoute
	for _, saved := range r.snapshot.Routes {
		w, err := parseRoute(saved)
		if err != nil {
			return nil, failure("restore", "routes", err)
		}
		if r.options.SkipDefaultRoutes && w.isDefault() {
			continue
		}
		if w.exchange(r.index); !slices.Contains(w.links(), nowhere) {
			wanted = append(wanted, w)
		}
	}
	slices.SortStableFunc(wanted, func(a, b savedRoute) int { return cmp.Compare(a.depth(), b.depth()) })
	return wanted, nil
}

// owns reports whether a route is over links of the snapshot alone, and not over lo.
func (r *restoration) owns(is savedRoute) bool {
	over := is.links()
	return len(over) > 0 && !slices.ContainsFunc(over, func(index int) bool {
		for _, was := range r.snapshot.Links {
			if l, ok := r.link(was.Index); ok && l.Index == index {
				return false
			}
		}
		return true
	})
}

// broughtByAddr reports whether a route is the one to the subnet of an address of a link
// that was up, so that it had that route unless someone took it away.
func (r *restoration) broughtByAddr(is savedRoute) bool {
	if is.protocol() != unix.RTPROT_KERNEL || is.kind() != unix.RTN_UNICAST || is.table() != unix.RT_TABLE_MAIN {
		return false
	}
	for _, was := range r.snapshot.Links {
		l, ok := r.link(was.Index)
		if !ok || !was.Up || !slices.Contains(is.links(), l.Index) {
			continue
		}
		for _, a := range was.Addrs {
			if p, ok := a.subnet(); ok && !p.Addr().IsLinkLocalUnicast() && p == is.destination() {
				return true
			}
		}
	}
	return false
}

// subnet returns the subnet that an address is in.
func (a SavedAddr) subnet() (netip.Prefix, bool) {
	m, err := parseMessage(a, unix.SizeofIfAddrmsg)
	if err != nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(m.get(unix.IFA_ADDRESS))
	if !ok {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, int(m.header[1])).Masked(), true
}

func (r savedRoute) destination() netip.Prefix {
	addr, ok := netip.AddrFromSlice(r.get(unix.RTA_DST))
	if !ok {
		addr = unspecified(int(r.family()))
	}
	return netip.PrefixFrom(addr, int(r.header[1]))
}

func (r savedRoute) String() string {
	s := r.destination().String()
	if gw := r.get(unix.RTA_GATEWAY); gw != nil {
		s += " via " + net.IP(gw).String()
	}
	return fmt.Sprintf("%s table %d", s, r.table())
}

// normal returns the route in a form in which equal ones are equal.
func (r savedRoute) normal() string {
	n := message{r.header, slices.Clone(r.attributes)}
	slices.SortStableFunc(n.attributes, func(a, b attribute) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), bytes.Compare(a.value, b.value))
	})
	return string(n.Serialize())
}
