package plugins

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// checkFlowsLeft sends datagrams from outside to the pod's port of the host, so that the
// host tracks them, and looks what it still tracks when the pod is gone.
func checkFlowsLeft(h *host) {
	if !h.network.declares("portMappings") {
		h.Skipf("no plugin of the chain forwards ports of the host")
	}
	if _, err := trackedTo(netip.IPv4Unspecified()); err != nil {
		h.Skipf("tracked connections cannot be listed: %v", err)
	}
	a := h.attachEquipped()
	port := uint16(20000 + h.pods)
	h.Must(h.outside.ns.Do(func() error { return datagram(netip.AddrPortFrom(hostAddrs[0].Addr(), port)) }))
	addrs := a.Result.IPs
	seen := 0
	for _, ip := range addrs {
		h.until(time.Second, func() bool {
			lines, err := trackedTo(ip.Address.Addr())
			h.Must(err)
			seen += len(lines)
			return len(lines) > 0 || ip.Address.Addr().Is6()
		})
	}
	if seen == 0 {
		h.Skipf("the host tracks no connection to the pod")
	}
	a.detach()
	for _, ip := range addrs {
		lines, err := trackedTo(ip.Address.Addr())
		h.Must(err)
		if len(lines) > 0 {
			h.Errorf("after DEL, wanted: no tracked connection to %v; seen: %s", ip.Address.Addr(), strings.Join(lines, "\n"))
		}
	}
}

func datagram(to netip.AddrPort) error {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("conformance"))
	return err
}

// trackedTo returns the host's tracked connections of which an address is a part.
func trackedTo(addr netip.Addr) ([]string, error) {
	f, err := os.Open("/proc/self/net/nf_conntrack")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var found []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		for _, field := range strings.Fields(lines.Text()) {
			_, value, _ := strings.Cut(field, "=")
			if ip, err := netip.ParseAddr(value); err == nil && ip == addr {
				found = append(found, strings.Join(strings.Fields(lines.Text()), " "))
				break
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("tracked connections: %w", err)
	}
	return found, nil
}
