package nft

import (
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/seamnet/seam/cni"
	"golang.org/x/sys/unix"
)

// A Wall keeps the traffic of Link, a bridge as a rule, from that of all other links
// with a wall, both ways. What comes from elsewhere, and what the host itself sends,
// passes. All who want one for a link want the same one, so its owner is the link:
// see WallOwner.
type Wall struct {
	Link string `json:"link"`
	// Shut drops also what comes in by Link and is routed back out by it: a published
	// port of a neighbour, or frames that br_netfilter shows to the rules of IP.
	Shut bool `json:"shut,omitempty"`
}

// An Isolation drops frames between the bridge port Link and other ports. Those from
// and to the bridge itself, and so the host and what is routed, pass.
type Isolation struct {
	Link string `json:"link"`
}

func (w Wall) String() string {
	s := fmt.Sprintf("iifname @walled oifname %q drop", w.Link)
	if !w.Shut {
		s += ", except from itself"
	}
	return s
}

func (i Isolation) String() string { return fmt.Sprintf("bridge port %q isolated", i.Link) }

func (w Wall) validate() error      { return validLink("wall", w.Link) }
func (i Isolation) validate() error { return validLink("isolation", i.Link) }

func validLink(what, name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return fmt.Errorf("%s: %q: not a link's name", what, name)
	}
	return nil
}

func (w Wall) entries() []entry {
	entries := []entry{{set: walledSet(), key: ifname(w.Link)}}
	if !w.Shut {
		entries = append(entries, entry{set: togetherSet(), key: slices.Concat(ifname(w.Link), ifname(w.Link))})
	}
	return entries
}

func (i Isolation) entries() []entry { return []entry{{set: isolatedSet(), key: ifname(i.Link)}} }

func walledSet() set {
	return set{table: inetSeam, name: "walled", homes: []func() chain{forwardChain}, key: []datatype{typeIfname}}
}

func togetherSet() set {
	return set{table: inetSeam, name: "together", homes: []func() chain{forwardChain}, key: []datatype{typeIfname, typeIfname}}
}

func isolatedSet() set {
	return set{table: bridgeSeam, name: "isolated", homes: []func() chain{isolationChain}, key: []datatype{typeIfname}}
}

// forwardChain drops what goes from one walled link to another.
func forwardChain() chain {
	return chain{
		table: inetSeam, name: "forward",
		rules: []rule{newRule("iifname @walled oifname @walled iifname . oifname != @together drop",
			[]expr.Any{loadIifname()}, lookup(walledSet()),
			[]expr.Any{loadOifname(reg1)}, lookup(walledSet()),
			[]expr.Any{loadIifname(), loadOifname(afterIfname)}, notIn(togetherSet()),
			verdict(expr.VerdictDrop, ""))},
		hook: &hook{"filter", unix.NF_INET_FORWARD, priorityFilter, "type filter hook forward priority filter; policy accept;"},
	}
}

// isolationChain drops frames between isolated ports and others.
func isolationChain() chain {
	return chain{
		table: bridgeSeam, name: "forward",
		rules: []rule{
			newRule("iifname @isolated drop", []expr.Any{loadIifname()}, lookup(isolatedSet()), verdict(expr.VerdictDrop, "")),
			newRule("oifname @isolated drop", []expr.Any{loadOifname(reg1)}, lookup(isolatedSet()), verdict(expr.VerdictDrop, "")),
		},
		hook: &hook{"filter", bridgeForward, priorityBridgeFilter, "type filter hook forward priority filter; policy accept;"},
	}
}

func loadOifname(register uint32) expr.Any {
	return &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: register}
}

// WallOwner is the owner of a link's wall: no attachment, and of no network, so that
// Retain leaves it alone.
func WallOwner(link, plugin string) Owner { return Owner{Tag: cni.Tag("link:" + link), Plugin: plugin} }

// InIPTables reports whether iptables-nft has a chain of that name in its table
// filter, of IPv4 or IPv6. It asks for the one chain and lists nothing.
func (t *Table) InIPTables(name string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	there := false
	q := new(questions)
	for _, f := range families {
		q.chain(chain{table: table{f.number, "filter"}, name: name}, func(_ heldChain, found bool) { there = there || found })
	}
	if err := q.put(t.conn); err != nil {
		return false, fmt.Errorf("look for chain %s of iptables: %w", name, err)
	}
	return there, nil
}
