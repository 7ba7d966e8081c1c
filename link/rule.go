package link

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Rule lets what is sent from an address look for its route in a table first.
type Rule struct {
	Source   netip.Prefix
	Table    int
	Priority int // reported: rules are asked in ascending order
}

func (r Rule) String() string {
	if r.Table == 0 {
		return fmt.Sprintf("from %s", r.Source)
	}
	return fmt.Sprintf("from %s lookup %d", r.Source, r.Table)
}

// AddRule adds a rule, which is asked before all others but the kernel's first; the
// same one already there matches fs.ErrExist.
func (h *Handle) AddRule(r Rule) error {
	return failure("add rule", r.String(), h.nl.RuleAdd(r.toNetlink()))
}

// DeleteRule deletes the first rule with that source and that table; Table 0 stands for
// any. That there is none matches fs.ErrNotExist.
func (h *Handle) DeleteRule(r Rule) error {
	return failure("delete rule", r.String(), h.nl.RuleDel(r.toNetlink()))
}

func (r Rule) toNetlink() *netlink.Rule {
	n := netlink.NewRule()
	n.Src, n.Table = ipNet(r.Source), r.Table
	return n
}

// Rules returns the rules in the order in which they are asked, those of IPv4 first. The
// Source of a rule that looks at something else, too, is invalid.
func (h *Handle) Rules() ([]Rule, error) {
	var rules []Rule
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := retry(func() ([]netlink.Rule, error) { return h.nl.RuleList(family) })
		if err != nil {
			return nil, failure("list", "rules", err)
		}
		for _, n := range all {
			r := Rule{Table: n.Table, Priority: n.Priority}
			if bySourceOnly(n) {
				r.Source = prefixOf(n.Src)
			}
			rules = append(rules, r)
		}
	}
	return rules, nil
}

func bySourceOnly(n netlink.Rule) bool {
	return n.Src != nil && n.Dst == nil && !n.Invert && n.Mark == 0 && n.IifName == "" && n.OifName == "" &&
		n.Tos == 0 && n.IPProto == 0 && n.Sport == nil && n.Dport == nil && n.UIDRange == nil
}

// Tables returns the routing tables that hold a route or are asked by a rule.
func (h *Handle) Tables() (map[int]bool, error) {
	rules, err := h.Rules()
	if err != nil {
		return nil, err
	}
	tables := make(map[int]bool)
	for _, r := range rules {
		tables[r.Table] = true
	}
	filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := retry(func() ([]netlink.Route, error) {
		return h.nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE)
	})
	for _, r := range routes {
		tables[r.Table] = true
	}
	return tables, failure("list", "routes", err)
}
