package trail

import (
	"net/netip"
	"slices"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// judge says what became of the packet behind the place where it was seen last on the host.
func (w *walk) judge(s sight) {
	switch {
	case w.way.Dropped:
	case s.at == "":
		w.neverSeen()
	case s.port != 0:
		w.leaveBridged(s.port)
	case s.family == "bridge" && s.at == nft.SeenFirst:
		w.lostInBridge(s.event)
	case s.family == "bridge":
		w.leaveBridged(s.event.Out)
	case s.at == nft.SeenFirst, s.at == nft.SeenArrived:
		w.lostInRouting(s)
	case s.at == nft.SeenInput:
		w.reached = OnHost
		w.seen(OnHost, "delivery", "the host itself is the destination")
	case s.at == nft.SeenForward:
		w.stop(OnHost, lost, "lost behind forwarding: no rule of nftables drops it")
	case s.at == nft.SeenSent, s.at == nft.SeenAimed:
		w.stop(OnHost, lost, "lost behind output: no rule of nftables drops it")
	default:
		w.leave(s.event.Out, nextHop(s.next, w.packet.To.Addr()))
	}
}

// neverSeen is for a packet that no chain of the host saw.
func (w *walk) neverSeen() {
	if w.way.Outcome == Connected || w.way.Outcome == Answered || w.way.Outcome == Refused {
		return // it went past the host
	}
	if w.q.Origin != FromContainer {
		w.stop(OnHost, lost, "it was not sent: %s", orElse(w.way.Detail, "nothing of it was seen"))
		return
	}
	d, err := w.pod.Decide(w.lookup(0, 0))
	if err != nil {
		w.noWay(Container, err)
		return
	}
	out, err := w.pod.ByIndex(d.Out)
	if err != nil {
		w.note(err)
		return
	}
	hop := nextHop(d, w.packet.To.Addr())
	n, err := w.pod.Neighbour(out, hop)
	unknown := link.Missing(err) || err == nil && n.MAC == nil
	switch {
	case unknown && w.dropped(w.asked, "asks for "+hop.String()):
	case unknown && !d.GW.IsValid() && w.inIsolated():
	case unknown:
		w.way.Steps = slices.DeleteFunc(w.way.Steps, func(s Step) bool { return s.Where != Container })
		w.stop(Container, noNeighbour, "%s does not answer on %s", hop, out.Name)
	case w.in != 0:
		w.stop(OnHost, lost, "it was sent to %s, and not seen on the host", n.MAC)
	}
}

// dropped reports whether one of the events drops what the text tells of.
func (w *walk) dropped(events []nft.Event, what string) bool {
	for _, e := range events {
		if !e.Own && e.Verdict == nft.Drop {
			w.seen(OnHost, "neighbour", "%s", what)
			w.rule(OnHost, e)
			return true
		}
	}
	return false
}

// inIsolated reports whether the container's port of a bridge is isolated.
func (w *walk) inIsolated() bool {
	l, err := w.host.Links.ByIndex(w.in)
	if w.in == 0 || err != nil {
		return false
	}
	if l = w.withFlags(l); l.Isolated {
		w.stop(OnBridge, isolatedPort, "port %s is isolated: it exchanges frames with no other isolated port", l.Name)
	}
	return l.Isolated || w.isolated(l)
}

// lostInBridge is for a frame that came in by a port and left by none.
func (w *walk) lostInBridge(e nft.Event) {
	from, err := w.host.Links.ByIndex(e.In)
	if err != nil {
		w.note(err)
		return
	}
	bridge, err := w.host.Links.ByIndex(from.Master)
	if err != nil {
		w.note(err)
		return
	}
	to, ok := w.port(bridge, w.packet.To.Addr())
	from = w.withFlags(from)
	switch {
	case ok && to.Index == from.Index && !from.Hairpin:
		w.stop(OnBridge, noHairpin, "port %s is not in hairpin mode: a frame does not leave by the port that it came by", from.Name)
	case ok && to.Isolated && from.Isolated:
		w.stop(OnBridge, isolatedPort, "ports %s and %s are both isolated", from.Name, to.Name)
	default:
		w.stop(OnBridge, lost, "lost in %s: no rule of nftables drops it", bridge.Name)
	}
}

// port is that of a bridge behind which an address of its network is.
func (w *walk) port(bridge link.Link, addr netip.Addr) (link.Link, bool) {
	var mac []byte
	if n, err := w.host.Links.Neighbour(bridge, addr); err == nil {
		mac = n.MAC
	}
	if mac == nil {
		if inside, err := w.pod.ByName(w.q.End.IfName); err == nil {
			if n, err := w.pod.Neighbour(inside, addr); err == nil {
				mac = n.MAC
			}
		}
	}
	if mac == nil {
		return link.Link{}, false
	}
	index, err := w.host.Links.PortTo(bridge, mac)
	if err != nil {
		return link.Link{}, false
	}
	l, err := w.host.Links.ByIndex(index)
	return w.withFlags(l), err == nil
}

// withFlags adds to a link what it is as a port of a bridge.
func (w *walk) withFlags(l link.Link) link.Link {
	if l.Master == 0 {
		return l
	}
	if hairpin, isolated, err := w.host.Links.Port(l); err == nil { // else a port of something else
		l.Hairpin, l.Isolated = hairpin, isolated
	}
	return l
}

// leaveBridged is for a frame that left by a port.
func (w *walk) leaveBridged(port int) {
	l, err := w.host.Links.ByIndex(port)
	if err != nil {
		w.note(err)
		return
	}
	w.end(l)
}

// lostInRouting is for a packet whose destination was final, and which was then neither
// forwarded nor delivered.
func (w *walk) lostInRouting(s sight) {
	l := w.lookup(s.event.In, s.event.Mark)
	d, err := w.host.Links.Decide(l)
	if err != nil {
		w.noWay(OnHost, err)
		return
	}
	w.routeStep(OnHost, w.host.Links, l, d)
	switch {
	case d.Type != "local" && !w.forwards():
		w.stop(OnHost, noForwarding, "the host does not forward")
	case w.isStrange():
		w.stop(OnHost, reversePath, "the reverse path filter, probably: it is on for the link by which the packet came")
	default:
		w.stop(OnHost, lost, "lost behind prerouting: no rule of nftables drops it")
	}
}

// leave goes from the host's last rule to where the packet is then.
func (w *walk) leave(index int, hop netip.Addr) {
	l, err := w.host.Links.ByIndex(index)
	if err != nil {
		w.note(err)
		return
	}
	if l.Name == "lo" {
		w.reached = OnHost
		w.found(OnHost, "delivery", "the host itself is the destination")
		return
	}
	if l.Kind != "bridge" {
		w.neighbourStep(OnHost, w.host.Links, l, hop)
		w.end(l)
		return
	}
	w.linkStep(OnHost, l)
	w.neighbourStep(OnHost, w.host.Links, l, hop)
	if n, err := w.host.Links.Neighbour(l, hop); (link.Missing(err) || err == nil && n.MAC == nil) && w.way.Probed && !w.well() {
		w.stop(OnBridge, noNeighbour, "%s does not answer on %s", hop, l.Name)
		return
	}
	if port, ok := w.port(l, hop); ok {
		w.end(port)
	}
}

// well reports whether somebody answered the probe.
func (w *walk) well() bool {
	return w.way.Outcome == Connected || w.way.Outcome == Answered || w.way.Outcome == Refused
}

// end is the last link of the host's: to a container, or out.
func (w *walk) end(l link.Link) {
	w.linkStep(OnHost, l)
	switch owner := w.ownerOf(l); {
	case !l.Up:
		w.stop(OnHost, linkDown, "%s is down", l.Name)
	case w.isEnd(l):
		w.reached = Container
		w.found(Container, "delivery", "comes in by %s", w.q.End.IfName)
	case owner != "":
		w.reached = Container
		w.found(Container, "delivery", "comes in at %s", owner)
	case l.Kind == "veth" && l.Master != 0:
		w.found(Outside, "delivery", "leaves by %s", l.Name)
	default:
		w.reached = Outside
		w.found(Outside, "delivery", "leaves the host by %s", l.Name)
	}
}

// isEnd reports whether the host's link leads to the container that is asked about.
func (w *walk) isEnd(l link.Link) bool { return w.ownerOf(l) == string(w.q.End.Tag) }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
