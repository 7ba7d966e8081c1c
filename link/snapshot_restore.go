package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// RestoreOptions say how a snapshot is restored.
type RestoreOptions struct {
	// Names are those that links have now, by the names that they had. A link that is not
	// in it is known by its kind and its MAC; among several, by what else is as it was.
	Names map[string]string

	// SkipDefaultRoutes leaves the main table's default routes to someone else.
	SkipDefaultRoutes bool
}

// Restore makes in the handle's namespace what the snapshot has and is not there. Its links
// must have been moved there, by whatever names and indexes; kinds that cannot be moved
// are made. What those links have is made equal where the snapshot says otherwise: an
// address that was added with less, a route to the same destination. What others have is
// left alone.
//
// What is refused does not keep it from restoring the rest; all errors are returned. A link
// that is not there matches fs.ErrNotExist.
func (h *Handle) Restore(s *Snapshot, o RestoreOptions) error {
	r := restoration{Handle: h, snapshot: s, options: o}
	var errs []error
	for _, step := range []func() error{r.findLinks, r.setLinks, r.writeSettings, r.setUp, r.addAddrs, r.addRoutes, r.addRules, r.addNeighbours, r.addQueueing} {
		errs = append(errs, step())
	}
	return errors.Join(errs...)
}

// A restoration is a snapshot on its way back.
type restoration struct {
	*Handle
	snapshot *Snapshot
	options  RestoreOptions
	now      map[int]SavedLink // the links as they are, by the indexes that they had
}

// link returns the link that had that index.
func (r *restoration) link(was int) (SavedLink, bool) {
	l, ok := r.now[was]
	return l, ok
}

// index exchanges an index; of a link that is not there it makes one that nothing has.
func (r *restoration) index(was uint32) uint32 {
	if l, ok := r.link(int(was)); ok {
		return uint32(l.Index)
	}
	return nowhere
}

const nowhere = 1<<31 - 1

func (r *restoration) findLinks() error {
	there, err := r.describeLinks()
	if err != nil {
		return err
	}
	r.now = r.snapshot.find(there, r.options.Names)
	var errs []error
	for _, l := range r.snapshot.Links {
		if _, ok := r.link(l.Index); ok {
			continue
		}
		if !immovable(l) {
			errs = append(errs, fmt.Errorf("restore link %s: %w", l.Name, notThere))
			continue
		}
		if err := r.remake(l); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// find returns which of the links that are there are the snapshot's, by the indexes that
// those had. Links whose names were told come first, then those of which most is as it was.
func (s *Snapshot) find(there []SavedLink, names map[string]string) map[int]SavedLink {
	found := make(map[int]SavedLink)
	take := func(was SavedLink, i int) {
		found[was.Index] = there[i]
		there = slices.Delete(there, i, i+1)
	}
	if i := slices.IndexFunc(there, func(l SavedLink) bool { return l.Name == loopback }); i >= 0 {
		take(s.Loopback, i)
	}
	for _, was := range s.Links {
		if name := names[was.Name]; name != "" {
			i := slices.IndexFunc(there, func(l SavedLink) bool { return l.Name == name })
			if i >= 0 {
				take(was, i)
			}
		}
	}
	for likeness := mostAlike; likeness >= 0; likeness-- {
		for _, was := range s.Links {
			if _, ok := found[was.Index]; ok || names[was.Name] != "" {
				continue
			}
			if i := slices.IndexFunc(there, func(l SavedLink) bool { return alike(was, l) == likeness }); i >= 0 {
				take(was, i)
			}
		}
	}
	return found
}

const mostAlike = 7

// alike returns how much of a link is as it was, -1 if it is another one.
func alike(was, is SavedLink) (points int) {
	if was.Kind != is.Kind || was.MAC.String() != is.MAC.String() {
		return -1
	}
	if was.Name == is.Name {
		points += 4
	}
	if was.Alias != "" && was.Alias == is.Alias {
		points += 2
	}
	if len(was.MAC) == 0 && points == 0 {
		return -1
	}
	if was.Index == is.Index {
		points++
	}
	return points
}

// setLinks gives the links what a move takes from them and what their new owner may not
// have given them.
func (r *restoration) setLinks() error {
	var errs []error
	for _, was := range r.snapshot.Links {
		if is, ok := r.link(was.Index); ok {
			errs = append(errs, r.setLink(was, is))
		}
	}
	return errors.Join(errs...)
}

func (r *restoration) setLink(was, is SavedLink) error {
	var t Tuning
	if was.MTU != is.MTU {
		t.MTU = was.MTU
	}
	if was.TxQLen != is.TxQLen {
		t.TxQLen = &was.TxQLen
	}
	if was.Promisc != is.Promisc {
		t.Promisc = &was.Promisc
	}
	if was.Allmulti != is.Allmulti {
		t.Allmulti = &was.Allmulti
	}
	errs := []error{r.Tune(is.Link, t)}
	if was.Alias != "" && is.Alias == "" {
		errs = append(errs, r.Set(is.Link, Change{Alias: was.Alias}))
	}
	for _, name := range was.AltNames {
		if !slices.Contains(is.AltNames, name) && name != is.Name {
			errs = append(errs, r.AddAltName(is.Link, name))
		}
	}
	if master, ok := r.link(was.Master); ok && was.Master != 0 && is.Master != master.Index {
		errs = append(errs, r.enslave(was, is, master))
	}
	return errors.Join(errs...)
}

// setUp sets up what was up: what stands on another link after that.
func (r *restoration) setUp() error {
	var down []SavedLink
	for _, was := range r.snapshot.all() {
		if is, ok := r.link(was.Index); ok && was.Up && !is.Up {
			down = append(down, is)
		}
	}
	return untilDone(down, func(l SavedLink) error { return r.Set(l.Link, Change{Up: true}) })
}

// writeSettings writes the settings, those of no link first. An engine may have taken IPv6
// from its sandbox's links: those that had it get it back.
func (r *restoration) writeSettings() error {
	settings := make(Settings)
	for _, was := range r.snapshot.Links {
		is, ok := r.link(was.Index)
		if !ok {
			continue
		}
		for path, value := range was.Settings {
			settings[strings.Replace(path, "/*/", "/"+is.Name+"/", 1)] = value
		}
		if r.hasIPv6(was) {
			settings["ipv6/conf/"+is.Name+"/disable_ipv6"] = "0"
		}
	}
	return r.ns.Do(func() error {
		return errors.Join(writeSettings(r.snapshot.Settings), writeSettings(settings))
	})
}

// hasIPv6 reports whether someone gave the link an IPv6 address or a route.
func (r *restoration) hasIPv6(l SavedLink) bool {
	for _, saved := range r.snapshot.Routes {
		route, err := parseRoute(saved)
		if err == nil && route.family() == unix.AF_INET6 && slices.Contains(route.links(), l.Index) {
			return true
		}
	}
	return slices.ContainsFunc(l.Addrs, func(a SavedAddr) bool { return len(a) > 0 && a[0] == unix.AF_INET6 })
}

// addAddrs adds the addresses, or what they lack.
func (r *restoration) addAddrs() error {
	var errs []error
	for _, was := range r.snapshot.all() {
		if is, ok := r.link(was.Index); ok {
			for _, a := range was.inOrder() {
				errs = append(errs, failure("restore address of", is.Name, r.addAddr(a, was.Name, is)))
			}
		}
	}
	return errors.Join(errs...)
}

// inOrder returns the addresses as they are to be added: the kernel tells IPv6's in the
// reverse.
func (l SavedLink) inOrder() []SavedAddr {
	var v4, v6 []SavedAddr
	for _, a := range l.Addrs {
		if len(a) > 0 && a[0] == unix.AF_INET6 {
			v6 = append(v6, a)
		} else {
			v4 = append(v4, a)
		}
	}
	slices.Reverse(v6)
	return append(v4, v6...)
}

// addAddr adds an address. Whether another host has one of IPv6 was asked for where it was
// first added.
func (r *restoration) addAddr(a SavedAddr, was string, is SavedLink) error {
	m, err := parseMessage(a, unix.SizeofIfAddrmsg)
	if err != nil {
		return err
	}
	m.setNumber(4, uint32(is.Index))
	flags, _ := m.uint32(unix.IFA_FLAGS)
	if m.header[0] == unix.AF_INET6 && flags&unix.IFA_F_DADFAILED == 0 {
		m.set(unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, flags|unix.IFA_F_NODAD))
	}
	if label := m.text(unix.IFA_LABEL); label != "" {
		m.set(unix.IFA_LABEL, nl.ZeroTerminated(is.Name+strings.TrimPrefix(label, was)))
	}
	return r.send(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, m)
}

func (r *restoration) addRules() error {
	return untilDone(r.snapshot.Rules, func(saved SavedMessage) error {
		m, err := parseMessage(saved, sizeofRuleHeader)
		if err != nil {
			return failure("restore", "rule", err)
		}
		const asMade = 1 | 2 // FIB_RULE_PERMANENT, FIB_RULE_INVERT
		m.setNumber(8, m.number(8)&asMade)
		for _, kind := range []int{nl.FRA_IIFNAME, nl.FRA_OIFNAME} {
			if l := r.snapshot.byName(m.text(kind)); l != nil {
				if is, ok := r.link(l.Index); ok {
					m.set(kind, nl.ZeroTerminated(is.Name))
				}
			}
		}
		err = r.send(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, m)
		return failure("restore", "rule", unlessThere(err))
	})
}

func (r *restoration) addNeighbours() error {
	var errs []error
	for _, saved := range r.snapshot.Neighbours {
		m, err := parseMessage(saved, unix.SizeofNdMsg)
		if err == nil {
			m.attributes = m.without(unix.NDA_CACHEINFO, unix.NDA_PROBES)
			is, ok := r.link(int(m.number(4)))
			if !ok && m.number(4) != 0 {
				continue
			}
			m.setNumber(4, uint32(is.Index))
			err = r.send(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, m)
		}
		errs = append(errs, failure("restore", "neighbour "+net.IP(m.get(unix.NDA_DST)).String(), err))
	}
	return errors.Join(errs...)
}

func (r *restoration) addQueueing() error {
	var errs []error
	for _, was := range r.snapshot.all() {
		is, ok := r.link(was.Index)
		if !ok {
			continue
		}
		errs = append(errs, untilDone(was.Queueing, func(saved SavedQueueing) error {
			q, err := parseQueueing(saved.Message)
			if err == nil && saved.Type == unix.RTM_NEWTFILTER {
				q, err = q.renewed(r.index)
			}
			if err == nil {
				if saved.Type == unix.RTM_NEWTCLASS {
					q.setNumber(16, 0) // the discipline in it, which is made after it
				}
				q.setNumber(4, uint32(is.Index))
				err = r.send(int(saved.Type), unix.NLM_F_CREATE|unix.NLM_F_EXCL, q)
			}
			if errors.Is(err, unix.ENOSPC) { // u32's word for a handle that is taken
				err = nil
			}
			return failure("restore", q.kind()+" of "+is.Name, unlessThere(err))
		}))
	}
	return errors.Join(errs...)
}

// unlessThere returns the error unless it says that what was to be made is there.
func unlessThere(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
