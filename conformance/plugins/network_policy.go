package plugins

import (
	"encoding/json"
	"net"
	"net/netip"

	"github.com/seamnet/seam/link"
)

// option sees to it that a plugin of the chain has the key with the value: as configured,
// or on trial and of a type that is known to have it. Else it skips the check.
func (h *host) option(pluginType, key, value string) {
	if h.network.says(key, value) {
		return
	}
	for _, m := range h.network.Members {
		if m.Trial && m.Type == pluginType {
			m.Conf.Set(key, json.RawMessage(value))
			return
		}
	}
	h.Skipf("the network does not ask for %s %s", key, value)
}

// tcp is a probe of a pod's server.
func tcp(from *pod, to netip.Addr) probe {
	return probe{From: from, Protocol: "tcp", To: netip.AddrPortFrom(to, probePort)}
}

// policed makes two pods of the network and one of another, and starts the servers of the
// first.
func (h *host) policed() (a, neighbour, foreigner *attachment) {
	if reason := h.network.one(); reason != "" {
		h.Skipf("%s", reason)
	}
	other := h.another()
	a = h.connected()
	if i := a.Result.Interfaces; len(i) == 0 || !h.isBridge(i[0].Name) {
		h.Skipf("the first interface of the result is no bridge of the host")
	}
	neighbour, foreigner = h.connected(), other.attach(h.pod())
	for _, addr := range a.hosted() {
		h.serve(a.Pod, addr)
	}
	return a, neighbour, foreigner
}

func (h *host) isBridge(name string) bool {
	l, err := h.links.ByName(name)
	return err == nil && l.Kind == "bridge"
}

func checkSameBridge(h *host) {
	h.option("firewall", "ingressPolicy", `"same-bridge"`)
	a, neighbour, foreigner := h.policed()
	for _, addr := range a.hosted() {
		h.answers(tcp(neighbour.Pod, addr), a.Pod)
		h.answers(tcp(h.here(), addr), a.Pod)
		h.silent(tcp(foreigner.Pod, addr), "ingressPolicy is same-bridge, and it is of another bridge")
	}
	h.goesOut(a)
}

func checkIsolated(h *host) {
	h.option("firewall", "ingressPolicy", `"isolated"`)
	a, neighbour, foreigner := h.policed()
	for _, addr := range a.hosted() {
		h.answers(tcp(h.here(), addr), a.Pod)
		h.silent(tcp(neighbour.Pod, addr), "ingressPolicy is isolated")
		h.silent(tcp(foreigner.Pod, addr), "ingressPolicy is isolated")
	}
	h.goesOut(a)
}

// goesOut wants what the pod itself begins to be answered.
func (h *host) goesOut(a *attachment) {
	for _, addr := range a.leaving() {
		h.wayBack(addr)
		h.serve(h.outside, outsideAddr(addr))
		h.answers(tcp(a.Pod, outsideAddr(addr)), h.outside)
	}
}

func checkPortIsolation(h *host) {
	h.option("bridge", "portIsolation", "true")
	if reason := h.network.one(); reason != "" {
		h.Skipf("%s", reason)
	}
	a, neighbour := h.connected(), h.connected()
	for _, addr := range a.hosted() {
		h.serve(a.Pod, addr)
		h.answers(tcp(h.here(), addr), a.Pod)
		h.silent(tcp(neighbour.Pod, addr), "portIsolation keeps ports from one another")
	}
}

// checkForgedMAC gives the pod's interface another address. The pod then asks for its
// neighbours again, and without a guard would be believed.
func checkForgedMAC(h *host) {
	h.option("bridge", "macspoofchk", "true")
	a := h.connected()
	here := h.here()
	l, err := a.Pod.links.ByName(a.IfName)
	h.Must(err)
	set := func(mac net.HardwareAddr) {
		h.Must(a.Pod.links.Set(l, link.Change{MAC: mac}))
	}
	for _, addr := range a.hosted() {
		gateway := a.gateway(addr)
		h.serve(here, gateway)
		h.answers(tcp(a.Pod, gateway), here)
		set(net.HardwareAddr{0x02, 0, 0, 0, 0xba, 0xd0})
		h.silent(tcp(a.Pod, gateway), "the frames' MAC address is forged, and macspoofchk is set")
		set(l.MAC)
		h.answers(tcp(a.Pod, gateway), here)
	}
}
