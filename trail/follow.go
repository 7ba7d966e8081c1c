package trail

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// A sight is the last place where the packet was seen.
type sight struct {
	family, at string // of an own chain of the trace
	event      nft.Event
	arrived    nft.Event     // where its destination was the final one
	next       link.Decision // of the route that it took
	port       int           // by which it left a bridge as a frame; 0: it did not
	sent       bool          // by a program of the host
}

// follow makes steps of events, and returns where the packet was seen last. What the kernel
// tells of answers, and of later packets of the same connection, is kept apart.
func (w *walk) follow(where Where, events []nft.Event) (s sight) {
	of := make(map[uint32]nft.Packet) // by ID
	seen := make(map[string]bool)
	var since []*Rule // the packet was seen last
	for _, e := range events {
		if e.Packet != nil {
			of[e.ID] = *e.Packet
		}
		p, known := of[e.ID]
		if known && p.Neighbour {
			w.asked = append(w.asked, e)
			continue
		}
		if known && w.isAnswer(p) {
			w.answers = append(w.answers, e)
			continue
		}
		if w.way.Dropped || !known || !w.isOwn(p) {
			continue
		}
		switch {
		case e.Own && e.Packet != nil:
			place := e.Family + e.Chain
			if seen[place] {
				return s // the next packet of the connection
			}
			seen[place] = true
			w.translated(where, *e.Packet, since)
			since = nil
			w.see(where, &s, e)
		case !e.Own:
			since = append(since, w.rule(where, e))
		}
	}
	return s
}

// isOwn tells the packet from others that somebody else has traced: one of its ends is as it
// was, as the packet is seen between the translation of the one and of the other.
func (w *walk) isOwn(p nft.Packet) bool {
	return p.Protocol == w.packet.Protocol && (p.From == w.packet.From || p.To == w.packet.To)
}

// isAnswer tells packets of the other direction.
func (w *walk) isAnswer(p nft.Packet) bool {
	if isEcho(p) {
		return p.From.Addr() == w.packet.To.Addr() || p.From.Addr() == w.q.To.Addr()
	}
	return p.From == w.packet.To || p.To == w.packet.From || p.From == w.q.To
}

// translated tells what has become of the headers since the packet was seen last, and by
// which of the rules that it met meanwhile.
func (w *walk) translated(where Where, now nft.Packet, since []*Rule) {
	was := w.packet
	w.packet = now
	tell := func(what string, from, to netip.AddrPort, words ...string) {
		by := lastWith(since, words)
		s := Step{Where: where, Kind: "translation", Text: fmt.Sprintf("%s %s becomes %s", what, w.endpoint(from), w.endpoint(to)), Seen: true, Rule: by}
		if by == nil {
			s.Text += ", by a rule that nftables does not know"
		}
		w.step(s)
	}
	if now.To != was.To {
		tell("destination", was.To, now.To, "dnat", "redirect")
	}
	if now.From != was.From && !was.From.Addr().IsUnspecified() {
		tell("source", was.From, now.From, "snat", "masquerade")
	}
}

// lastWith returns the last rule with one of the words, else the last that ends a chain.
func lastWith(rules []*Rule, words []string) (last *Rule) {
	for _, r := range slices.Backward(rules) {
		if r == nil || r.Verdict != nft.Accept {
			continue
		}
		if last == nil {
			last = r
		}
		for _, word := range words {
			if strings.Contains(strings.ToLower(r.Text), word) {
				return r
			}
		}
	}
	return last
}

// endpoint is an address with its port, if the protocol has ports.
func (w *walk) endpoint(a netip.AddrPort) string {
	if isEcho(w.packet) || a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// rule is the step of a rule that holds, or of a policy that drops.
func (w *walk) rule(where Where, e nft.Event) *Rule {
	own := e.Table == "seam" && where == OnHost
	if e.Handle == 0 && e.Verdict != nft.Drop || own && e.Verdict == nft.Continue { // of the other family
		return nil
	}
	r := &Rule{Family: e.Family, Table: e.Table, Chain: e.Chain, Handle: e.Handle, Verdict: e.Verdict}
	r.Text = w.ruleText(where, e)
	if own { // a container may have a table of that name
		r.Wanted = w.wanted(r, e)
	}
	if e.Family == "bridge" && where == OnHost {
		where = OnBridge
	}
	s := Step{Where: where, Kind: "rule", Rule: r, Seen: true, Text: r.String(), Dropped: e.Verdict == nft.Drop}
	if s.Dropped {
		s.Kind = "drop"
		w.frame = e.In != 0 && e.In == e.Out && e.Family != "bridge" && w.packet.To == w.q.To
		word := "dropped"
		if strings.Contains(r.Text, "reject") || strings.Contains(r.Text, "REJECT") {
			word = "rejected"
		}
		s.Text = fmt.Sprintf("%s by %s of %s", word, r, r.place())
	}
	w.step(s)
	return r
}

func (w *walk) ruleText(where Where, e nft.Event) string {
	if e.Handle == 0 {
		return ""
	}
	pod := w.q.End.NS
	if where == OnHost {
		pod = nil
		if w.host.Table != nil {
			text, err := w.host.Table.RuleText(e)
			w.note(err)
			if text != "" {
				return text
			}
		}
	}
	if w.host.Foreign == nil {
		return ""
	}
	return w.host.Foreign(e, pod)
}

// see is the step of a place where the packet was seen.
func (w *walk) see(where Where, s *sight, e nft.Event) {
	s.family, s.at, s.event = e.Family, e.Chain, e
	h := w.handle(where)
	name := func(index int) string {
		if l, err := h.ByIndex(index); err == nil {
			return l.Name
		}
		return fmt.Sprintf("link %d", index)
	}
	switch {
	case where == Container:
		if e.Chain == nft.SeenInput {
			w.reached = Container
		}
	case e.Family == "bridge" && e.Chain == nft.SeenFirst:
		w.seen(OnBridge, "port", "a frame comes in by port %s", name(e.In))
	case e.Family == "bridge" && e.Chain == nft.SeenForward:
		s.port = e.Out
		w.seen(OnBridge, "port", "forwarded as a frame, from port %s to port %s", name(e.In), name(e.Out))
	case e.Family == "bridge":
	case e.Chain == nft.SeenFirst:
		w.seen(OnHost, "link", "comes in by %s", name(e.In))
		w.in = e.In
	case e.Chain == nft.SeenArrived:
		s.arrived = e
	case e.Chain == nft.SeenForward && e.In == e.Out && w.packet.To == w.q.To:
		w.seen(OnBridge, "rule", "br_netfilter shows the frame to the host's rules of forwarding")
	case e.Chain == nft.SeenForward, e.Chain == nft.SeenInput:
		s.next = w.routed(s.arrived.In, s.arrived.Mark)
	case e.Chain == nft.SeenSent:
		s.sent = true
	case e.Chain == nft.SeenLeaving && s.sent:
		s.next = w.routed(0, e.Mark)
	}
}

// routed is the step of the route that the packet took on the host.
func (w *walk) routed(in int, mark uint32) link.Decision {
	l := w.lookup(in, mark)
	d, err := w.host.Links.Decide(l)
	if err != nil {
		w.note(err)
		return d
	}
	w.routeStep(OnHost, w.host.Links, l, d)
	return d
}
