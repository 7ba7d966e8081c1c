package trail

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// A walk is an answer in the making.
type walk struct {
	host Host
	q    Question
	pod  *link.Handle
	way  *Way

	packet  nft.Packet // as its headers are by now
	records []nft.Record
	mtus    []hop // of the links on the way
	answers []nft.Event
	asked   []nft.Event // for the neighbour to send the packet to
	fault   fault       // what drops it, as far as hints go by it
	reached Where       // where it was delivered, if it was
	in      int         // index of the host's link by which it came
	frame   bool        // it is dropped as a frame that br_netfilter shows to the host's rules
}

// A hop is a link on the way.
type hop struct {
	where Where
	name  string
	mtu   int
}

// A fault is why a packet does not get on, where no rule is to blame.
type fault string

const (
	noRoute      fault = "no route"
	noForwarding fault = "forwarding is off"
	reversePath  fault = "reverse path filter"
	linkDown     fault = "link is down"
	noNeighbour  fault = "no neighbour"
	isolatedPort fault = "isolated ports"
	noHairpin    fault = "no hairpin"
	walls        fault = "walls of firewall"
	lost         fault = "lost"
)

// Explain answers the question. An error says that it could not be asked; what becomes of
// the packet is none.
func Explain(ctx context.Context, h Host, q Question) (*Way, error) {
	if q.Wait <= 0 {
		q.Wait = time.Second
	}
	pod, err := link.In(q.End.NS)
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", q.End.Tag, err)
	}
	defer pod.Close()
	w := &walk{host: h, q: q, pod: pod, way: &Way{
		Protocol: protocolName(q.Protocol), Origin: q.Origin, Steps: []Step{}, Outcome: NotSent,
	}}
	if h.Table != nil {
		w.records, err = h.Table.Records()
		w.note(err)
	}
	if err := w.begin(); err != nil {
		return nil, fmt.Errorf("trace %s: %w", q.End.Tag, err)
	}
	w.way.Packet = w.packetText()
	if q.Probe && w.fault == "" {
		w.watch(ctx)
	}
	if !w.way.Probed {
		w.foresee()
	}
	w.finish()
	return w.way, ctx.Err()
}

// packetText is who sends to whom.
func (w *walk) packetText() string {
	return w.endpoint(w.packet.From) + " → " + w.endpoint(w.packet.To)
}

func (w *walk) note(err error) {
	if err != nil {
		w.way.Notes = append(w.way.Notes, err.Error())
	}
}

func (w *walk) step(s Step) {
	w.way.Steps = append(w.way.Steps, s)
	w.way.Dropped = w.way.Dropped || s.Dropped
}

func (w *walk) found(where Where, kind, format string, args ...any) {
	w.step(Step{Where: where, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

func (w *walk) seen(where Where, kind, format string, args ...any) {
	w.step(Step{Where: where, Kind: kind, Text: fmt.Sprintf(format, args...), Seen: true})
}

// stop is the step at which the packet does not get on.
func (w *walk) stop(where Where, why fault, format string, args ...any) {
	w.step(Step{Where: where, Kind: "drop", Text: fmt.Sprintf(format, args...), Dropped: true})
	if w.fault == "" {
		w.fault = why
	}
}

// begin finds the packet's addresses, and goes as far as the host.
func (w *walk) begin() error {
	w.packet = nft.Packet{Protocol: w.q.Protocol, To: w.q.To}
	if w.q.Protocol == 0 {
		w.packet.Protocol = unix.IPPROTO_ICMP
		if w.q.To.Addr().Is6() {
			w.packet.Protocol = unix.IPPROTO_ICMPV6
		}
	}
	if w.q.Origin == FromOutside && w.isLocal(w.q.From) {
		w.q.Origin, w.way.Origin = FromHost, FromHost
	}
	switch w.q.Origin {
	case FromContainer:
		return w.leaveContainer()
	case FromHost:
		return w.leaveHost()
	}
	return w.arriveFromOutside()
}

func (w *walk) leaveHost() error {
	w.setFrom(w.q.From)
	d, err := w.host.Links.Decide(w.lookup(0, 0))
	if err != nil {
		w.noWay(OnHost, err)
		return w.needFrom()
	}
	if !w.q.From.IsValid() {
		w.setFrom(d.Source)
	}
	return w.needFrom()
}

func (w *walk) arriveFromOutside() error {
	w.setFrom(w.q.From)
	if err := w.needFrom(); err != nil {
		return err
	}
	d, err := w.host.Links.Decide(link.Lookup{To: w.q.From})
	if err != nil {
		w.noWay(OnHost, err)
		return nil
	}
	l, err := w.host.Links.ByIndex(d.Out)
	if err != nil {
		return err
	}
	w.in = l.Index
	w.found(Outside, "link", "arrives at the host by %s, the way back to %s: %s", l.Name, w.q.From, routeText(d, l.Name))
	return nil
}

func (w *walk) setFrom(a netip.Addr) { w.packet.From = netip.AddrPortFrom(a, 0) }

// needFrom refuses what has no source: neither a route nor a link tells one.
func (w *walk) needFrom() error {
	from := w.packet.From.Addr()
	switch {
	case !from.IsValid() && w.fault != "":
		w.setFrom(unspecified(w.q.To.Addr())) // it will not be sent
	case !from.IsValid():
		return fmt.Errorf("no address to send from to %s", w.q.To.Addr())
	case from.Is4() != w.q.To.Addr().Is4():
		return fmt.Errorf("%s and %s are addresses of two families", from, w.q.To.Addr())
	}
	return nil
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// lookup is the question of routing about the packet as it is now.
func (w *walk) lookup(in int, mark uint32) link.Lookup {
	l := link.Lookup{To: w.packet.To.Addr(), From: w.packet.From.Addr(), In: in, Mark: mark}
	if !isEcho(w.packet) {
		l.Protocol, l.FromPort, l.ToPort = w.packet.Protocol, w.packet.From.Port(), w.packet.To.Port()
	}
	return l
}

// noWay says why routing drops the packet.
func (w *walk) noWay(where Where, err error) {
	why, text := noRoute, "no route to "+w.packet.To.Addr().String()
	switch {
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL) && where == OnHost && w.isStrange():
		why, text = reversePath, fmt.Sprintf("the reverse path filter: answers to %s would not leave by the link that it came by", w.packet.From.Addr())
	case errors.Is(err, unix.EACCES):
		text = fmt.Sprintf("a route of type prohibit to %s", w.packet.To.Addr())
	case errors.Is(err, unix.EINVAL):
		text = fmt.Sprintf("a blackhole route to %s, or an address that cannot be routed", w.packet.To.Addr())
	case errors.Is(err, unix.EHOSTUNREACH):
		text = fmt.Sprintf("a route of type unreachable to %s", w.packet.To.Addr())
		if where == OnHost && w.in != 0 && !w.forwards() {
			why, text = noForwarding, "the host does not forward"
		}
	}
	w.stop(where, why, "%s", text)
}
