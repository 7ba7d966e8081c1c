package nft

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A layout is the part of a table that is the same on every host.
type layout struct {
	table  table
	sets   []set
	chains []chain
}

// Of the headers, but not of the library.
const (
	bridgePrerouting = 0 // NF_BR_PRE_ROUTING
	bridgeForward    = 2 // NF_BR_FORWARD
)

// Priorities by nft's words.
const (
	priorityDstnat       = -100
	priorityFilter       = 0
	prioritySrcnat       = 100
	priorityBridgeDstnat = -300
	priorityBridgeFilter = -200
)

func inetLayout() layout {
	l := layout{table: inetSeam}
	for _, f := range families {
		l.sets = append(l.sets, f.masqSet(), f.hairpinSet(), f.hostIPSet(), f.hostPortSet(),
			limits(f.hostIPSet()), limits(f.hostPortSet()))
	}
	l.sets = append(l.sets, walledSet(), togetherSet())
	l.chains = []chain{hostipsChain(), hostportsChain(), preroutingChain(), outputChain(), postroutingChain(), inputChain(), forwardChain()}
	return l
}

func bridgeLayout() layout {
	return layout{bridgeSeam, []set{guardedSet(), allowedSet(), isolatedSet()}, []chain{guardChain(), isolationChain()}}
}

// hostportsChain translates what is addressed to a port of the host; a mapping of
// one host address goes before one of all. A connection to ::1 is left alone: IPv6
// has no route_localnet that would let it leave the host.
//
// What leads to a chain of conditions goes there and comes back to this chain's caller:
// the rule below, which asks for none, is not for it.
func hostportsChain() chain {
	loopback := netip.IPv6Loopback()
	rules := []rule{
		newRule("ip6 daddr ::1 return", ip6.is(ip6.daddr, loopback), verdict(expr.VerdictReturn, "")),
		newRule("jump hostips", verdict(expr.VerdictJump, "hostips")),
	}
	for _, f := range families {
		limited := limits(f.hostPortSet())
		rules = append(rules, newRule("meta nfproto ipv"+f.suffix+" meta l4proto . th dport vmap @"+limited.name,
			f.isFamily(), loadProtoPort(reg1, afterProto), vmap(limited)))
	}
	for _, f := range families {
		rules = append(rules, f.dnatByPort())
	}
	return chain{table: inetSeam, name: "hostports", rules: rules, jumps: 2}
}

// hostipsChain does so by the address and the port. What conditions turn away here may
// still be a mapping of all addresses.
func hostipsChain() chain {
	var rules []rule
	for _, f := range families {
		limited := limits(f.hostIPSet())
		rules = append(rules, newRule(f.word+" daddr . meta l4proto . th dport vmap @"+limited.name,
			f.loadAddrProtoPort(), vmap(limited)))
	}
	for _, f := range families {
		rules = append(rules, f.dnatByIP())
	}
	return chain{table: inetSeam, name: "hostips", rules: rules, jumps: 1}
}

func (f family) dnatByPort() rule {
	return newRule("dnat "+f.word+" to meta l4proto . th dport map @"+f.hostPortSet().name,
		loadProtoPort(reg1, afterProto), f.dnatMap(f.hostPortSet()))
}

func (f family) dnatByIP() rule {
	return newRule("dnat "+f.word+" to "+f.word+" daddr . meta l4proto . th dport map @"+f.hostIPSet().name,
		f.loadAddrProtoPort(), f.dnatMap(f.hostIPSet()))
}

func (f family) loadAddrProtoPort() []expr.Any {
	proto := uint32(afterIPv4)
	if f.length == 16 {
		proto = afterIPv6
	}
	return slices.Concat(f.isFamily(), []expr.Any{f.load(f.daddr, reg1)}, loadProtoPort(proto, proto+1))
}

func toHostports() []rule {
	return []rule{newRule("fib daddr type local jump hostports", daddrLocal(), verdict(expr.VerdictJump, "hostports"))}
}

func preroutingChain() chain {
	return chain{
		table: inetSeam, name: "prerouting", rules: toHostports(),
		hook: &hook{"nat", unix.NF_INET_PRE_ROUTING, priorityDstnat, "type nat hook prerouting priority dstnat; policy accept;"},
	}
}

// outputChain is prerouting's twin for connections that the host itself opens.
func outputChain() chain {
	return chain{
		table: inetSeam, name: "output", rules: toHostports(),
		hook: &hook{"nat", unix.NF_INET_LOCAL_OUT, priorityDstnat, "type nat hook output priority -100; policy accept;"},
	}
}

// postroutingChain masquerades. Hairpin goes first: a pod's except list names its
// own subnet, which is where a hairpin comes from.
func postroutingChain() chain {
	var rules []rule
	for _, f := range families {
		rules = append(rules, newRule("ct status dnat "+f.word+" daddr vmap @"+f.hairpinSet().name,
			bits(expr.CtKeySTATUS, ctStatusDNAT, true), append(f.isFamily(), f.load(f.daddr, reg1)), vmap(f.hairpinSet())))
	}
	for _, f := range families {
		rules = append(rules, newRule(f.word+" saddr vmap @"+f.masqSet().name,
			append(f.isFamily(), f.load(f.saddr, reg1)), vmap(f.masqSet())))
	}
	return chain{
		table: inetSeam, name: "postrouting", rules: rules,
		hook: &hook{"nat", unix.NF_INET_POST_ROUTING, prioritySrcnat, "type nat hook postrouting priority srcnat; policy accept;"},
	}
}

// inputChain closes what route_localnet opens: it lets 127.0.0.0/8 in from a pod's
// interface, where only answers to translated connections are wanted.
func inputChain() chain {
	answers := expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED
	return chain{
		table: inetSeam, name: "input",
		rules: []rule{newRule(`iifname != "lo" ip daddr 127.0.0.0/8 ct state ! established,related ct status ! dnat drop`,
			[]expr.Any{loadIifname(), notEqual(ifname("lo"))},
			ip4.within(ip4.daddr, netip.MustParsePrefix("127.0.0.0/8")),
			bits(expr.CtKeySTATE, answers, false),
			bits(expr.CtKeySTATUS, ctStatusDNAT, false),
			verdict(expr.VerdictDrop, ""))},
		hook: &hook{"filter", unix.NF_INET_LOCAL_IN, priorityFilter, "type filter hook input priority filter; policy accept;"},
	}
}

// guardChain drops frames that come from a guarded port with a MAC address that is
// not the port's.
func guardChain() chain {
	return chain{
		table: bridgeSeam, name: "prerouting",
		rules: []rule{newRule("iifname @guarded iifname . ether saddr != @allowed drop",
			[]expr.Any{loadIifname()}, lookup(guardedSet()),
			[]expr.Any{loadIifname(), &expr.Payload{
				OperationType: expr.PayloadLoad, DestRegister: afterIfname,
				Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6,
			}}, notIn(allowedSet()),
			verdict(expr.VerdictDrop, ""))},
		hook: &hook{"filter", bridgePrerouting, priorityBridgeDstnat, "type filter hook prerouting priority dstnat; policy accept;"},
	}
}
