package nft

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A table names an nftables table.
type table struct {
	family byte // NFPROTO_*
	name   string
}

func (t table) String() string {
	words := map[byte]string{
		unix.NFPROTO_INET: "inet", unix.NFPROTO_BRIDGE: "bridge",
		unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6",
	}
	return words[t.family] + " " + t.name
}

var (
	inetSeam   = table{unix.NFPROTO_INET, "seam"}
	bridgeSeam = table{unix.NFPROTO_BRIDGE, "seam"}
)

// A chain is one of ours with all its rules.
type chain struct {
	table table
	name  string
	hook  *hook // nil: reached from other chains only
	rules []rule
	jumps int // from static rules to it
}

// A hook is where the kernel enters a base chain.
type hook struct {
	kind     string
	number   uint32
	priority int32
	text     string
}

// uses is what the kernel counts for a static chain that is whole: its rules and
// the jumps to it.
func (c chain) uses() int { return len(c.rules) + c.jumps }

// masqueradeChain masquerades whatever does not go to the excepted prefixes or to
// a multicast group.
func masqueradeChain(f family, except []netip.Prefix) chain {
	var rules []rule
	for _, p := range f.only(append(slices.Clone(except), f.multicast)) {
		rules = append(rules, newRule(f.match("daddr", p)+" return",
			f.within(f.daddr, p), verdict(expr.VerdictReturn, "")))
	}
	rules = append(rules, newRule("masquerade", masquerade()))
	return chain{table: inetSeam, name: "masq-" + digest(rules), rules: rules}
}

// hairpinChain masquerades what comes from one of the sources.
func hairpinChain(f family, sources []netip.Prefix) chain {
	var rules []rule
	for _, p := range f.only(sources) {
		rules = append(rules, newRule(f.match("saddr", p)+" masquerade",
			f.within(f.saddr, p), masquerade()))
	}
	return chain{table: inetSeam, name: "hairpin-" + digest(rules), rules: rules}
}

// match writes as nft does that an address lies within p.
func (f family) match(field string, p netip.Prefix) string {
	if p.Bits() == 0 {
		return "meta nfproto ipv" + f.suffix
	}
	return f.word + " " + field + " " + prefixText(p)
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func sortedSet(prefixes []netip.Prefix) []netip.Prefix {
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(prefixes)
}

// isContent tells a chain named by a hash of its rules from a static one.
func isContent(name string) bool {
	return strings.HasPrefix(name, "masq-") || strings.HasPrefix(name, "hairpin-") || strings.HasPrefix(name, "when-")
}
