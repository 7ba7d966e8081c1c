package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// A witness sees what there is on a host and in a container.
type witness struct {
	host, pod *link.Handle
	table     *nft.Table
	fresh     link.Settings // of a namespace in which nothing was done
	folders   []string

	// stand are the links that an end of a veth stands in for, by their MACs.
	stand map[string]*Link
}

// A fact is one thing that there is: a Change that came from nothing.
type fact = Change

type factKey struct{ where, what, subject string }

func keyOf(f fact) factKey { return factKey{f.Where, f.What, f.Subject} }

// A sight is all that there is at one moment.
type sight struct {
	host, pod *link.Snapshot
	pairs     map[string]map[string]string // where, of links that are the ends of one veth
	facts     map[factKey]fact
}

const (
	onHost = "host"
	inPod  = "container"
)

func (w *witness) look() (*sight, error) {
	s := &sight{facts: make(map[factKey]fact)}
	var err, err2 error
	s.host, err = w.host.TakeSnapshotBeside(w.fresh)
	s.pod, err2 = w.pod.TakeSnapshotBeside(w.fresh)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	s.pairs = make(map[string]map[string]string)
	s.pairs[onHost], err = w.host.Pairs()
	s.pairs[inPod], err2 = w.pod.Pairs()
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	s.addLinks(onHost, s.host, s.pod, w.stand)
	s.addLinks(inPod, s.pod, s.host, w.stand)
	for _, of := range []struct {
		where  string
		has    *link.Snapshot
		handle *link.Handle
	}{{onHost, s.host, w.host}, {inPod, s.pod, w.pod}} {
		for _, i := range of.has.Items() {
			s.add(fact{Where: of.where, What: i.Kind, Subject: i.Subject, Value: i.Value})
		}
		err = errors.Join(err, s.addVLANs(of.where, of.handle, of.has), s.addShaping(of.where, of.handle, of.has))
	}
	return s, errors.Join(err, s.addFirewall(w.table), s.addFiles(w.folders))
}

func (s *sight) add(f fact) { s.facts[keyOf(f)] = f }

// addLinks adds the links of one namespace, of which the other end of a veth, or what they
// stand on, may be in the other one.
func (s *sight) addLinks(where string, here, there *link.Snapshot, stand map[string]*Link) {
	for _, l := range here.Links {
		is := &Link{Kind: l.Kind, MTU: l.MTU, MAC: l.MAC.String(), Up: l.Up, Alias: l.Alias}
		if master := find(here, l.Master); master != nil {
			is.Master = master.Name
		}
		if of := stand[is.MAC]; of != nil && l.Kind == "veth" {
			is.Kind, is.Peer, is.Parent = of.Kind, of.Peer, of.Parent
		} else {
			is.Peer, is.Parent = s.pairs[where][l.Name], parentOf(l, there, here)
		}
		if peer := find(there, l.Peer); is.Kind == "veth" && is.Peer == "" && peer != nil && peer.Peer == l.Index {
			is.Peer = peer.Name
		}
		s.add(fact{Where: where, What: "link", Subject: l.Name, Value: is.text() + flags(l), Link: is})
	}
	lo := here.Loopback
	s.add(fact{Where: where, What: "link", Subject: "lo", Value: state(lo.Up), Link: &Link{Kind: lo.Kind, MTU: lo.MTU, Up: lo.Up}})
}

// parentOf returns the name of what a link that is no veth stands on, in one of the namespaces.
func parentOf(l link.SavedLink, in ...*link.Snapshot) string {
	for _, s := range in {
		if parent := find(s, l.Parent); parent != nil && l.Kind != "veth" {
			return parent.Name
		}
	}
	return ""
}

func find(s *link.Snapshot, index int) *link.SavedLink {
	i := slices.IndexFunc(s.Links, func(l link.SavedLink) bool { return l.Index == index && index != 0 })
	if i < 0 {
		return nil
	}
	return &s.Links[i]
}

func state(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// text is the link but for its name and its alias.
func (l *Link) text() string {
	words := []string{l.Kind, state(l.Up), fmt.Sprintf("mtu %d", l.MTU)}
	switch {
	case l.Random:
		words = append(words, "mac "+anyMAC)
	case l.MAC != "":
		words = append(words, "mac "+l.MAC)
	}
	for _, w := range []struct{ word, name string }{{"port of", l.Master}, {"peer", l.Peer}, {"on", l.Parent}} {
		if w.name != "" {
			words = append(words, w.word+" "+w.name)
		}
	}
	return strings.Join(words, "  ")
}

func flags(l link.SavedLink) (text string) {
	hairpin, isolated := l.Port()
	for _, f := range []struct {
		set  bool
		word string
	}{{l.Promisc, "promisc"}, {l.Allmulti, "allmulti"}, {hairpin, "hairpin"}, {isolated, "isolated"}} {
		if f.set {
			text += "  " + f.word
		}
	}
	return text
}

func (s *sight) addVLANs(where string, h *link.Handle, has *link.Snapshot) error {
	for _, l := range has.Links {
		master := find(has, l.Master)
		if master == nil || master.Kind != "bridge" {
			continue
		}
		if filters, err := h.VLANFiltering(master.Name); err != nil || !filters {
			continue
		}
		vlans, err := h.PortVLANs(l.Link)
		if err != nil {
			return err
		}
		for _, v := range vlans {
			f := fact{Where: where, What: "vlan", Subject: fmt.Sprintf("%d dev %s", v.First, l.Name)}
			if v.Native {
				f.Value = "native"
			}
			s.add(f)
		}
	}
	return nil
}

// addShaping adds the rates at which links send, which their queueing's names do not say.
func (s *sight) addShaping(where string, h *link.Handle, has *link.Snapshot) error {
	for _, l := range has.Links {
		if len(l.Queueing) == 0 {
			continue
		}
		kind, rate, err := h.Shaping(l.Link)
		if err != nil {
			return err
		}
		if kind != "" {
			s.add(fact{Where: where, What: "queueing", Subject: "rate of " + kind + " dev " + l.Name, Value: fmt.Sprintf("%d bit/s", 8*rate)})
		}
	}
	return nil
}

func (s *sight) addFirewall(t *nft.Table) error {
	records, err := t.Records()
	for _, r := range records {
		for _, e := range r.Elements {
			s.add(fact{Where: onHost, What: "firewall", Subject: e.String(), Value: r.Plugin + " of " + string(r.Tag)})
		}
	}
	admitted, err2 := t.Admitted()
	for _, name := range admitted {
		s.add(fact{Where: onHost, What: "firewall", Subject: "iptables: accept what " + name + " forwards"})
	}
	return errors.Join(err, err2)
}

// passing are, below their folders, files that last no longer than a call, or stand for what is
// a fact already.
var passing = []string{"/journal/", "/networks/", "/nft/", "/.seam/", "/networks/.seam/", "/seam/"}

// addFiles adds the files of the folders.
func (s *sight) addFiles(folders []string) error {
	for _, dir := range folders {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return gone(err)
			}
			below := strings.TrimPrefix(path, dir)
			passes := func(p string) bool { return strings.HasPrefix(below, p) }
			if d.Name() != "lock" && !strings.HasPrefix(d.Name(), "last_reserved_ip") && !slices.ContainsFunc(passing, passes) {
				s.add(fact{Where: onHost, What: "file", Subject: path})
			}
			return nil
		})
		if err = gone(err); err != nil {
			return err
		}
	}
	return nil
}

// changes returns what differs in the later sight, the host's first, links before what is
// over them.
func (s *sight) changes(later *sight) []Change {
	var list []Change
	for k, now := range later.facts {
		switch was, there := s.facts[k]; {
		case !there && now.What == "sysctl": // it is there always, and was as the kernel has it
			now.Verb = "change"
			list = append(list, now)
		case !there:
			now.Verb = "add"
			list = append(list, now)
		case was.Value != now.Value:
			now.Verb, now.Was = "change", was.Value
			list = append(list, now)
		}
	}
	for k, was := range s.facts {
		if _, there := later.facts[k]; there {
			continue
		}
		if was.Verb = "remove"; was.What == "sysctl" {
			was.Verb, was.Was, was.Value = "change", was.Value, "the kernel's default"
		}
		list = append(list, was)
	}
	all := slices.Clone(list)
	list = slices.DeleteFunc(list, func(c Change) bool { return implied(all, c) || later.inherited(c) })
	slices.SortFunc(list, before)
	return list
}

// inherited reports whether a setting of a new link is the one that every new link gets, or
// went with its link.
func (s *sight) inherited(c Change) bool {
	part := strings.Split(c.Subject, "/") // net, ipv4, conf, LINK, SETTING
	if c.What != "sysctl" || len(part) != 5 || slices.Contains([]string{"all", "default"}, part[3]) {
		return false
	}
	_, there := s.facts[factKey{c.Where, "link", part[3]}]
	part[3] = "default"
	inherits, changed := s.facts[factKey{c.Where, c.What, strings.Join(part, "/")}]
	return !there || c.Was == "" && changed && inherits.Value == c.Value
}

// implied reports whether the kernel changes a setting of a link because another one is
// changed that is for all links.
func implied(list []Change, c Change) bool {
	part := strings.Split(c.Subject, "/") // net, ipv4, conf, LINK, SETTING
	if c.What != "sysctl" || len(part) != 5 || part[2] != "conf" || !slices.Contains([]string{"forwarding", "accept_redirects"}, part[4]) {
		return false
	}
	cause := "net/ipv4/ip_forward"
	if part[1] == "ipv6" {
		cause = "net/ipv6/conf/all/forwarding"
	}
	return c.Subject != cause && slices.ContainsFunc(list, func(o Change) bool { return o.Where == c.Where && o.Subject == cause })
}

var order = []string{onHost, inPod, "link", "vlan", "sysctl", "address", "route", "rule", "neighbour", "queueing", "firewall", "file", "remove", "change", "add"}

func before(a, b Change) int {
	for _, of := range []func(Change) string{
		func(c Change) string { return c.Where },
		func(c Change) string { return c.What },
		func(c Change) string { return c.Verb },
	} {
		if d := slices.Index(order, of(a)) - slices.Index(order, of(b)); d != 0 {
			return d
		}
	}
	return strings.Compare(a.Subject, b.Subject)
}

// then returns what both changes come to, one after the other.
func then(first, second []Change) []Change {
	list := slices.Clone(first)
	for _, c := range second {
		i := slices.IndexFunc(list, func(was Change) bool { return keyOf(was) == keyOf(c) })
		if i < 0 {
			list = append(list, c)
			continue
		}
		switch was := list[i]; {
		case was.Verb == "add" && c.Verb == "remove", was.Verb == "remove" && c.Verb == "add" && was.Value == c.Value:
			list = slices.Delete(list, i, i+1)
			continue
		case was.Verb == "add":
			c.Verb, c.Was = "add", ""
		case was.Verb == "remove" && c.Verb == "add":
			c.Verb, c.Was = "change", was.Value
		default:
			c.Was = was.Was
		}
		list[i] = c
	}
	slices.SortFunc(list, before)
	return list
}
