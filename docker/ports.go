package docker

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"golang.org/x/sys/unix"
)

// The ports from which one is chosen for -P: the dynamic ones of RFC 6335, section 6.
const (
	firstDynamic = 49153
	lastDynamic  = 65535
)

// A hostPort is a port of the host that is to be published.
type hostPort struct {
	protocol string
	addr     netip.Addr // invalid: all addresses of both families; unspecified: all of its family
	port     uint16
}

func (h hostPort) String() string {
	if !h.addr.IsValid() {
		return fmt.Sprintf("%d/%s", h.port, h.protocol)
	}
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(h.addr, h.port), h.protocol)
}

// meets reports whether both cannot be had.
func (h hostPort) meets(o hostPort) bool {
	if h.protocol != o.protocol || h.port != o.port {
		return false
	}
	everywhere := func(a, b hostPort) bool {
		return !a.addr.IsValid() || a.addr.IsUnspecified() && (!b.addr.IsValid() || a.addr.Is4() == b.addr.Is4())
	}
	return h.addr == o.addr || everywhere(h, o) || everywhere(o, h)
}

// publishing is a choice of ports for an endpoint.
type publishing struct {
	hostIP netip.Addr           // for bindings that name no address; invalid: everywhere
	seed   string               // what the choice for -P depends on: the endpoint's ID
	free   func(hostPort) error // why a port cannot be had; nil: it can
}

// mappings returns the bindings as the plugin portmap takes them. Engines send one for
// each family where one port is published on all addresses: they become one.
func (p *publishing) mappings(bindings []cnm.PortBinding) ([]cni.PortMapping, error) {
	merged := mergeFamilies(p.placed(bindings))
	// What leaves no choice is taken first.
	slices.SortStableFunc(merged, func(a, b cnm.PortBinding) int { return cmp.Compare(freedom(a), freedom(b)) })
	var taken []hostPort
	var all []cni.PortMapping
	for _, b := range merged {
		port, err := p.choose(b, taken)
		if err != nil {
			return nil, fmt.Errorf("publish port %d/%s: %w", b.Number, b.Protocol, err)
		}
		taken = append(taken, port)
		m := cni.PortMapping{HostPort: int(port.port), ContainerPort: int(b.Number), Protocol: port.protocol}
		if port.addr.IsValid() {
			m.HostIP = port.addr.String()
		}
		all = append(all, m)
	}
	return all, nil
}

// placed returns the bindings with the address that is meant by none.
func (p *publishing) placed(bindings []cnm.PortBinding) []cnm.PortBinding {
	bindings = slices.Clone(bindings)
	for i := range bindings {
		b := &bindings[i]
		b.HostIP = b.HostIP.Unmap()
		if !b.HostIP.IsValid() && p.hostIP.IsValid() && !p.hostIP.IsUnspecified() {
			b.HostIP = p.hostIP
		}
	}
	return bindings
}

// mergeFamilies makes one of two bindings that differ by the family of all addresses, and
// of two that are the same.
func mergeFamilies(bindings []cnm.PortBinding) []cnm.PortBinding {
	var merged []cnm.PortBinding
	for _, b := range bindings {
		i := slices.IndexFunc(merged, func(o cnm.PortBinding) bool {
			all := (!b.HostIP.IsValid() || b.HostIP.IsUnspecified()) && (!o.HostIP.IsValid() || o.HostIP.IsUnspecified())
			return b.Port == o.Port && b.HostPort == o.HostPort && last(b) == last(o) && (b.HostIP == o.HostIP || all)
		})
		switch {
		case i < 0:
			merged = append(merged, b)
		case merged[i].HostIP != b.HostIP:
			merged[i].HostIP = netip.Addr{}
		}
	}
	return merged
}

// last returns the end of the range that the port is chosen from.
func last(b cnm.PortBinding) uint16 { return max(b.HostPort, b.HostPortEnd) }

// freedom is how many ports there are to choose from.
func freedom(b cnm.PortBinding) int {
	if b.HostPort == 0 {
		return lastDynamic - firstDynamic + 1
	}
	return int(last(b)-b.HostPort) + 1
}

// choose returns the port for a binding: the first free one of its range or, without one,
// of the dynamic ports from a place on that the seed decides.
func (p *publishing) choose(b cnm.PortBinding, taken []hostPort) (hostPort, error) {
	first, count, start := int(b.HostPort), freedom(b), 0
	if b.HostPort == 0 {
		first = firstDynamic
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %d/%s", p.seed, b.Number, b.Protocol)
		start = int(h.Sum64() % uint64(count))
	}
	var why error
	for i := range count {
		port := hostPort{b.Protocol, b.HostIP, uint16(first + (start+i)%count)}
		why = p.free(port)
		if why == nil && slices.ContainsFunc(taken, port.meets) {
			why = fmt.Errorf("port %s of the host is published twice", port)
		}
		if why == nil {
			return port, nil
		}
	}
	if count > 1 {
		why = fmt.Errorf("none of the host's ports %d to %d is free; the last: %w", first, first+count-1, why)
	}
	return hostPort{}, why
}

// A holder is a mapping in use and who has it.
type holder struct {
	ports []cni.PortMapping
	name  string // of the container, for people
}

// free returns a function that says whether a port of the host can be had: no socket of
// this process's namespace and none of the holders has it. A socket of sctp is not looked for:
// that would load the kernel's module.
func free(holders []holder) func(hostPort) error {
	var held []hostPort
	var names []string
	for _, h := range holders {
		for _, m := range h.ports {
			addr, _ := netip.ParseAddr(m.HostIP)
			held, names = append(held, hostPort{m.Protocol, addr, uint16(m.HostPort)}), append(names, h.name)
		}
	}
	return func(port hostPort) error {
		if i := slices.IndexFunc(held, port.meets); i >= 0 {
			return fmt.Errorf("port %s of the host leads to %s", port, names[i])
		}
		if bound(port) {
			return fmt.Errorf("port %s of the host is a program's", port)
		}
		return nil
	}
}

// bound reports whether a socket of this namespace has the port.
func bound(port hostPort) bool {
	kind := map[string]int{"tcp": unix.SOCK_STREAM, "udp": unix.SOCK_DGRAM}[port.protocol]
	if kind == 0 {
		return false
	}
	addrs := []netip.Addr{port.addr}
	if !port.addr.IsValid() {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return errors.Is(tryBind(kind, netip.AddrPortFrom(a, port.port)), unix.EADDRINUSE)
	})
}

// tryBind binds a socket that never listens, so that nobody can connect to it.
func tryBind(kind int, to netip.AddrPort) error {
	family, addr := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port())})
	if to.Addr().Is4() {
		addr.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	} else {
		family, addr = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if kind == unix.SOCK_STREAM { // a connection that has ended is nobody's
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, addr)
}
