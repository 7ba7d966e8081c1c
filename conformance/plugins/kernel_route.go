package plugins

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/link"
	"golang.org/x/sys/unix"
)

// routes returns the routes over the pod's interface, of all tables: plugins that come
// later in a chain may have moved them.
func (a *attachment) routes() []link.Route {
	routes, err := a.Pod.links.Routes(a.own())
	a.h.Must(err)
	return routes
}

// agrees reports whether the pod's route is the one of the result. A gateway that the
// result leaves out is the plugin's to choose.
func agrees(r link.Route, want cni.Route) bool {
	return r.Dst.Masked() == want.Dst.Masked() && (!want.GW.IsValid() || r.GW == want.GW || want.GW.IsUnspecified())
}

func checkRoutes(h *host) {
	a := h.attach(h.pod())
	if len(a.Result.Routes) == 0 {
		h.Skipf("the result has no routes")
	}
	routes := a.routes()
	for _, want := range a.Result.Routes {
		if !slices.ContainsFunc(routes, func(r link.Route) bool { return agrees(r, want) }) {
			h.Errorf("the result has the route %v; the pod has %v", link.Route{Route: want}, routes)
		}
	}
}

// told gives the network's IPAM plugin other routes to hand out, or skips the check.
func (h *host) told(routes string) {
	changed := false
	for _, m := range h.network.Members {
		ipam, err := wire.ParseObject(m.Conf.Get("ipam"))
		if err != nil || ipam.Get("ranges") == nil && ipam.Get("addresses") == nil && ipam.Get("subnet") == nil {
			continue
		}
		ipam.Set("routes", json.RawMessage(routes))
		m.Conf.Set("ipam", ipam.Bytes())
		changed = true
	}
	if !changed {
		h.Skipf("how to tell the network's IPAM plugin other routes is not known")
	}
}

// toldOne has one route handed out, to a network that is nowhere else, and returns it as
// the result and as the pod have it.
func (h *host) toldOne(keys string) (want cni.Route, got []link.Route) {
	if h.network.Version < "1.1.0" {
		h.Skipf("version %s does not know a route's keys", h.network.Version)
	}
	dst := netip.MustParsePrefix("198.51.100.0/24")
	h.told(fmt.Sprintf(`[{"dst":%q,%s}]`, dst, keys))
	a := h.attach(h.pod())
	i := slices.IndexFunc(a.Result.Routes, func(r cni.Route) bool { return r.Dst == dst })
	if i < 0 || a.addr(dst.Addr()) == (netip.Addr{}) {
		h.Skipf("the result has not the route to %v that the IPAM plugin was told", dst)
	}
	for _, r := range a.routes() {
		if r.Dst == dst {
			got = append(got, r)
		}
	}
	return a.Result.Routes[i], got
}

func checkRouteKeys(h *host) {
	if h.network.has("vrfname") {
		h.Skipf("a VRF has the routes in its own table")
	}
	want, got := h.toldOne(`"priority":77,"table":1077`)
	ok := func(r link.Route) bool {
		return r.Priority == want.Priority && r.Table != nil && want.Table != nil && *r.Table == *want.Table
	}
	if !slices.ContainsFunc(got, ok) {
		h.Errorf("the route was told priority 77 and table 1077; the result says %v, the pod has %v", link.Route{Route: want}, got)
	}
}

func checkRouteMetrics(h *host) {
	want, got := h.toldOne(`"mtu":1333,"advmss":1111`)
	if !slices.ContainsFunc(got, func(r link.Route) bool { return r.MTU == 1333 && r.AdvMSS == 1111 }) {
		h.Errorf("the route was told mtu 1333 and advmss 1111; the result says %v, the pod has %v", link.Route{Route: want}, got)
	}
}

// inMain reports whether the route is in the table that all packets ask.
func inMain(r link.Route) bool { return r.Table == nil || *r.Table == unix.RT_TABLE_MAIN }

func checkNoDefaultRoute(h *host) {
	h.told("[]")
	a := h.attach(h.pod())
	for _, r := range a.routes() {
		named := slices.ContainsFunc(a.Result.Routes, func(want cni.Route) bool { return want.Dst.Masked() == r.Dst.Masked() })
		if r.Dst.Bits() == 0 && inMain(r) && !named {
			h.Errorf("the pod has the route %v; the result has %v", r, a.Result.Routes)
		}
	}
}
