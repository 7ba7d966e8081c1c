package plugins

import (
	"net"
	"net/netip"

	"github.com/seamnet/seam/cni"
)

// publishedPort leads to probePort of a pod.
const publishedPort = 18080

// A flow is a conversation that goes on.
type flow struct {
	probe
	conn net.Conn
}

// published makes eth0 of a pod, ports of the host leading to it by TCP and UDP, or skips
// the check where the network forwards none.
func (h *host) published(ports ...cni.PortMapping) *attachment {
	if !h.network.declares(cni.CapabilityPorts) {
		h.Skipf("no plugin of the network declares the capability %s", cni.CapabilityPorts)
	}
	if h.network.has("conditionsV4") || h.network.has("conditionsV6") {
		h.Skipf("the network forwards ports on conditions, which may not hold here")
	}
	var both []cni.PortMapping
	for _, m := range ports {
		if m.HostPort == 0 {
			m.HostPort = publishedPort
		}
		m.ContainerPort = probePort
		for _, m.Protocol = range protocols() {
			both = append(both, m)
		}
	}
	a := h.attachment(h.pod())
	a.Capabilities = map[string]any{cni.CapabilityPorts: both}
	if err := a.add(); err != nil {
		h.Fatalf("%v", err)
	}
	h.leads(a)
	for _, addr := range a.addrs() {
		h.serve(a.Pod, addr)
	}
	return a
}

// toPort asks from a place by a published port who is there.
func (h *host) toPort(from *pod, at netip.AddrPort, who *attachment, peers ...netip.Addr) {
	for _, protocol := range protocols() {
		if !h.answers(probe{From: from, Protocol: protocol, To: at}, who.Pod, peers...) {
			return
		}
	}
}

func port(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, publishedPort) }

func checkPortFromOutside(h *host) {
	a := h.published(cni.PortMapping{})
	for _, addr := range a.addrs() {
		h.toPort(h.outside, port(hostAddr(addr)), a)
	}
}

func checkPortKeepsSource(h *host) {
	if h.network.says("masqAll", "true") {
		h.Skipf("masqAll hides whoever comes")
	}
	a := h.published(cni.PortMapping{})
	for _, addr := range a.addrs() {
		h.toPort(h.outside, port(hostAddr(addr)), a, outsideAddr(addr))
	}
}

func checkPortFromHost(h *host) {
	a := h.published(cni.PortMapping{})
	for _, addr := range a.addrs() {
		h.toPort(h.here(), port(hostAddr(addr)), a)
	}
}

func checkPortFromLocalhost(h *host) {
	a := h.published(cni.PortMapping{})
	h.needFamily(a, netip.IPv4Unspecified())
	h.toPort(h.here(), port(netip.MustParseAddr("127.0.0.1")), a)
}

func checkPortFromLocalhost6(h *host) {
	a := h.published(cni.PortMapping{})
	h.needFamily(a, netip.IPv6Unspecified())
	h.toPort(h.here(), port(netip.IPv6Loopback()), a)
}

func (h *host) needFamily(a *attachment, like netip.Addr) {
	if !a.addr(like).IsValid() {
		h.Skipf("the pod has no address of that family")
	}
}

func checkPortFromPod(h *host) {
	if reason := h.network.one() + h.network.apart(); reason != "" {
		h.Skipf("%s", reason)
	}
	a := h.published(cni.PortMapping{})
	other := h.connected()
	for _, addr := range a.hosted() {
		h.toPort(other.Pod, port(hostAddr(addr)), a)
	}
}

func checkPortHairpin(h *host) {
	a := h.published(cni.PortMapping{})
	for _, addr := range a.hosted() {
		h.toPort(a.Pod, port(hostAddr(addr)), a)
	}
}

func checkPortHostIP(h *host) {
	a := h.published(cni.PortMapping{HostIP: "127.0.0.1"}, cni.PortMapping{HostIP: hostAddrs[0].Addr().String(), HostPort: publishedPort + 1})
	h.needFamily(a, netip.IPv4Unspecified())
	h.toPort(h.outside, netip.AddrPortFrom(hostAddrs[0].Addr(), publishedPort+1), a)
	for _, protocol := range protocols() {
		h.silent(probe{From: h.outside, Protocol: protocol, To: port(hostAddrs[0].Addr())}, "the port is one of 127.0.0.1")
	}
	if gateway := a.gateway(netip.IPv4Unspecified()); gateway.IsValid() {
		at := netip.AddrPortFrom(gateway, publishedPort+1)
		h.silent(probe{From: h.here(), Protocol: "tcp", To: at}, "the port is one of "+hostAddrs[0].Addr().String())
	}
}

func checkPortsOfTwo(h *host) {
	if reason := h.network.one(); reason != "" {
		h.Skipf("%s", reason)
	}
	a := h.published(cni.PortMapping{})
	b := h.published(cni.PortMapping{HostPort: publishedPort + 1})
	for _, addr := range a.addrs() {
		h.toPort(h.outside, port(hostAddr(addr)), a)
		h.toPort(h.outside, netip.AddrPortFrom(hostAddr(addr), publishedPort+1), b)
	}
	a.detach()
	for _, addr := range b.addrs() {
		h.toPort(h.outside, netip.AddrPortFrom(hostAddr(addr), publishedPort+1), b)
	}
}

// checkPortClosed has the host itself listen where the port was: only it may answer.
func checkPortClosed(h *host) {
	a := h.published(cni.PortMapping{})
	addrs := a.addrs()
	a.detach()
	here := h.here()
	for _, addr := range addrs {
		h.serveAt(here, port(hostAddr(addr)))
		for _, protocol := range protocols() {
			if !h.answers(probe{From: h.outside, Protocol: protocol, To: port(hostAddr(addr))}, here) {
				break
			}
		}
	}
}

// checkPortMoves sends from one socket, as a resolver does, while one pod takes the place
// of another: what the kernel remembers of the flow must not lead to the first.
func checkPortMoves(h *host) {
	a := h.published(cni.PortMapping{})
	addrs := a.addrs()
	flows := make([]flow, len(addrs))
	for i, addr := range addrs {
		p := probe{From: h.outside, Protocol: "udp", To: port(hostAddr(addr)), Port: uint16(5353 + i)}
		h.answers(probe{From: p.From, Protocol: p.Protocol, To: p.To}, a.Pod)
		c, err := p.dial(h.Context())
		h.Must(err)
		h.Cleanup(func() { c.Close() })
		flows[i] = flow{p, c}
		if got, err := p.over(c); err != nil || got.Name != a.Pod.Name {
			h.Fatalf("%v: the answer is of %v, %v; it should be of %s", p, got, err, a.Pod.Name)
		}
	}
	a.detach()
	for _, f := range flows {
		f.Patience = quietTime
		_, _ = f.over(f.conn) // nobody is there: the kernel remembers a flow that leads nowhere
	}
	b := h.published(cni.PortMapping{})
	for _, f := range flows {
		if got, err := f.over(f.conn); err != nil || got.Name != b.Pod.Name {
			h.Errorf("%v, once %s took the place of %s: the answer is of %v, %v", f.probe, b.Pod.Name, a.Pod.Name, got, err)
		}
	}
}
