package trail

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/netns"
)

// listeners returns the addresses at which sockets of the namespace listen on a port.
func listeners(ns *netns.Namespace, protocol byte, port uint16) []netip.Addr {
	if protocol != unix.IPPROTO_TCP {
		return nil
	}
	sockets, _ := ns.Sockets() // what cannot be read is a hint less
	var all []netip.Addr
	for _, s := range sockets {
		if s.Protocol == "tcp" && s.Addr.Port() == port {
			all = append(all, s.Addr.Addr())
		}
	}
	return all
}

// legacyRules reports whether iptables-legacy has tables here.
func legacyRules() bool {
	for _, file := range []string{"ip_tables_names", "ip6_tables_names"} {
		if b, err := os.ReadFile("/proc/thread-self/net/" + file); err == nil && len(b) > 0 {
			return true
		}
	}
	return false
}
