package plugins

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/seamnet/seam/conformance"
)

func poolChecks() []check {
	return []check{
		{conformance.Check{ID: "leaks/pool", Force: conformance.Must, Source: ofDEL + " (an IPAM plugin releases what it allocated)",
			Says: "After DEL of all attachments as many can be made again as the range has addresses."}, []Role{Interface, IPAM}, checkPool},
	}
}

// poolSize is how many addresses the range of the check has.
const poolSize = 3

func checkPool(h *host) {
	h.narrow(poolSize)
	h.needSeveral()
	for round := range 2 {
		all := h.crowd(poolSize)
		h.together(all, (*attachment).add)
		if h.Failed() {
			h.Fatalf("round %d: not all of %d addresses can be had", round+1, poolSize)
		}
		h.together(all, (*attachment).del)
	}
}

// needSeveral skips the check for networks that lend out a device, or have it once.
func (h *host) needSeveral() {
	if h.network.lends() {
		h.Skipf("%s attaches one pod at a time", h.network.Members[0].Type)
	}
}

// lends reports whether the network has room for one attachment only.
func (n *network) lends() bool {
	switch first := n.Members[0]; first.Type {
	case "host-device", "vlan":
		return true
	case "macvlan":
		mode, _ := first.Conf.String("mode")
		return mode == "passthru"
	}
	return false
}

// narrow leaves the ranges of host-local that many addresses of each set; IPAM of another
// kind skips the check.
func (h *host) narrow(count int) {
	h.needRanges()
	for _, m := range h.network.Members {
		old := m.Conf.Get("ipam")
		if old == nil {
			continue
		}
		small, err := narrowed(old, count)
		if err != nil {
			h.Skipf("%v", err)
		}
		m.Conf.Set("ipam", small)
	}
}

// needRoom skips the check if host-local's ranges have no room for that many attachments
// and one more.
func (h *host) needRoom(count int) {
	for _, o := range h.network.objects() {
		ipam := o.Get("ipam")
		if (&member{Conf: o}).delegates() && ipamOf(o) == "host-local" {
			if _, err := narrowed(ipam, count+1); err != nil {
				h.Skipf("there are not %d addresses: %v", count+1, err)
			}
		}
	}
}

// A poolRange is one of host-local's.
type poolRange struct {
	Subnet     string `json:"subnet"`
	RangeStart string `json:"rangeStart,omitempty"`
	RangeEnd   string `json:"rangeEnd,omitempty"`
	Gateway    string `json:"gateway,omitempty"`
}

// narrowed returns host-local's configuration with ranges of so many addresses.
func narrowed(ipam json.RawMessage, count int) (json.RawMessage, error) {
	var conf struct {
		poolRange
		Ranges [][]poolRange
	}
	if err := json.Unmarshal(ipam, &conf); err != nil {
		return nil, fmt.Errorf("ipam: %w", err)
	}
	if conf.Subnet != "" {
		conf.Ranges = append([][]poolRange{{conf.poolRange}}, conf.Ranges...)
	}
	small := make([][]poolRange, 0, len(conf.Ranges))
	for _, set := range conf.Ranges {
		if len(set) == 0 {
			continue
		}
		r, err := set[0].narrowed(count)
		if err != nil {
			return nil, err
		}
		small = append(small, []poolRange{r})
	}
	var all map[string]any
	if err := json.Unmarshal(ipam, &all); err != nil {
		return nil, err
	}
	for _, key := range []string{"subnet", "rangeStart", "rangeEnd", "gateway"} {
		delete(all, key)
	}
	all["ranges"] = small
	return json.Marshal(all)
}

// narrowed returns the first addresses of the range, beyond the gateway's if that is not said.
func (r poolRange) narrowed(count int) (poolRange, error) {
	subnet, err := netip.ParsePrefix(r.Subnet)
	if err != nil {
		return r, fmt.Errorf("ipam: subnet: %w", err)
	}
	start := subnet.Masked().Addr().Next().Next()
	if r.RangeStart != "" {
		if start, err = netip.ParseAddr(r.RangeStart); err != nil {
			return r, fmt.Errorf("ipam: rangeStart: %w", err)
		}
	}
	if r.Gateway == start.String() {
		start = start.Next()
	}
	end := start
	for range count - 1 {
		end = end.Next()
	}
	last := end // an IPv4 subnet's own last address is its broadcast address
	if end.Is4() {
		last = end.Next()
	}
	if r.RangeEnd != "" {
		if last, err = netip.ParseAddr(r.RangeEnd); err != nil {
			return r, fmt.Errorf("ipam: rangeEnd: %w", err)
		}
	}
	if !subnet.Contains(last) || last.Less(end) {
		return r, fmt.Errorf("ipam: the range of subnet %s has not %d addresses", subnet, count)
	}
	r.RangeStart, r.RangeEnd = start.String(), end.String()
	return r, nil
}
