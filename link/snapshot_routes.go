package link

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// addRoutes adds the routes that are not there. First it deletes, of those that are there
// over the snapshot's links, what stands in the place of one of the snapshot's, and what an
// address brought with it though the snapshot had no such route.
func (r *restoration) addRoutes() error {
	wanted, err := r.wantedRoutes()
	errs := []error{err}
	there, err := r.dumpRoutes()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	have := make(map[string]bool)
	for _, is := range there {
		if r.displaced(is, wanted) {
			errs = append(errs, failure("delete route", is.String(), r.send(unix.RTM_DELROUTE, 0, is)))
		} else {
			have[is.normal()] = true
		}
	}
	wanted = slices.DeleteFunc(wanted, func(w savedRoute) bool { return have[w.normal()] })
	errs = append(errs, untilDone(wanted, func(w savedRoute) error {
		// One that is the same but for its next hop goes beside it, as it did.
		err := r.send(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, w)
		return failure("restore route", w.String(), unlessThere(err))
	}))
	return errors.Join(errs...)
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
	slices.SortStableFunc(wanted, func(a, b savedRoute) int {
		return cmp.Compare(boolInt(a.viaGateway()), boolInt(b.viaGateway()))
	})
	return wanted, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// displaced reports whether a route that is there must go.
func (r *restoration) displaced(is savedRoute, wanted []savedRoute) bool {
	if r.options.SkipDefaultRoutes && is.isDefault() || !r.owns(is) {
		return false
	}
	inPlace := r.broughtByAddr(is)
	for _, w := range wanted {
		if w.normal() == is.normal() {
			return false
		}
		inPlace = inPlace || w.key() == is.key()
	}
	return inPlace
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
