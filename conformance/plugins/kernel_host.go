package plugins

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seamnet/seam/link"
)

// checkGateway begins with a host that does not forward.
func checkGateway(h *host) {
	asked := h.network.says("isGateway", "true") || h.network.says("isDefaultGateway", "true")
	forwards := map[bool]link.Sysctl{true: "ipv4/ip_forward", false: "ipv6/conf/all/forwarding"}
	for _, s := range forwards {
		h.Must(s.Set("0"))
	}
	a := h.attach(h.pod())
	for _, addr := range a.addrs() {
		if !a.gateway(addr).IsValid() {
			if asked {
				h.Errorf("the host has not the gateway %v of %v, though it is configured to be the gateway", a.Result.Gateway(addr), addr)
			}
			continue
		}
		asked = true
		if on, err := forwards[addr.Is4()].Get(); err != nil || on != "1" {
			h.Errorf("%s is %q, %v: the host is the gateway of %v, and does not forward", forwards[addr.Is4()], on, err, addr)
		}
	}
	if !asked {
		h.Skipf("the host is not the gateway of this network")
	}
}

// An inventory is what a namespace has, in ip(8)'s words.
type inventory map[string]bool

// take lists a namespace's links, addresses, routes and rules.
func (h *host) take(links *link.Handle) inventory {
	all := inventory{}
	list, err := links.List()
	h.Must(err)
	for _, l := range list {
		all["link "+l.Name] = true
		addrs, err := links.Addrs(l)
		if link.Missing(err) {
			continue
		}
		h.Must(err)
		for _, a := range addrs {
			if !a.Prefix.Addr().IsLinkLocalUnicast() { // the kernel's
				all[fmt.Sprintf("address %v of %s", a.Prefix, l.Name)] = true
			}
		}
		routes, err := links.Routes(l)
		h.Must(err)
		for _, r := range routes {
			if !r.Dst.Addr().IsLinkLocalUnicast() && !r.Dst.Addr().IsMulticast() {
				all[fmt.Sprintf("route %v over %s", r, l.Name)] = true
			}
		}
	}
	rules, err := links.Rules()
	h.Must(err)
	for _, r := range rules {
		all[fmt.Sprintf("rule %v", r)] = true
	}
	return all
}

// without returns what the other inventory lacks, but for what bears the name of a link.
func (i inventory) without(other inventory, except string) []string {
	var lost []string
	for item := range i {
		if !other[item] && !strings.HasSuffix(item, " "+except) {
			lost = append(lost, item)
		}
	}
	slices.Sort(lost)
	return lost
}

func checkHostUntouched(h *host) {
	before := h.take(h.links)
	a := h.attach(h.pod())
	if lost := before.without(h.take(h.links), Spare); len(lost) > 0 {
		h.Errorf("the host has lost, by ADD: %s", strings.Join(lost, ", "))
	}
	a.detach()
	if lost := before.without(h.take(h.links), Spare); len(lost) > 0 {
		h.Errorf("the host has lost, by ADD and DEL: %s", strings.Join(lost, ", "))
	}
}

// checkGone looks at the second attachment of a network, so that what all attachments
// share is there before.
func checkGone(h *host) {
	p := h.pod()
	before := h.take(p.links)
	if first := h.attach(h.pod()); h.network.one() != "" {
		first.detach()
	}
	host := h.take(h.links)
	a := h.attach(p)
	a.detach()
	if a.IfName != "lo" {
		if _, err := p.links.ByName(a.IfName); err == nil {
			h.Errorf("%s is still in the pod after DEL", a.IfName)
		}
	}
	if left := h.take(p.links).without(before, ""); len(left) > 0 {
		h.Errorf("left in the pod: %s", strings.Join(left, ", "))
	}
	if left := h.take(h.links).without(host, ""); len(left) > 0 {
		h.Errorf("left on the host: %s", strings.Join(left, ", "))
	}
}

func checkSysctl(h *host) {
	a := h.attachment(h.pod())
	wanted := h.network.sysctls(a.IfName)
	if len(wanted) == 0 {
		h.Skipf("the network does not ask for settings")
	}
	if err := a.add(); err != nil {
		h.Fatalf("%v", err)
	}
	h.Must(a.Pod.ns.Do(func() error {
		for name, want := range wanted {
			if got, err := name.Get(); err != nil || got != want {
				h.Errorf("%s is %q, %v; the configuration says %q", name, got, err, want)
			}
		}
		return nil
	}))
}
