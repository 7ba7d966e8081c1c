package nft

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/seamnet/seam/cni"
	"golang.org/x/sys/unix"
)

// A host may change to Seam while containers run that the reference plugins attached.
// Their rules are then Seam's to check and to remove, in whichever form they were
// written: by iptables-nft, which keeps them in nftables, or by nft. Rules of legacy
// iptables are out of reach.

// A Legacy is what a reference plugin (v1.9.1 and, in the older form, those before)
// keeps in the firewall for one attachment.
type Legacy struct {
	name   string
	chains []legacyChain
	rules  []legacyRules
}

// A legacyChain is one of the attachment's own, with the chains after it that only it
// leads to.
type legacyChain struct {
	table table
	names []string
	from  []string // chains that jump to the first
}

// legacyRules are the attachment's in a chain that all share, known by their comment.
type legacyRules struct {
	chain chain
	own   func(comment string) bool
}

// LegacyMasquerade is what ipMasq makes. The reference's iptables form does not tell a
// container's interfaces apart.
func LegacyMasquerade(a cni.Attachment) Legacy {
	l := Legacy{name: "masquerading"}
	for _, f := range families {
		l.chains = append(l.chains, legacyChain{
			table: table{f.number, "nat"}, names: []string{hashed(28, "CNI-", a.Network+a.ContainerID)}, from: []string{"POSTROUTING"},
		})
	}
	prefix := hashed(16, "", a.Network) + "-" + hashed(16, "", a.IfName+":"+a.ContainerID)
	l.rules = []legacyRules{{
		chain: chain{table: table{unix.NFPROTO_INET, "cni_plugins_masquerade"}, name: "masq_checks"},
		own:   func(comment string) bool { return strings.HasPrefix(comment, prefix) },
	}}
	return l
}

// LegacyPorts is what portmap makes. Its nftables form does not tell a container's
// networks apart.
func LegacyPorts(a cni.Attachment) Legacy {
	l := Legacy{name: "port mappings"}
	for _, f := range families {
		l.chains = append(l.chains, legacyChain{
			table: table{f.number, "nat"}, names: []string{hashed(28, "CNI-DN-", a.Network+a.ContainerID)}, from: []string{"CNI-HOSTPORT-DNAT"},
		})
		for _, name := range []string{"hostports", "hostip_hostports", "masquerading"} {
			l.rules = append(l.rules, legacyRules{
				chain: chain{table: table{f.number, "cni_hostport"}, name: name},
				own:   func(comment string) bool { return comment == a.ContainerID },
			})
		}
	}
	return l
}

// LegacyGuard is what macspoofchk makes.
func LegacyGuard(a cni.Attachment) Legacy {
	name := "cni-br-iface-" + a.ContainerID + "-" + a.IfName
	return Legacy{name: "MAC address guard", chains: []legacyChain{{
		table: table{unix.NFPROTO_BRIDGE, "nat"}, names: []string{name, name + "-mac"}, from: []string{"PREROUTING"},
	}}}
}

// hashed is the reference plugins' way to a name of length characters.
func hashed(length int, prefix, s string) string {
	return fmt.Sprintf("%s%x", prefix, sha512.Sum512([]byte(s)))[:length]
}

// Inherited reports whether the kernel holds any of it.
func (t *Table) Inherited(l Legacy) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	plan, err := t.planRemoval(l)
	if err != nil {
		return false, fmt.Errorf("%s of the reference plugins: %w", l.name, err)
	}
	return len(plan) > 0, nil
}

// DropInherited removes all of it, and reports whether there was any. That there is
// none is found out by asking for names; only the chains of what is there are listed.
func (t *Table) DropInherited(l Legacy) (was bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range attempts {
		var plan []netlink.Message
		if plan, err = t.planRemoval(l); err == nil {
			was = was || len(plan) > 0
			err = t.conn.commit(plan...)
		}
		if !overtaken(err) {
			if err != nil {
				err = fmt.Errorf("remove %s of the reference plugins: %w", l.name, err)
			}
			return was, err
		}
	}
	return was, fmt.Errorf("remove %s of the reference plugins: %w", l.name, errContended)
}

func (t *Table) planRemoval(l Legacy) ([]netlink.Message, error) {
	q := new(questions)
	there := make(map[table]map[string]bool)
	ask := func(c chain) {
		q.chain(c, func(_ heldChain, found bool) {
			if found && there[c.table] == nil {
				there[c.table] = make(map[string]bool)
			}
			if found {
				there[c.table][c.name] = true
			}
		})
	}
	for _, c := range l.chains {
		for _, name := range append(c.names, c.from...) {
			ask(chain{table: c.table, name: name})
		}
	}
	for _, r := range l.rules {
		ask(r.chain)
	}
	if err := q.put(t.conn); err != nil {
		return nil, err
	}
	var plan []netlink.Message
	for _, c := range l.chains {
		messages, err := t.planChain(c, there[c.table])
		if err != nil {
			return nil, err
		}
		plan = append(plan, messages...)
	}
	for _, r := range l.rules {
		if !there[r.chain.table][r.chain.name] {
			continue
		}
		messages, err := t.planRules(r.chain, func(h heldRule) bool { return r.own(parseComment([]byte(h.userdata))) })
		if err != nil {
			return nil, err
		}
		plan = append(plan, messages...)
	}
	return plan, nil
}

// planChain removes the jumps to the chain, its rules, and itself.
func (t *Table) planChain(c legacyChain, there map[string]bool) ([]netlink.Message, error) {
	if !there[c.names[0]] {
		return nil, nil
	}
	var plan []netlink.Message
	for _, name := range c.from {
		if !there[name] {
			continue
		}
		jumps, err := t.planRules(chain{table: c.table, name: name}, func(h heldRule) bool { return h.target == c.names[0] })
		if err != nil {
			return nil, err
		}
		plan = append(plan, jumps...)
	}
	for _, name := range c.names {
		if there[name] {
			plan = append(plan, flushChain(chain{table: c.table, name: name}))
		}
	}
	for _, name := range c.names {
		if there[name] {
			plan = append(plan, deleteChain(chain{table: c.table, name: name}))
		}
	}
	return plan, nil
}

// planRules removes rules from a chain that others have rules in, too.
func (t *Table) planRules(c chain, own func(heldRule) bool) ([]netlink.Message, error) {
	rules, err := t.rules(c.table, c.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var plan []netlink.Message
	for _, r := range rules[c.name] {
		if own(r) {
			plan = append(plan, deleteRule(c, r.handle))
		}
	}
	return plan, err
}
