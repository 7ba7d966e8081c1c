package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An Item is one thing that a snapshot has beside its links, in the words of ip(8), so that two
// snapshots can be compared by their items.
type Item struct {
	Kind    string // address, route, rule, neighbour, sysctl, queueing
	Subject string // what it is, and what no other item of the snapshot is
	Value   string // what of it may change; may be empty
}

// Items returns what the snapshot has beside its links.
func (s *Snapshot) Items() []Item {
	var items []Item
	for _, l := range s.all() {
		for _, a := range l.Addrs {
			items = append(items, Item{Kind: "address", Subject: a.String() + " dev " + l.Name})
		}
		for path, value := range l.Settings {
			items = append(items, Item{"sysctl", "net/" + strings.Replace(path, "/*/", "/"+l.Name+"/", 1), value})
		}
		for _, q := range l.Queueing {
			items = append(items, Item{Kind: "queueing", Subject: q.String() + " dev " + l.Name})
		}
	}
	for path, value := range s.Settings {
		items = append(items, Item{"sysctl", "net/" + path, value})
	}
	for _, r := range s.routes() {
		items = append(items, Item{Kind: "route", Subject: r.text(s)})
	}
	for _, saved := range s.Rules {
		items = append(items, Item{Kind: "rule", Subject: saved.rule()})
	}
	for _, saved := range s.Neighbours {
		items = append(items, Item{Kind: "neighbour", Subject: saved.neighbour(s)})
	}
	return items
}

func (s *Snapshot) routes() []savedRoute {
	var routes []savedRoute
	for _, saved := range s.Routes {
		if r, err := parseRoute(saved); err == nil { // the kernel's own words
			routes = append(routes, r)
		}
	}
	return routes
}

// A Destination is where a route leads.
type Destination struct {
	Prefix netip.Prefix
	Links  []string // that the route is over
}

// Destinations returns where the routes of all tables lead, but for default routes, which
// lead everywhere, and those to nowhere.
func (s *Snapshot) Destinations() []Destination {
	var all []Destination
	for _, r := range s.routes() {
		d := Destination{Prefix: r.destination()}
		for _, index := range r.links() {
			d.Links = append(d.Links, s.nameOf(index))
		}
		if d.Prefix.Bits() > 0 && len(d.Links) > 0 && !d.Prefix.Addr().IsMulticast() && !d.Prefix.Addr().IsLinkLocalUnicast() {
			all = append(all, d)
		}
	}
	return all
}

func (s *Snapshot) nameOf(index int) string {
	if l := s.byIndex(index); l != nil {
		return l.Name
	}
	return fmt.Sprintf("link %d", index)
}

// text is the route as "ip route" has it.
func (r savedRoute) text(s *Snapshot) string {
	words := []string{r.destination().String()}
	if r.destination().Bits() == 0 {
		words[0] = "default"
		if r.family() == unix.AF_INET6 {
			words[0] += " (IPv6)"
		}
	}
	if gw, ok := netip.AddrFromSlice(r.get(unix.RTA_GATEWAY)); ok {
		words = append(words, "via "+gw.String())
	}
	for _, index := range r.links() {
		words = append(words, "dev "+s.nameOf(index))
	}
	if src, ok := netip.AddrFromSlice(r.get(unix.RTA_PREFSRC)); ok {
		words = append(words, "src "+src.String())
	}
	if table := r.table(); table != unix.RT_TABLE_MAIN {
		words = append(words, fmt.Sprintf("table %d", table))
	}
	if metric, ok := r.uint32(unix.RTA_PRIORITY); ok {
		words = append(words, fmt.Sprintf("metric %d", metric))
	}
	return strings.Join(append(words, r.metrics()...), " ")
}

func (r savedRoute) metrics() (words []string) {
	metrics, err := parseAttributes(r.get(unix.RTA_METRICS))
	if err != nil {
		return nil
	}
	for _, m := range []struct {
		kind int
		word string
	}{{unix.RTAX_MTU, "mtu"}, {unix.RTAX_ADVMSS, "advmss"}} {
		if v, ok := metrics.uint32(m.kind); ok {
			words = append(words, fmt.Sprintf("%s %d", m.word, v))
		}
	}
	return words
}

// String is the address as "ip addr" has it.
func (a SavedAddr) String() string {
	m, err := parseMessage(a, unix.SizeofIfAddrmsg)
	if err != nil {
		return err.Error()
	}
	local := m.get(unix.IFA_LOCAL)
	if local == nil {
		local = m.get(unix.IFA_ADDRESS)
	}
	addr, _ := netip.AddrFromSlice(local)
	text := netip.PrefixFrom(addr, int(m.header[1])).String()
	if peer := m.get(unix.IFA_ADDRESS); !bytes.Equal(peer, local) {
		text += " peer " + net.IP(peer).String()
	}
	return text
}

func (q SavedQueueing) String() string {
	m, err := parseMessage(q.Message, nl.SizeofTcMsg)
	if err != nil {
		return err.Error()
	}
	what := map[uint16]string{unix.RTM_NEWQDISC: "qdisc", unix.RTM_NEWTCLASS: "class", unix.RTM_NEWTFILTER: "filter"}[q.Type]
	return fmt.Sprintf("%s %s %s parent %s", what, m.text(nl.TCA_KIND), handleText(m.number(8)), handleText(m.number(12)))
}

// handleText writes a handle as tc(8) does.
func handleText(n uint32) string {
	switch n {
	case netlink.HANDLE_ROOT:
		return "root"
	case netlink.HANDLE_INGRESS:
		return "ingress"
	}
	return fmt.Sprintf("%x:%x", n>>16, n&0xffff)
}

// rule is the rule as "ip rule" has it.
func (m SavedMessage) rule() string {
	r, err := parseMessage(m, sizeofRuleHeader)
	if err != nil {
		return err.Error()
	}
	priority, _ := r.uint32(nl.FRA_PRIORITY)
	words := []string{fmt.Sprintf("%d:", priority)}
	for _, end := range []struct {
		kind, bits int
		word       string
	}{{nl.FRA_SRC, 2, "from"}, {nl.FRA_DST, 1, "to"}} {
		if addr, ok := netip.AddrFromSlice(r.get(end.kind)); ok {
			words = append(words, end.word+" "+netip.PrefixFrom(addr, int(r.header[end.bits])).String())
		}
	}
	for _, name := range []struct {
		kind int
		word string
	}{{nl.FRA_IIFNAME, "iif"}, {nl.FRA_OIFNAME, "oif"}} {
		if v := r.text(name.kind); v != "" {
			words = append(words, name.word+" "+v)
		}
	}
	if mark, ok := r.uint32(nl.FRA_FWMARK); ok && mark != 0 {
		words = append(words, fmt.Sprintf("fwmark %#x", mark))
	}
	table, ok := r.uint32(nl.FRA_TABLE)
	if !ok {
		table = uint32(r.header[4])
	}
	return strings.Join(append(words, fmt.Sprintf("lookup %d", table)), " ")
}

func (m SavedMessage) neighbour(s *Snapshot) string {
	n, err := parseMessage(m, unix.SizeofNdMsg)
	if err != nil {
		return err.Error()
	}
	text := net.IP(n.get(unix.NDA_DST)).String() + " dev " + s.nameOf(int(int32(binary.NativeEndian.Uint32(n.header[4:]))))
	if mac := n.get(unix.NDA_LLADDR); len(mac) > 0 {
		text += " lladdr " + net.HardwareAddr(mac).String()
	}
	return text
}

// Port returns the hairpin and isolated flags of a bridge port, as Handle.Port does.
func (l SavedLink) Port() (hairpin, isolated bool) {
	options, err := l.options(ofPort)
	if err != nil {
		return false, false
	}
	set := func(kind int) bool { v := options.get(kind); return len(v) == 1 && v[0] != 0 }
	return set(nl.IFLA_BRPORT_MODE), set(nl.IFLA_BRPORT_ISOLATED)
}

// Others returns the snapshot without the links that leave says, and without what is over
// them alone.
func (s *Snapshot) Others(leave func(Link) bool) *Snapshot {
	copied := *s
	copied.Links = slices.DeleteFunc(slices.Clone(s.Links), func(l SavedLink) bool { return leave(l.Link) })
	copied.Routes = slices.DeleteFunc(slices.Clone(s.Routes), func(saved SavedMessage) bool {
		r, err := parseRoute(saved)
		return err == nil && slices.ContainsFunc(r.links(), func(index int) bool { return copied.byIndex(index) == nil })
	})
	copied.Neighbours = slices.DeleteFunc(slices.Clone(s.Neighbours), func(saved SavedMessage) bool {
		m, err := parseMessage(saved, unix.SizeofNdMsg)
		return err == nil && m.number(4) != 0 && copied.byIndex(int(m.number(4))) == nil
	})
	return &copied
}
