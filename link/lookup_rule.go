package link

import (
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RuleOf returns, as ip-rule(8) writes it, the rule by which the decision on a packet came
// to its table, "" where that is one of the three that every namespace has. The kernel
// does not tell; it is the first rule to that table that holds for the packet.
func (h *Handle) RuleOf(l Lookup, d Decision) (string, error) {
	family := netlink.FAMILY_V6
	if l.To.Is4() {
		family = netlink.FAMILY_V4
	}
	rules, err := retry(func() ([]netlink.Rule, error) { return h.nl.RuleList(family) })
	if err != nil {
		return "", failure("list", "rules", err)
	}
	in := ""
	if l.In != 0 {
		if from, err := h.ByIndex(l.In); err == nil {
			in = from.Name
		}
	}
	for _, r := range rules {
		if r.Table != d.Table || !l.meets(r, in) {
			continue
		}
		if byItself(r) {
			return "", nil
		}
		return ruleText(r), nil
	}
	return "", nil
}

func byItself(r netlink.Rule) bool {
	all := r.Src == nil && r.Dst == nil && r.IifName == "" && r.OifName == "" && r.Mark == 0
	return all && (r.Table == unix.RT_TABLE_LOCAL || r.Table == unix.RT_TABLE_MAIN || r.Table == unix.RT_TABLE_DEFAULT)
}

// meets reports whether the rule holds for the packet that came by the link of that name.
func (l Lookup) meets(r netlink.Rule, in string) bool {
	mask := ^uint32(0)
	if r.Mask != nil {
		mask = *r.Mask
	}
	port := func(of uint16, want *netlink.RulePortRange) bool {
		return want == nil || want.Start <= of && of <= want.End
	}
	holds := (r.Src == nil || l.From.IsValid() && prefixOf(r.Src).Contains(l.From)) &&
		(r.Dst == nil || prefixOf(r.Dst).Contains(l.To)) &&
		(r.IifName == "" || r.IifName == in) && r.OifName == "" &&
		(r.Mark == 0 && r.Mask == nil || l.Mark&mask == r.Mark) &&
		(r.IPProto == 0 || r.IPProto == int(l.Protocol)) && port(l.FromPort, r.Sport) && port(l.ToPort, r.Dport)
	return holds != r.Invert
}

func ruleText(r netlink.Rule) string {
	words := []string{fmt.Sprintf("%d:", max(r.Priority, 0))}
	if r.Invert {
		words = append(words, "not")
	}
	from := "all"
	if r.Src != nil {
		from = prefixOf(r.Src).String()
	}
	words = append(words, "from", from)
	if r.Dst != nil {
		words = append(words, "to", prefixOf(r.Dst).String())
	}
	if r.Mark != 0 || r.Mask != nil {
		words = append(words, fmt.Sprintf("fwmark %#x", r.Mark))
	}
	if r.IifName != "" {
		words = append(words, "iif", r.IifName)
	}
	return strings.Join(append(words, fmt.Sprintf("lookup %d", r.Table)), " ")
}
