package trail

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/seamnet/seam/link"
)

// leaveContainer goes from the sender in the container to the host's end of its link.
func (w *walk) leaveContainer() error {
	l, err := w.pod.ByName(w.q.End.IfName)
	if err != nil {
		return err
	}
	if w.setFrom(w.q.From); !w.q.From.IsValid() && !w.packet.To.Addr().IsLoopback() {
		w.setFrom(ownAddress(w.q.End.Addresses, w.packet.To.Addr()))
	}
	d, err := w.pod.Decide(w.lookup(0, 0))
	if err != nil {
		w.linkStep(Container, l)
		w.noWay(Container, err)
		return w.needFrom()
	}
	if !w.packet.From.Addr().IsValid() {
		w.setFrom(d.Source)
	}
	out, err := w.pod.ByIndex(d.Out)
	if err != nil {
		return err
	}
	w.routeStep(Container, w.pod, w.lookup(0, 0), d)
	if d.Type == "local" {
		w.reached = Container
		if !out.Up {
			w.stop(Container, linkDown, "%s is down", out.Name)
			return w.needFrom()
		}
		w.found(Container, "delivery", "to itself: the packet does not leave the container")
		return w.needFrom()
	}
	w.linkStep(Container, out)
	if !out.Up {
		w.stop(Container, linkDown, "%s is down", out.Name)
		return w.needFrom()
	}
	w.neighbourStep(Container, w.pod, out, nextHop(d, w.packet.To.Addr()))
	w.crossOver(out)
	return w.needFrom()
}

// ownAddress is the container's of the family.
func ownAddress(all []netip.Addr, like netip.Addr) netip.Addr {
	for _, a := range all {
		if a.Is4() == like.Is4() && !a.IsLinkLocalUnicast() {
			return a
		}
	}
	return netip.Addr{}
}

// crossOver is how what leaves the container comes to the host, by the link's kind.
func (w *walk) crossOver(out link.Link) {
	switch {
	case out.Kind == "veth":
		peer, err := w.peer(out)
		if err != nil {
			w.note(fmt.Errorf("the other end of %s: %w", out.Name, err))
			return
		}
		w.in = peer.Index
		w.linkStep(OnHost, peer)
		if !peer.Up {
			w.stop(OnHost, linkDown, "%s is down", peer.Name)
		}
	case out.Parent != 0:
		parent, err := w.host.Links.ByIndex(out.Parent)
		if err != nil {
			w.note(err)
			return
		}
		w.linkStep(OnHost, parent)
		w.found(OnHost, "link", "%s stands on %s: what it sends goes out there, past the host's own routes and most of its rules", out.Name, parent.Name)
		if !parent.Up {
			w.stop(OnHost, linkDown, "%s is down", parent.Name)
		}
	case out.Kind == "device":
		w.found(Container, "link", "%s is a device of its own: what it sends leaves past the host", out.Name)
	}
}

// peer is the end on the host of a veth in the container.
func (w *walk) peer(inside link.Link) (link.Link, error) {
	l, err := w.host.Links.ByIndex(inside.Peer)
	if err == nil && (l.Kind != "veth" || l.Peer != inside.Index) {
		err = fmt.Errorf("it is not in the host's namespace")
	}
	return l, err
}

func (w *walk) linkStep(where Where, l link.Link) {
	words := []string{l.Name, l.Kind}
	h := w.handle(where)
	if l.Master != 0 {
		if where != Container {
			l = w.withFlags(l)
		}
		if m, err := h.ByIndex(l.Master); err == nil {
			words = append(words, "port of "+m.Name)
		}
		for _, f := range []struct {
			set  bool
			word string
		}{{l.Hairpin, "hairpin"}, {l.Isolated, "isolated"}} {
			if f.set {
				words = append(words, f.word)
			}
		}
	}
	if l.MTU > 0 {
		words = append(words, fmt.Sprintf("mtu %d", l.MTU))
		w.mtus = append(w.mtus, hop{where, l.Name, l.MTU})
	}
	if owner := w.ownerOf(l); owner != "" && where != Container {
		words = append(words, "of "+owner)
	}
	w.found(where, "link", "%s", strings.Join(words, ", "))
}

func (w *walk) handle(where Where) *link.Handle {
	if where == Container {
		return w.pod
	}
	return w.host.Links
}

// ownerOf is the attachment that a link of the host was made for, "" if it has none.
func (w *walk) ownerOf(l link.Link) string {
	tag, ok := strings.CutPrefix(l.Alias, "seam:")
	if !ok {
		return ""
	}
	return tag
}

func nextHop(d link.Decision, to netip.Addr) netip.Addr {
	if d.GW.IsValid() {
		return d.GW
	}
	return to
}

func (w *walk) neighbourStep(where Where, h *link.Handle, over link.Link, hop netip.Addr) {
	n, err := h.Neighbour(over, hop)
	switch {
	case link.Missing(err):
	case err != nil:
		w.note(err)
	case n.MAC == nil:
		w.found(where, "neighbour", "%s on %s: %s, it does not answer", hop, over.Name, n.State)
	default:
		w.found(where, "neighbour", "%s is at %s on %s, %s", hop, n.MAC, over.Name, n.State)
	}
}

// routeStep tells the route that a decision took, and the rule that led to its table.
func (w *walk) routeStep(where Where, h *link.Handle, l link.Lookup, d link.Decision) {
	out := ""
	if d.Out != 0 {
		over, err := h.ByIndex(d.Out)
		w.note(err)
		out = over.Name
	}
	text := routeText(d, out)
	rule, err := h.RuleOf(l, d)
	w.note(err)
	if rule != "" {
		text += fmt.Sprintf(" by rule %q", rule)
	}
	w.found(where, "route", "%s", text)
}

// Tables that are not named in what is printed: every packet asks them.
const (
	mainTable  = 254
	localTable = 255
)

// routeText is a route as ip-route(8) writes it.
func routeText(d link.Decision, out string) string {
	var words []string
	if d.Type != "unicast" {
		words = append(words, d.Type)
	}
	if d.Dst.IsValid() {
		words = append(words, destination(d.Dst))
	}
	if d.GW.IsValid() {
		words = append(words, "via", d.GW.String())
	}
	if out != "" {
		words = append(words, "dev", out)
	}
	if d.Table != 0 && d.Table != mainTable && d.Table != localTable {
		words = append(words, fmt.Sprintf("table %d", d.Table))
	}
	if d.MTU > 0 {
		words = append(words, fmt.Sprintf("mtu %d", d.MTU))
	}
	return strings.Join(words, " ")
}

func destination(p netip.Prefix) string {
	switch {
	case p.Bits() == 0:
		return "default"
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}
