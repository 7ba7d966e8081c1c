package cni

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParsePortMapping parses what people write for a published port:
// [HOSTIP:]HOSTPORT:PORT[/PROTOCOL]; an IPv6 HOSTIP is in brackets. Without a protocol
// it is tcp. Errors begin with the text and end with the form.
func ParsePortMapping(s string) (PortMapping, error) {
	m, err := portMapping(s)
	if err != nil {
		return m, fmt.Errorf("%q: %w; it is [HOSTIP:]HOSTPORT:PORT[/PROTOCOL], such as 8080:80 or 127.0.0.1:5353:53/udp", s, err)
	}
	return m, nil
}

func portMapping(s string) (m PortMapping, err error) {
	rest, protocol, given := strings.Cut(s, "/")
	m.Protocol = "tcp"
	if given {
		m.Protocol = strings.ToLower(protocol)
	}
	switch m.Protocol {
	case "tcp", "udp", "sctp":
	default:
		return m, fmt.Errorf("protocol %q is none of tcp, udp, sctp", protocol)
	}
	i := strings.LastIndexByte(rest, ':')
	if i < 0 {
		return m, errors.New("only one port")
	}
	if m.ContainerPort, err = portNumber(rest[i+1:]); err != nil {
		return m, err
	}
	host := rest[:i]
	if i = strings.LastIndexByte(host, ':'); i >= 0 {
		if m.HostIP, err = hostIP(host[:i]); err != nil {
			return m, err
		}
	}
	m.HostPort, err = portNumber(host[i+1:])
	return m, err
}

func hostIP(s string) (string, error) {
	inner, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		inner = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil || addr.Is6() != bracketed {
		return "", fmt.Errorf("host address %q is no IPv4 address and no IPv6 address in brackets", s)
	}
	return addr.String(), nil
}

func portNumber(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is none of 1 to 65535", s)
	}
	return int(n), nil
}
