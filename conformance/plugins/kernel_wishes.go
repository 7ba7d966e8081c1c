package plugins

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

// sysctls returns the settings that the configuration asks for.
func (n *network) sysctls(ifname string) map[link.Sysctl]string {
	all := make(map[link.Sysctl]string)
	for _, o := range n.objects() {
		var asked map[string]string
		_ = json.Unmarshal(o.Get("sysctl"), &asked) // another type: another meaning
		for name, value := range asked {
			if !strings.Contains(name, "/") {
				name = strings.ReplaceAll(name, ".", "/")
			}
			name = strings.Replace(strings.TrimPrefix(name, "net/"), "IFNAME", ifname, 1)
			all[link.Sysctl(name)] = value
		}
	}
	return all
}

// wished is a MAC address that nobody has by chance.
func wished() net.HardwareAddr { return net.HardwareAddr{0x02, 0x5e, 0xa3, 0x00, 0x12, 0x34} }

func (h *host) declared(capability string) {
	if !h.network.declares(capability) {
		h.Skipf("no plugin of the network declares the capability %s", capability)
	}
}

func checkChosenMAC(h *host) {
	h.declared(cni.CapabilityMAC)
	a := h.attachment(h.pod())
	a.Capabilities = map[string]any{cni.CapabilityMAC: wished().String()}
	a.hasMAC()
}

func checkArgsMAC(h *host) {
	h.declared(cni.CapabilityMAC)
	a := h.attachment(h.pod())
	a.Args = "IgnoreUnknown=1;MAC=" + wished().String()
	a.hasMAC()
}

func (a *attachment) hasMAC() {
	if err := a.add(); err != nil {
		a.h.Fatalf("%v", err)
	}
	if l := a.own(); !bytes.Equal(l.MAC, wished()) {
		a.h.Errorf("%s has the MAC address %v; %v was asked for", l.Name, l.MAC, wished())
	}
	a.interfacesHold(a.Result.Interfaces)
}

// choose returns addresses of the network that are free, found by attaching a pod: some
// further on than what the first pod has.
func (h *host) choose() []netip.Prefix {
	first := h.attach(h.pod())
	var chosen []netip.Prefix
	for _, addr := range first.addrs() {
		i := slices.IndexFunc(first.Result.IPs, func(ip cni.IP) bool { return ip.Address.Addr() == addr })
		for range 7 {
			addr = addr.Next()
		}
		chosen = append(chosen, netip.PrefixFrom(addr, first.Result.IPs[i].Address.Bits()))
	}
	first.detach()
	if len(chosen) == 0 {
		h.Skipf("the network gives no addresses")
	}
	return chosen
}

func checkChosenIPs(h *host) {
	h.declared(cni.CapabilityIPs)
	chosen := h.choose()
	a := h.attachment(h.pod())
	a.Capabilities = map[string]any{cni.CapabilityIPs: chosen}
	a.has(chosen)
}

func checkArgsIP(h *host) {
	chosen := h.choose()[:1]
	a := h.attachment(h.pod())
	a.Args = "IgnoreUnknown=1;IP=" + chosen[0].String()
	a.has(chosen)
}

func (a *attachment) has(chosen []netip.Prefix) {
	if err := a.add(); err != nil {
		a.h.Fatalf("with the addresses %v asked for: %v", chosen, err)
	}
	addrs := a.h.addrsOf(a.Pod.links, a.IfName)
	for _, want := range chosen {
		if !slices.Contains(addrs, want) {
			a.h.Errorf("%s has the addresses %v; %v was asked for", a.IfName, addrs, want)
		}
	}
	a.addressesHold()
}

func checkLongNames(h *host) {
	h.network.Name = strings.Repeat("long-network.", 5) + "x"
	a := h.attachment(h.pod())
	if a.IfName != "lo" {
		a.IfName = "interface-of-15"
	}
	a.ID = strings.Repeat("0123456789abcdef", 4)
	if err := a.add(); err != nil {
		h.Fatalf("network %s, container %s, interface %s: %v", h.network.Name, a.ID, a.IfName, err)
	}
	a.holds("with long names")
	for _, i := range a.Result.Interfaces {
		if len(i.Name) > 15 {
			h.Errorf("interface %q of the result: Linux has names of at most 15 bytes", i.Name)
		}
	}
	a.detach()
	if _, err := a.Pod.links.ByName(a.IfName); err == nil && a.IfName != "lo" {
		h.Errorf("%s is still there after DEL", a.IfName)
	}
}

// checkContainerIDs takes IDs that a plugin which shortens or folds them would confuse.
func checkContainerIDs(h *host) {
	if reason := h.network.one(); reason != "" {
		h.Skipf("%s", reason)
	}
	long := strings.Repeat("c", 63)
	var all []*attachment
	for _, id := range []string{"a", "A", "a.b", "a_b", "a-b", long + "1", long + "2"} {
		a := h.attachment(h.pod())
		a.ID = id
		all = append(all, a)
	}
	h.attachAll(all)
	last := len(all) - 1
	all[last].detach()
	for _, a := range all[:last] {
		a.holds(fmt.Sprintf("of container %s, after DEL of %s", a.ID, all[last].ID))
		a.detach()
	}
}
