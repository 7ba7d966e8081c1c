package trail

import (
	"fmt"

	"github.com/seamnet/seam/link"
)

// The host's settings that decide whether a packet gets on. One that cannot be read counts
// as the kernel's default where it is harmless.

// forwards reports whether the host forwards packets of this family.
func (w *walk) forwards() bool {
	if w.packet.To.Addr().Is6() {
		return setting("ipv6/conf/all/forwarding") != "0"
	}
	return setting("ipv4/ip_forward") != "0"
}

// filtersReverse reports whether what comes in by the link must come from where answers
// would leave by; of IPv6 there is no such setting.
func (w *walk) filtersReverse(index int) bool {
	if w.packet.To.Addr().Is6() {
		return false
	}
	for _, name := range []string{"all", w.linkName(index)} {
		if v := setting(fmt.Sprintf("ipv4/conf/%s/rp_filter", name)); name != "" && v != "" && v != "0" {
			return true
		}
	}
	return false
}

// isStrange reports whether the reverse path filter drops the packet: it came by another link
// than answers would leave by.
func (w *walk) isStrange() bool {
	if w.in == 0 || !w.filtersReverse(w.in) {
		return false
	}
	back, err := w.host.Links.Decide(link.Lookup{To: w.packet.From.Addr()})
	return err != nil || back.Out != w.in
}

// showsFrames reports whether br_netfilter shows bridged frames to iptables.
func (w *walk) showsFrames() bool {
	name := "bridge/bridge-nf-call-iptables"
	if w.packet.To.Addr().Is6() {
		name = "bridge/bridge-nf-call-ip6tables"
	}
	return setting(name) == "1"
}

func setting(name string) string {
	v, err := link.Sysctl(name).Get()
	if err != nil {
		return ""
	}
	return v
}
