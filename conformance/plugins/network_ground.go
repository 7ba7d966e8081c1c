package plugins

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/link"
)

// What a network lets expect is read from its configuration, from results and from the
// kernel, so that a plugin which nobody knows is asked for no more than it promises.

// settleTime is more than what a link's duplicate detection takes.
const settleTime = 4 * time.Second

// objects returns the configuration of every plugin of the chain, and of those that one
// of them wraps.
func (n *network) objects() []*wire.Object {
	var all []*wire.Object
	for _, m := range n.Members {
		for o := m.Conf; o != nil; {
			all = append(all, o)
			inner, err := wire.ParseObject(o.Get("delegate"))
			if err != nil {
				break
			}
			o = inner
		}
	}
	return all
}

// says reports whether the key has the JSON value in some plugin's configuration.
func (n *network) says(key, value string) bool {
	return slices.ContainsFunc(n.objects(), func(o *wire.Object) bool { return string(o.Get(key)) == value })
}

// has reports whether the key is in some plugin's configuration, and not empty.
func (n *network) has(key string) bool {
	return slices.ContainsFunc(n.objects(), func(o *wire.Object) bool {
		v := string(o.Get(key))
		return v != "" && v != `""` && v != "null" && v != "[]"
	})
}

// one says why the network is of one pod at a time; empty: it is not.
func (n *network) one() string {
	for _, key := range []string{"device", "hwaddr", "kernelpath", "pciBusID"} {
		if n.has(key) {
			return "the network lends one device"
		}
	}
	switch {
	case n.says("mode", `"passthru"`):
		return "the master has room for one"
	case n.has("vlanId"):
		return "the master has each VLAN once"
	}
	for _, o := range n.objects() {
		var ipam struct{ Addresses []any }
		_ = json.Unmarshal(o.Get("ipam"), &ipam)
		if len(ipam.Addresses) > 0 {
			return "every pod has the same addresses"
		}
	}
	return ""
}

// apart says why pods of the network are kept from one another; empty: they are not.
func (n *network) apart() string {
	switch {
	case n.says("portIsolation", "true"):
		return "portIsolation keeps the pods apart"
	case n.says("ingressPolicy", `"isolated"`):
		return "ingressPolicy keeps the pods apart"
	case n.says("mode", `"private"`), n.says("mode", `"vepa"`):
		return "the mode keeps the pods apart"
	}
	return ""
}

// masked reports whether pods are to bear the host's address outside.
func (n *network) masked() bool { return n.says("ipMasq", "true") || n.says("type", `"masquerade"`) }

// addrs returns the attachment's first address of each family.
func (a *attachment) addrs() []netip.Addr {
	var all []netip.Addr
	for _, ip := range a.Result.PodIPs(a.IfName) {
		addr := ip.Address.Addr()
		if !addr.IsLoopback() && !slices.ContainsFunc(all, func(b netip.Addr) bool { return b.Is4() == addr.Is4() }) {
			all = append(all, addr)
		}
	}
	return all
}

// addr returns the attachment's address of the family of like, or an invalid one.
func (a *attachment) addr(like netip.Addr) netip.Addr {
	for _, addr := range a.addrs() {
		if addr.Is4() == like.Is4() {
			return addr
		}
	}
	return netip.Addr{}
}

// connected makes eth0 of a new pod, and skips the check if that leads nowhere.
func (h *host) connected() *attachment { return h.leads(h.attach(h.pod())) }

// leads skips the check if the attachment's interface leads nowhere.
func (h *host) leads(a *attachment) *attachment {
	l, err := a.Pod.links.ByName(a.IfName)
	if err != nil {
		h.Fatalf("%v", err)
	}
	switch {
	case l.Kind == "dummy":
		h.Skipf("a dummy leads nowhere")
	case l.Kind == "tun" || l.Kind == "tuntap":
		h.Skipf("a tap leads to a program, and there is none")
	case len(a.addrs()) == 0:
		h.Skipf("the network gives no addresses to reach")
	}
	return a
}

// pair makes two pods of the network that should reach each other, or skips the check.
func (h *host) pair() (a, b *attachment) {
	for _, reason := range []string{h.network.one(), h.network.apart()} {
		if reason != "" {
			h.Skipf("%s", reason)
		}
	}
	return h.connected(), h.connected()
}

// held returns the addresses of a namespace.
func (h *host) held(links *link.Handle) []netip.Prefix {
	list, err := links.List()
	h.Must(err)
	var all []netip.Prefix
	for _, l := range list {
		addrs, err := links.Addrs(l)
		if link.Missing(err) {
			continue
		}
		h.Must(err)
		for _, a := range addrs {
			all = append(all, a.Prefix)
		}
	}
	return all
}

func (h *host) holds(addr netip.Addr) bool {
	return slices.ContainsFunc(h.held(h.links), func(p netip.Prefix) bool { return p.Addr() == addr })
}

// gateway returns the result's gateway of the family of like if the host has it, else an
// invalid address.
func (a *attachment) gateway(like netip.Addr) netip.Addr {
	if g := a.Result.Gateway(like); g.IsValid() && a.h.holds(g) {
		return g
	}
	return netip.Addr{}
}

// hosted returns those addresses of the attachment for which the host is the gateway, or
// skips the check.
func (a *attachment) hosted() []netip.Addr {
	addrs := slices.DeleteFunc(a.addrs(), func(addr netip.Addr) bool { return !a.gateway(addr).IsValid() })
	if len(addrs) == 0 {
		a.h.Skipf("the host is not the gateway of this network")
	}
	return addrs
}

// hostAddr and outsideAddr are the cable's ends, in the family of like.
func hostAddr(like netip.Addr) netip.Addr    { return ofFamily(hostAddrs, like) }
func outsideAddr(like netip.Addr) netip.Addr { return ofFamily(outsideAddrs, like) }

func ofFamily(both [2]netip.Prefix, like netip.Addr) netip.Addr {
	if like.Is4() {
		return both[0].Addr()
	}
	return both[1].Addr()
}

// local reports whether the address is one of the cable's network: the pod is a
// neighbour of the outside.
func local(addr netip.Addr) bool {
	return hostAddrs[0].Masked().Contains(addr) || hostAddrs[1].Masked().Contains(addr)
}

// routed reports whether the place has a route to the address, perhaps for who asks from
// the address that it has itself only.
func (h *host) routed(p *pod, to netip.Addr) bool {
	_, err := p.links.LinkTo(to)
	return err == nil || p.ruled(to).IsValid()
}

// wayBack tells the outside how a pod is reached that has no address of its network.
func (h *host) wayBack(addr netip.Addr) {
	if local(addr) {
		return
	}
	l, err := h.outside.links.ByName(Uplink)
	h.Must(err)
	to := netip.PrefixFrom(addr, addr.BitLen())
	h.Must(h.outside.links.SetRoute(l, link.Route{Route: cni.Route{Dst: to, GW: hostAddr(addr)}}))
}

// another returns a second network like this one, on the same host: another name, another
// bridge, other subnets. It skips the check where it does not know how to make one.
func (h *host) another() *host {
	other, n := *h, *h.network
	n.Name += "-2"
	n.Members = slices.Clone(n.Members)
	for i := range n.Members {
		n.Members[i].Conf = h.elsewhere(n.Members[i].Conf)
	}
	other.network = &n
	return &other
}

// elsewhere returns a plugin's configuration with another bridge and other addresses.
func (h *host) elsewhere(o *wire.Object) *wire.Object {
	conf, err := wire.ParseObject(o.Bytes())
	h.Must(err)
	if name, err := conf.String("bridge"); err == nil && name != "" {
		conf.SetString("bridge", name[:min(len(name), 13)]+"-2")
	}
	if inner, err := wire.ParseObject(conf.Get("delegate")); err == nil {
		conf.Set("delegate", h.elsewhere(inner).Bytes())
	}
	if ipam := string(conf.Get("ipam")); ipam != "" {
		moved := strings.NewReplacer("10.77.", "10.78.", "fd00:77:", "fd00:78:",
			"192.0.2.100", "192.0.2.200", "192.0.2.199", "192.0.2.250", "::100", "::200", "::199", "::299").Replace(ipam)
		if moved == ipam {
			h.Skipf("how to give a second network other addresses is not known: %s", ipam)
		}
		conf.Set("ipam", json.RawMessage(moved))
	}
	return conf
}

// reaches wants the answer of who is at an address, asked by each protocol, who is to see
// one of the peers.
func (h *host) reaches(from *pod, to netip.Addr, who *pod, peers ...netip.Addr) bool {
	for _, protocol := range protocols() {
		if !h.answers(probe{From: from, Protocol: protocol, To: netip.AddrPortFrom(to, probePort)}, who, peers...) {
			return false
		}
	}
	return true
}

// answers wants the probe to be answered by a place that sees one of the peers; none: any.
// What is there only when the kernel has asked the links for duplicates counts, too: that
// it should be there at once is a check of its own.
func (h *host) answers(p probe, who *pod, peers ...netip.Addr) bool {
	got, err := p.ask(h.Context())
	if err != nil && h.settle(p.From, who, h.here(), h.outside) {
		got, err = p.ask(h.Context())
	}
	switch {
	case err != nil:
		h.Errorf("%v: no answer: %v", p, err)
	case got.Name != who.Name:
		h.Errorf("%v: the answer is of %v; it should be of %s", p, got, who.Name)
	case len(peers) > 0 && !slices.Contains(peers, got.Peer):
		h.Errorf("%v: the answer is of %v; it should see one of %v", p, got, peers)
	default:
		return true
	}
	return false
}

// settle waits until no address in the places is asked for duplicates any more, and
// reports whether any was when it, or the probe before, began.
func (h *host) settle(places ...*pod) bool {
	if h.waited {
		return false
	}
	h.waited = true
	for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if !slices.ContainsFunc(places, h.tentative) {
			break
		}
	}
	return true
}

func (h *host) tentative(p *pod) bool {
	list, err := p.links.List()
	h.Must(err)
	for _, l := range list {
		addrs, err := p.links.Addrs(l)
		if err == nil && slices.ContainsFunc(addrs, func(a link.Addr) bool { return a.Tentative }) {
			return true
		}
	}
	return false
}

// silent wants no answer to the probe, as reason says.
func (h *host) silent(p probe, reason string) {
	p.Patience = quietTime
	if got, err := p.ask(h.Context()); err == nil {
		h.Errorf("%v: the answer is of %v; there should be none: %s", p, got, reason)
	}
}
