package nft

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// An Event is one thing that a traced packet met: a rule that holds for it, or the end of a
// chain. The kernel says nothing of rules that do not hold.
type Event struct {
	ID      uint32  // of the packet's passage through one hook; a later one may have another
	Family  string  // the table's: inet, ip, ip6, bridge, …
	Table   string  // empty for an Own event
	Chain   string  // for an Own event: one of the constants Seen…
	Own     bool    // the trace's own chain: the packet was seen
	Handle  uint64  // the rule's; 0: the end of the chain
	Verdict Verdict // the rule's, or of a base chain's end its policy
	Target  string  // the chain that the verdict leads to
	In, Out int     // indices of the links by which it came and will leave; 0: none yet
	Mark    uint32  // the packet's
	Packet  *Packet // its headers then, at the first event of each base chain
}

// A Verdict is what a rule does with a packet, in nft's words.
type Verdict string

// The verdicts. After Continue the next rule is asked.
const (
	Accept   Verdict = "accept"
	Drop     Verdict = "drop"
	Continue Verdict = "continue"
	Jump     Verdict = "jump"
	Goto     Verdict = "goto"
	Return   Verdict = "return"
	Queue    Verdict = "queue"
	Stolen   Verdict = "stolen"
)

var errLost = errors.New("trace: events were lost: something else has more traced than can be read")

func verdictOf(code int32) Verdict {
	switch code {
	case 0:
		return Drop
	case 1:
		return Accept
	case 2:
		return Stolen
	case unix.NFT_JUMP:
		return Jump
	case unix.NFT_GOTO:
		return Goto
	case unix.NFT_RETURN:
		return Return
	case unix.NFT_CONTINUE:
		return Continue
	}
	return Queue
}

// Events returns what happened since the last call, in order. The kernel tells it while
// the packet passes, so that nothing is to be waited for but the packet. Where others trace
// more than can be kept, some are lost, and the error says so.
func (t *Trace) Events() ([]Event, error) {
	answers, err := t.listen.receive()
	if errors.Is(err, unix.ENOBUFS) { // told once, before what is kept
		answers, err = t.listen.receive()
		err = errors.Join(err, errLost)
	}
	var events []Event
	for _, a := range answers {
		if a.msg.Header.Type != netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_TRACE) {
			continue
		}
		e, ok := parseEvent(a.msg)
		if own := e.Table == t.tables[0].name; ok && own {
			e.Own, e.Table = true, ""
		} else if strings.HasPrefix(e.Table, tracePrefix) {
			continue // another trace's
		}
		if ok {
			events = append(events, e)
		}
	}
	return events, err
}

// traceHeaders are the packet's headers, as far as the kernel tells them.
type traceHeaders struct{ network, transport []byte }

func parseEvent(m netlink.Message) (e Event, ok bool) {
	var h traceHeaders
	var kind, policy uint32
	err := attributes(m, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_TRACE_TYPE:
			kind = ad.Uint32()
		case unix.NFTA_TRACE_POLICY:
			policy = ad.Uint32()
		case unix.NFTA_TRACE_NETWORK_HEADER:
			h.network = ad.Bytes()
		case unix.NFTA_TRACE_TRANSPORT_HEADER:
			h.transport = ad.Bytes()
		default:
			e.read(ad)
		}
	})
	if err != nil {
		return Event{}, false
	}
	e.Family = strings.TrimSuffix(table{family: m.Data[0]}.String(), " ")
	if kind == unix.NFT_TRACETYPE_POLICY {
		e.Verdict = verdictOf(int32(policy))
	}
	if p, whole := h.parse(); whole {
		e.Packet = &p
	}
	return e, true
}

// read takes one attribute into the event.
func (e *Event) read(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case unix.NFTA_TRACE_ID:
		e.ID = ad.Uint32()
	case unix.NFTA_TRACE_TABLE:
		e.Table = ad.String()
	case unix.NFTA_TRACE_CHAIN:
		e.Chain = ad.String()
	case unix.NFTA_TRACE_RULE_HANDLE:
		e.Handle = ad.Uint64()
	case unix.NFTA_TRACE_VERDICT:
		e.Verdict, e.Target = parseVerdict(ad)
	case unix.NFTA_TRACE_IIF:
		e.In = int(ad.Uint32())
	case unix.NFTA_TRACE_OIF:
		e.Out = int(ad.Uint32())
	case unix.NFTA_TRACE_MARK:
		e.Mark = ad.Uint32()
	}
}

func parseVerdict(ad *netlink.AttributeDecoder) (v Verdict, chain string) {
	ad.Nested(each(func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_VERDICT_CODE:
			v = verdictOf(ad.Int32())
		case unix.NFTA_VERDICT_CHAIN:
			chain = ad.String()
		}
	}))
	return v, chain
}

func (h traceHeaders) parse() (p Packet, ok bool) {
	if len(h.network) == 0 {
		return p, false
	}
	var from, to netip.Addr
	switch version := h.network[0] >> 4; {
	case version == 4 && len(h.network) >= 20:
		p.Protocol = h.network[9]
		from, to = netip.AddrFrom4([4]byte(h.network[12:16])), netip.AddrFrom4([4]byte(h.network[16:20]))
	case version == 6 && len(h.network) >= 40:
		p.Protocol = h.network[6]
		from, to = netip.AddrFrom16([16]byte(h.network[8:24])), netip.AddrFrom16([16]byte(h.network[24:40]))
	default:
		return h.parseARP()
	}
	if p.Protocol == unix.IPPROTO_ICMPV6 && len(h.transport) > 0 && (h.transport[0] == 135 || h.transport[0] == 136) {
		return Packet{From: netip.AddrPortFrom(from, 0), To: netip.AddrPortFrom(to, 0), Neighbour: true}, true
	}
	var fromPort, toPort uint16
	switch {
	case p.echo() && len(h.transport) >= 6:
		fromPort = binary.BigEndian.Uint16(h.transport[4:])
		toPort = fromPort
	case !p.echo() && len(h.transport) >= 4:
		fromPort, toPort = binary.BigEndian.Uint16(h.transport), binary.BigEndian.Uint16(h.transport[2:])
	}
	if p.Protocol == unix.IPPROTO_TCP && len(h.transport) >= 14 {
		p.Flags = h.transport[13]
	}
	p.From, p.To = netip.AddrPortFrom(from, fromPort), netip.AddrPortFrom(to, toPort)
	return p, true
}

// parseARP reads a packet of ARP about IPv4 over Ethernet.
func (h traceHeaders) parseARP() (p Packet, ok bool) {
	b := h.network
	if len(b) < 28 || binary.BigEndian.Uint32(b) != 1<<16|unix.ETH_P_IP {
		return p, false
	}
	from, to := netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	return Packet{From: netip.AddrPortFrom(from, 0), To: netip.AddrPortFrom(to, 0), Neighbour: true}, true
}
