// Package portmap makes ports of a pod reachable as ports of the host: the plugin
// "portmap", chained after one that makes an interface.
//
// What it wants of the firewall is in elements of package nft; here are the
// decision which, and the two things around them: the sysctl that lets the host's own
// 127.0.0.1 reach a pod, and the tracked connections that must be forgotten when a
// mapping comes or goes. It is no proxy and opens no socket: a program of the host
// that listens on a mapped port is shadowed.
//
// To see what is mapped: nft list table inet seam, maps hostports and hostips,
// and limitedports and limitedips with the conditions, where there are any; to
// follow a packet: nft monitor trace; conntrack -L -d HOST-ADDRESS.
package portmap

import (
	"errors"
	"net/netip"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
	"golang.org/x/sys/unix"
)

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Chained(h, func() plugin.Filter { return Default() }, forgetPod)
}

var (
	loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	all4      = netip.MustParsePrefix("0.0.0.0/0")
	all6      = netip.MustParsePrefix("::/0")
)

// Legacy is what the reference plugin makes for the attachment.
func (c *Config) Legacy(a cni.Attachment) nft.Legacy { return nft.LegacyPorts(a) }

// Elements returns a forward for each mapping and family, and a hairpin for each of
// the pod's addresses that something is forwarded to.
func (c *Config) Elements(r *cni.Request) ([]nft.Element, error) {
	var elements []nft.Element
	for _, pod := range targets(r.Prev.PodIPs(r.IfName)) {
		before := len(elements)
		addr := pod.Address.Addr()
		for _, m := range c.mappings {
			if m.of(addr) {
				elements = append(elements, nft.Forward{
					Protocol: m.protocol, HostIP: m.hostIP, HostPort: m.hostPort,
					To: netip.AddrPortFrom(addr, m.podPort), Conditions: c.limits[addr.Is4()],
				})
			}
		}
		if c.SNAT && len(elements) > before {
			elements = append(elements, nft.Hairpin{To: addr, Sources: c.masqueraded(pod)})
		}
	}
	return elements, nil
}

// targets are the first address of each family.
func targets(ips []cni.IP) []cni.IP {
	var first []cni.IP
	for _, ip := range ips {
		if len(first) == 0 || (len(first) == 1 && first[0].Address.Addr().Is4() != ip.Address.Addr().Is4()) {
			first = append(first, ip)
		}
	}
	return first
}

// masqueraded are the sources that get the host's address on their way to the pod:
// its neighbours and itself, whose answers must come back over the host, and the
// host's 127.0.0.1, to which no pod can answer.
func (c *Config) masqueraded(pod cni.IP) []netip.Prefix {
	v4 := pod.Address.Addr().Is4()
	switch {
	case c.MasqAll && v4:
		return []netip.Prefix{all4}
	case c.MasqAll:
		return []netip.Prefix{all6}
	case v4:
		return append(plugin.Subnets(pod), loopback4)
	}
	return plugin.Subnets(pod)
}

// Settle opens the pod's own way to the host ports, and forgets where the host's UDP
// ports led before: a client that goes on sending would go on to reach the old place.
func (c *Config) Settle(h *plugin.Host, r *cni.Request, elements []nft.Element) error {
	path, err := findPath(h, r, elements)
	if err == nil {
		err = path.open()
	}
	return errors.Join(err, link.DeleteFlows(staleUDP(elements)...))
}

// Settled reports whether the way is open still.
func (c *Config) Settled(h *plugin.Host, r *cni.Request, elements []nft.Element) error {
	path, err := findPath(h, r, elements)
	if err != nil {
		return err
	}
	return path.check()
}

func staleUDP(elements []nft.Element) (stale []link.Flows) {
	for _, e := range elements {
		f, ok := e.(nft.Forward)
		if !ok || f.Protocol != nft.UDP {
			continue
		}
		flows := link.Flows{IPv6: f.To.Addr().Is6(), Protocol: unix.IPPROTO_UDP, DstPort: f.HostPort}
		if f.HostIP.IsValid() && !f.HostIP.IsUnspecified() {
			flows.Dst = f.HostIP
		}
		stale = append(stale, flows)
	}
	return stale
}

// forgetPod forgets the connections that were forwarded to a pod that is gone. Its
// address may become another's while clients go on sending.
func forgetPod(elements []nft.Element) error {
	var stale []link.Flows
	seen := make(map[link.Flows]bool)
	for _, e := range elements {
		f, ok := e.(nft.Forward)
		if !ok {
			continue
		}
		flows := link.Flows{Answerer: f.To.Addr()}
		if f.To.Addr().Is6() { // the kernel compares ports and protocol for IPv6, but no address
			flows = link.Flows{IPv6: true, Answerer: f.To.Addr(), Protocol: f.Protocol.Number(), AnswererPort: f.To.Port()}
		}
		if !seen[flows] {
			seen[flows] = true
			stale = append(stale, flows)
		}
	}
	return link.DeleteFlows(stale...)
}
