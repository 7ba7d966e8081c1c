package trail

import (
	"net/netip"
	"slices"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// foresee goes on from the host's first link by lookups alone: what Seam's own tables would
// do, by their records, and routing. Rules of others are not asked.
func (w *walk) foresee() {
	if w.way.Dropped || w.reached != "" || w.in == 0 && w.q.Origin != FromHost {
		return
	}
	in := w.in
	if in != 0 {
		l, err := w.host.Links.ByIndex(in)
		if err != nil {
			w.note(err)
			return
		}
		if l.Master != 0 {
			if w.foreseeBridge(l) {
				return
			}
			in = l.Master
		}
	}
	w.foreseeRouting(in)
}

// foreseeBridge reports whether the frame stays on the bridge that the port belongs to.
func (w *walk) foreseeBridge(from link.Link) bool {
	bridge, err := w.host.Links.ByIndex(from.Master)
	if err != nil {
		w.note(err)
		return true
	}
	if d, err := w.pod.Decide(w.lookup(0, 0)); err != nil || d.GW.IsValid() || w.isLocal(w.packet.To.Addr()) {
		return false
	}
	to, ok := w.port(bridge, w.packet.To.Addr())
	from = w.withFlags(from)
	switch {
	case w.isolated(from) || ok && w.isolated(to):
		return true
	case !ok:
		w.found(OnBridge, "port", "the port to %s is not known: it is flooded by all", w.packet.To.Addr())
		return true
	case to.Index == bridge.Index:
		return false
	case to.Isolated && from.Isolated:
		w.stop(OnBridge, isolatedPort, "ports %s and %s are both isolated", from.Name, to.Name)
		return true
	}
	w.end(to)
	return true
}

// isolated reports whether frames from or to the port are dropped by an element of Seam's:
// those that ask for a neighbour, too, so that no packet is ever sent.
func (w *walk) isolated(port link.Link) bool {
	rec, ok := w.element(func(e nft.Element) bool {
		i, ok := e.(nft.Isolation)
		return ok && i.Link == port.Name
	})
	if ok {
		w.stop(OnBridge, isolatedPort, "frames from and to port %s are dropped by bridge seam/forward: %s wants it", port.Name, owner(rec))
	}
	return ok
}

func (w *walk) isLocal(a netip.Addr) bool {
	d, err := w.host.Links.Decide(link.Lookup{To: a})
	return err == nil && d.Type == "local"
}

// element returns the first record that holds such an element.
func (w *walk) element(is func(nft.Element) bool) (nft.Record, bool) {
	for _, r := range w.records {
		if slices.ContainsFunc(r.Elements, is) {
			return r, true
		}
	}
	return nft.Record{}, false
}

func (w *walk) foreseeRouting(in int) {
	if w.isLocal(w.packet.To.Addr()) {
		w.foreseePort()
	}
	l := w.lookup(in, 0)
	if in == 0 && w.q.Origin == FromHost {
		l.From = w.q.From // the choice is routing's
	}
	d, err := w.host.Links.Decide(l)
	if err != nil {
		w.in = in
		w.noWay(OnHost, err)
		return
	}
	w.routeStep(OnHost, w.host.Links, l, d)
	switch {
	case d.Type == "local":
		w.reached = OnHost
		w.found(OnHost, "delivery", "the host itself is the destination")
		return
	case in != 0 && !w.forwards():
		w.stop(OnHost, noForwarding, "the host does not forward")
		return
	case in != 0 && w.walled(in, d.Out):
		return
	}
	w.foreseeSource()
	w.leave(d.Out, nextHop(d, w.packet.To.Addr()))
}

// foreseePort translates the destination as a published port asks.
func (w *walk) foreseePort() {
	var to netip.AddrPort
	rec, ok := w.element(func(e nft.Element) bool {
		f, ok := e.(nft.Forward)
		if ok = ok && w.forwardsTo(f); ok {
			to = f.To
		}
		return ok
	})
	if ok {
		w.found(OnHost, "translation", "destination %s becomes %s: a port published by %s", w.packet.To, to, owner(rec))
		w.packet.To = to
	}
}

// walled reports whether walls of Seam's keep the links apart.
func (w *walk) walled(in, out int) bool {
	wall := func(index int) (found nft.Wall, rec nft.Record, ok bool) {
		name := w.linkName(index)
		rec, ok = w.element(func(e nft.Element) bool {
			is, ok := e.(nft.Wall)
			if ok = ok && is.Link == name; ok {
				found = is
			}
			return ok
		})
		return found, rec, ok
	}
	a, rec, ok := wall(in)
	_, _, both := wall(out)
	if !ok || !both || in == out && !a.Shut {
		return false
	}
	w.stop(OnHost, walls, "dropped by %s, which %s wants", a, owner(rec))
	return true
}

// foreseeSource tells that the source would be masqueraded.
func (w *walk) foreseeSource() {
	rec, ok := w.element(func(e nft.Element) bool {
		m, ok := e.(nft.Masquerade)
		to := w.packet.To.Addr()
		return ok && m.Source == w.packet.From.Addr() && !to.IsMulticast() &&
			!slices.ContainsFunc(m.Except, func(p netip.Prefix) bool { return p.Contains(to) })
	})
	if ok {
		w.found(OnHost, "translation", "source %s becomes the address of the link by which it leaves: %s", w.packet.From.Addr(), owner(rec))
	}
}
