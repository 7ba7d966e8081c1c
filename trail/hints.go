package trail

import (
	"fmt"
	"slices"
	"strings"
)

// finish looks at answers and adds what to do.
func (w *walk) finish() {
	if w.way.Probed && !w.way.Dropped && !w.well() {
		w.dropped(w.answers, "there is an answer")
	}
	for _, hint := range []func() string{w.hintDrop, w.hintFault, w.hintPort, w.hintListener, w.hintMTU, w.hintParent, w.hintFlushed, w.hintSilence} {
		if h := hint(); h != "" {
			w.way.Hints = append(w.way.Hints, h)
		}
	}
}

// last is the rule that drops the packet, nil if none does.
func (w *walk) last() *Rule {
	for _, s := range w.way.Steps {
		if s.Dropped {
			return s.Rule
		}
	}
	return nil
}

func (w *walk) hintDrop() string {
	r := w.last()
	switch {
	case r == nil:
		return ""
	case r.Table == "seam" && len(r.Wanted) > 0:
		return fmt.Sprintf("Seam drops it because of plugin %s: see its configuration in the network's file", strings.Join(r.Wanted, ", "))
	case r.Table == "filter" && r.Chain == "FORWARD" && r.Handle == 0:
		hint := "the policy of iptables' chain FORWARD is DROP, as Docker sets it: seam check --repair admits the links of attachments"
		if w.frame && w.showsFrames() {
			hint += "; net.bridge.bridge-nf-call-iptables shows it bridged frames, too"
		}
		return hint
	case w.frame && w.showsFrames():
		return "net.bridge.bridge-nf-call-iptables shows bridged frames to the host's rules, too"
	}
	return ""
}

func (w *walk) hintFault() string {
	v6 := w.packet.To.Addr().Is6()
	switch w.fault {
	case noForwarding:
		name := "net.ipv4.ip_forward"
		if v6 {
			name = "net.ipv6.conf.all.forwarding"
		}
		return fmt.Sprintf("%s is 0: sysctl -w %s=1", name, name)
	case reversePath:
		return fmt.Sprintf("net.ipv4.conf.%s.rp_filter, or that of all, is 1: 2 lets in what comes by another link than answers take", w.linkName(w.in))
	case noRoute:
		if w.way.Steps[len(w.way.Steps)-1].Where == OnHost {
			return "the host's routes do not lead there: ip route get " + w.packet.To.Addr().String()
		}
		return fmt.Sprintf("no route leads to %s: the routes of the attachment are those of its network's file (ipam routes, isDefaultGateway)", w.packet.To.Addr())
	case noHairpin:
		return "the network's file can set hairpinMode of plugin bridge"
	case isolatedPort:
		return "ports are isolated by portIsolation of plugin bridge, or ingressPolicy of firewall"
	case noNeighbour:
		return "nobody has this address, or what has it is down"
	case walls:
		return "ingressPolicy of plugin firewall keeps the two networks apart"
	case linkDown:
		return "it is to be set up: ip link set LINK up; of a container's lo, plugin loopback does it"
	case lost:
		if legacyRules() {
			return "iptables-legacy has rules, which are not seen here: iptables-legacy-save shows them"
		}
		return "what is not seen here: tc and eBPF programs, and policies of IPsec"
	}
	return ""
}

// hintPort is for a port of the host that leads nowhere.
func (w *walk) hintPort() string {
	if w.reached != OnHost || isEcho(w.packet) || w.way.Outcome == Connected || w.way.Outcome == Answered {
		return ""
	}
	p := fmt.Sprintf("%s port %d", w.way.Protocol, w.packet.To.Port())
	if w.way.Outcome == Refused {
		return fmt.Sprintf("no program of this host listens on %s, and no attachment publishes it: seam ls lists published ports", p)
	}
	return fmt.Sprintf("no attachment publishes %s of this host: seam ls lists published ports", p)
}

// hintListener is for a port of the container that nobody serves.
func (w *walk) hintListener() string {
	if w.way.Outcome != Refused || w.reached != Container || w.way.Dropped {
		return ""
	}
	text := fmt.Sprintf("nothing listens on %s", w.packet.To)
	if !w.toEnd() {
		return text
	}
	others := listeners(w.q.End.NS, w.packet.Protocol, w.packet.To.Port())
	if len(others) > 0 && !slices.Contains(others, w.packet.To.Addr()) {
		text += fmt.Sprintf(": only on %s, which is not reached from outside", others[0])
	}
	return text
}

func (w *walk) hintMTU() string {
	if len(w.mtus) == 0 {
		return ""
	}
	first, least := w.mtus[0], w.mtus[0]
	for _, h := range w.mtus {
		if h.mtu < least.mtu {
			least = h
		}
	}
	if w.q.Origin != FromContainer || least.mtu == first.mtu {
		return ""
	}
	return fmt.Sprintf("packets of more than %d bytes are too large for %s, and %s sends up to %d: set mtu in the network's file to %d", least.mtu, least.name, first.name, first.mtu, least.mtu)
}

// hintParent is for the host and what stands on its own link.
func (w *walk) hintParent() string {
	if w.well() || w.q.Origin == FromOutside {
		return ""
	}
	l, err := w.pod.ByName(w.q.End.IfName)
	if err != nil || l.Kind != "macvlan" && l.Kind != "ipvlan" {
		return ""
	}
	if w.q.Origin == FromHost && w.toEnd() || w.q.Origin == FromContainer && w.isLocal(w.packet.To.Addr()) {
		return fmt.Sprintf("the kernel does not let a host and a %s on its own link speak with each other", l.Kind)
	}
	return ""
}

// hintFlushed is for a firewall that somebody else has emptied.
func (w *walk) hintFlushed() string {
	if w.way.Probed && w.way.Passes() {
		return ""
	}
	for _, r := range w.records {
		if r.Tag != w.q.End.Tag {
			continue
		}
		faults, err := w.host.Table.Faults(r)
		w.note(err)
		if i := slices.IndexFunc(faults, func(fault string) bool { return fault != "" }); i >= 0 {
			return fmt.Sprintf("%q, which plugin %s made, is %s: seam check --repair puts back what a flushed firewall has lost", r.Elements[i], r.Plugin, faults[i])
		}
	}
	return ""
}

func (w *walk) hintSilence() string {
	if !w.way.Probed || w.way.Dropped || w.way.Outcome != NoAnswer {
		return ""
	}
	if w.way.Protocol == "udp" {
		return "no answer says little: a service over UDP may not answer an empty datagram"
	}
	return fmt.Sprintf("no rule and no route dropped it: the machine or program at %s does not answer, or its answer takes another way", w.packet.To.Addr())
}
