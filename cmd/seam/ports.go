package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/seamnet/seam/cni"
)

// parsePort parses the value of --port.
func parsePort(s string) (cni.PortMapping, error) {
	m, err := cni.ParsePortMapping(s)
	if err != nil {
		return m, usage("--port %v", err)
	}
	if addr, err := netip.ParseAddr(m.HostIP); err == nil && addr.Is6() && addr.IsLoopback() {
		return m, hint(usage("--port %q: the kernel forwards nothing that is sent to ::1", s),
			"publish it on 127.0.0.1 (to a container with an IPv4 address), or on an address that the host has on a network")
	}
	return m, nil
}

// portText is the inverse of parsePort.
func portText(m cni.PortMapping) string {
	s := fmt.Sprintf("%d:%d/%s", m.HostPort, m.ContainerPort, strings.ToLower(orElse(m.Protocol, "tcp")))
	switch addr, err := netip.ParseAddr(m.HostIP); {
	case m.HostIP == "" || err == nil && addr.IsUnspecified():
		return s
	case addr.Is6():
		return "[" + m.HostIP + "]:" + s
	}
	return m.HostIP + ":" + s
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
