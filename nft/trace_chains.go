package nft

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Chains of a trace, by what it means that the packet is seen there.
const (
	SeenFirst   = "prerouting" // it came in
	SeenArrived = "arrived"    // its destination is the final one; its route comes next
	SeenSent    = "output"     // a program of this namespace sends it
	SeenAimed   = "aimed"      // so, and its destination is the final one
	SeenInput   = "input"      // it is for a program of this namespace
	SeenForward = "forward"
	SeenLeaving = "postrouting" // its source is the final one, too
)

// Where these chains stand: before, or behind, all that others have.
const (
	traceFirst   = -1000
	traceLast    = 1000
	traceTracked = -199 // right behind connection tracking
)

// Hooks of the family bridge that the library lacks.
const bridgePostrouting = 4 // NF_BR_POST_ROUTING

// inetTrace is the table for what is routed. Answers that are translated are known by their
// connection, but only where connections are tracked already: a rule about them would have
// the kernel begin.
func inetTrace(which table, p Packet, tracked bool) layout {
	at := func(name string, number uint32, priority int32, rules ...rule) chain {
		return chain{table: which, name: name, rules: rules, hook: &hook{kind: "filter", number: number, priority: priority}}
	}
	marks := []rule{markTrace(inetMatch(p), p), markTrace(inetMatch(p), p.Answer())}
	l := layout{table: which, chains: []chain{
		at(SeenFirst, unix.NF_INET_PRE_ROUTING, traceFirst, marks...),
		at(SeenArrived, unix.NF_INET_PRE_ROUTING, traceLast),
		at(SeenSent, unix.NF_INET_LOCAL_OUT, traceFirst, marks...),
		at(SeenAimed, unix.NF_INET_LOCAL_OUT, traceLast),
		at(SeenInput, unix.NF_INET_LOCAL_IN, traceLast),
		at(SeenForward, unix.NF_INET_FORWARD, traceLast),
		at(SeenLeaving, unix.NF_INET_POST_ROUTING, traceLast),
	}}
	if tracked {
		l.chains = append(l.chains, at("answered", unix.NF_INET_PRE_ROUTING, traceTracked, markAnswer(p)),
			at("answers", unix.NF_INET_LOCAL_OUT, traceTracked, markAnswer(p)))
	}
	return l
}

// bridgeTrace is the table for frames, which pass a bridge without being routed or before.
func bridgeTrace(which table, p Packet) layout {
	at := func(name string, number uint32, priority int32, rules ...rule) chain {
		return chain{table: which, name: name, rules: rules, hook: &hook{kind: "filter", number: number, priority: priority}}
	}
	return layout{table: which, chains: []chain{
		at(SeenFirst, bridgePrerouting, traceFirst,
			append(markNeighbour(p), markTrace(bridgeMatch(p), p), markTrace(bridgeMatch(p), p.Answer()))...),
		at(SeenForward, bridgeForward, traceLast),
		at(SeenLeaving, bridgePostrouting, traceLast),
	}}
}

func inetMatch(p Packet) []expr.Any { return familyOf(p.From.Addr()).isFamily() }

// bridgeMatch is inetMatch for frames, by the number of Ethernet.
func bridgeMatch(p Packet) []expr.Any {
	kind := uint16(unix.ETH_P_IP)
	if p.From.Addr().Is6() {
		kind = unix.ETH_P_IPV6
	}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: reg1}, equal(binary.BigEndian.AppendUint16(nil, kind))}
}

// markTrace has packets of p's headers traced.
func markTrace(family []expr.Any, p Packet) rule {
	f := familyOf(p.From.Addr())
	from := binary.BigEndian.AppendUint16(nil, p.From.Port())
	ports := transport(0, binary.BigEndian.AppendUint16(from, p.To.Port()))
	if p.echo() {
		ports = transport(4, from)
	}
	return rule{exprs: slices.Concat(family,
		[]expr.Any{
			f.load(f.saddr, reg1), equal(p.From.Addr().AsSlice()), f.load(f.daddr, reg1), equal(p.To.Addr().AsSlice()),
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, equal([]byte{p.Protocol}),
		}, ports, setTrace())}
}

// markNeighbour has traced what asks on behalf of the packet for a neighbour, and the answers.
// What drops the one keeps the other from being sent.
func markNeighbour(p Packet) []rule {
	const solicitation, advertisement = 135, 136
	kind := func(ethernet uint16) []expr.Any {
		return []expr.Any{&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: reg1}, equal(binary.BigEndian.AppendUint16(nil, ethernet))}
	}
	from := p.From.Addr()
	if from.Is4() {
		const senderAt, targetAt = 14, 24 // in a packet of ARP about IPv4 over Ethernet
		return []rule{
			{exprs: slices.Concat(kind(unix.ETH_P_ARP), []expr.Any{ip4.load(senderAt, reg1), equal(from.AsSlice())}, setTrace())},
			{exprs: slices.Concat(kind(unix.ETH_P_ARP), []expr.Any{ip4.load(targetAt, reg1), equal(from.AsSlice())}, setTrace())},
		}
	}
	about := func(offset uint32, message byte) rule {
		return rule{exprs: slices.Concat(kind(unix.ETH_P_IPV6), []expr.Any{
			ip6.load(offset, reg1), equal(from.AsSlice()),
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, equal([]byte{unix.IPPROTO_ICMPV6}),
		}, transport(0, []byte{message}), setTrace())}
	}
	return []rule{about(ip6.saddr, solicitation), about(ip6.daddr, advertisement)}
}

func transport(offset uint32, want []byte) []expr.Any {
	return []expr.Any{&expr.Payload{
		OperationType: expr.PayloadLoad, DestRegister: reg1,
		Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: uint32(len(want)),
	}, equal(want)}
}

func setTrace() []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: reg1, Data: []byte{1}},
		&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: reg1},
	}
}

// markAnswer has the answers of p's connection traced, whatever was translated.
func markAnswer(p Packet) rule {
	was := func(key expr.CtKey, want []byte) []expr.Any {
		return []expr.Any{&expr.Ct{Key: key, Register: reg1}, equal(want)}
	}
	const original = 0 // IP_CT_DIR_ORIGINAL
	began := func(key expr.CtKey, want []byte) []expr.Any {
		return []expr.Any{&expr.Ct{Key: key, Register: reg1, Direction: original}, equal(want)}
	}
	return rule{exprs: slices.Concat(inetMatch(p),
		was(expr.CtKeyDIRECTION, []byte{1}), // IP_CT_DIR_REPLY
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, equal([]byte{p.Protocol})},
		began(expr.CtKeySRC, p.From.Addr().AsSlice()), began(expr.CtKeyDST, p.To.Addr().AsSlice()),
		began(expr.CtKeyPROTOSRC, binary.BigEndian.AppendUint16(nil, p.From.Port())), setTrace())}
}
