package plugins

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/link"
)

// Where the checks of this level have their requirements from.
const (
	ofDEL  = "CNI 1.1.0, section 2, DEL"
	ofGC   = "CNI 1.1.0, section 2, GC"
	ofMany = "CNI 1.1.0, section 3, lifecycle and ordering"
)

func leakChecks() []check {
	return slices.Concat([]check{
		{conformance.Check{ID: "leaks/host", Force: conformance.Must, Source: ofDEL,
			Says: "After DEL the host has nothing more of the attachment: no link, address, route, rule, firewall rule, file, mount or process."}, nil, checkHostLeft},
		{conformance.Check{ID: "leaks/pod", Force: conformance.Must, Source: ofDEL,
			Says: "After DEL the pod has none of the links, addresses, routes and rules that ADD made in it."}, nil, checkPodLeft},
		{conformance.Check{ID: "leaks/host-settings", Force: conformance.Open, Source: "practice: what forwards for others, too, may stay switched on",
			Says: "After the first ADD and DEL the host's sysctls are what they were."}, nil, checkSettingsLeft},
		{conformance.Check{ID: "leaks/tracked-connections", Force: conformance.Open, Source: "practice: a datagram to a port of the host follows the tracked connection, for minutes, to a pod that is gone",
			Says: "After DEL no connection to one of the pod's addresses is tracked."}, nil, checkFlowsLeft},
	}, deletionChecks(), failureChecks(), crowdChecks(), poolChecks(), killChecks(), collectionChecks())
}

// equipped returns an attachment, not yet made, that uses what the network can be asked
// for by a capability, so that there is more to leave behind.
func (h *host) equipped(p *pod) *attachment {
	a := h.attachment(p)
	port := 20000 + h.pods
	asks := map[string]any{
		"portMappings": []map[string]any{
			{"hostPort": port, "containerPort": 80, "protocol": "tcp"}, {"hostPort": port, "containerPort": 53, "protocol": "udp"},
		},
		"bandwidth": map[string]any{"ingressRate": 800000000, "ingressBurst": 80000000, "egressRate": 800000000, "egressBurst": 80000000},
	}
	maps.DeleteFunc(asks, func(name string, _ any) bool { return !h.network.declares(name) })
	a.Capabilities = asks
	return a
}

// attachEquipped makes eth0 of a new pod, or ends the check.
func (h *host) attachEquipped() *attachment {
	a := h.equipped(h.pod())
	if err := a.add(); err != nil {
		h.Fatalf("%v", err)
	}
	return a
}

// twice does something with a new attachment, which ends it, and compares what the host
// has after the second time with what it had after the first: what a plugin makes once,
// for all that come, is no leak. The pods stay until then, as what ended with them would
// not be seen.
func (h *host) twice(what string, do func(a *attachment)) {
	do(h.attachEquipped())
	before := h.footprint()
	a := h.attachEquipped()
	do(a)
	h.compare(comparison{what: what, before: before, of: []*attachment{a}, gone: true})
}

func checkHostLeft(h *host) {
	h.twice("after DEL", (*attachment).detach)
}

func checkPodLeft(h *host) {
	a := h.equipped(h.pod())
	before := h.inside(a.Pod)
	if err := a.add(); err != nil {
		h.Fatalf("%v", err)
	}
	a.detach()
	var differ []string
	h.until(settling, func() bool {
		differ = h.inside(a.Pod).since(before, false)
		return len(differ) == 0
	})
	h.tell("in the pod after DEL", differ)
}

func checkSettingsLeft(h *host) {
	settings := func() footprint {
		f := h.footprint()
		maps.DeleteFunc(f, func(key, _ string) bool { return !isSysctl(key) })
		return f
	}
	before := settings()
	a := h.attachEquipped()
	a.detach()
	h.remove(a.Pod)
	h.tell("after DEL", settings().since(before, false))
}

// ipamType returns the type of the first plugin that the chain has addresses from, or "".
func (n *network) ipamType() string {
	for _, m := range n.Members {
		if ipam := ipamOf(m.Conf); ipam != "" {
			return ipam
		}
	}
	return ""
}

// needRanges skips the check if addresses do not come out of ranges that the suite can
// make small.
func (h *host) needRanges() {
	if ipam := h.network.ipamType(); ipam != "host-local" {
		h.Skipf("needs addresses of host-local's ranges, not of %q", ipam)
	}
}

// restoreSpare makes the second cable again if it ended with a pod that had it: what is not
// hardware does.
func (h *host) restoreSpare() {
	if !bytes.Contains(h.target.Config, []byte(Spare)) {
		return
	}
	if _, err := h.links.ByName(Spare); err == nil {
		return
	}
	var err error
	back := h.until(dying, func() bool { // its other end goes a moment later
		err = h.links.AddVeth(link.Veth{Name: Spare, PeerName: Spare, PeerNS: h.outside.ns})
		return err == nil
	})
	if !back {
		h.Fatalf("%s is neither on the host again nor gone with the pod that had it: %v", Spare, err)
	}
	h.configure(h.outside.links, Spare, [2]netip.Prefix{})
}
