package wire

import (
	"fmt"
	"net/netip"

	"github.com/seamnet/seam/cnm"
)

// A joinForm is what Join asks, and without the sandbox what
// ProgramExternalConnectivity does.
type joinForm struct {
	endpointRef
	SandboxKey string
	Options    options
}

func (f *joinForm) value() (j *cnm.Join, err error) {
	if _, err := f.endpointRef.value(); err != nil {
		return nil, err
	}
	j = &cnm.Join{Network: f.NetworkID, Endpoint: f.EndpointID, Sandbox: f.SandboxKey}
	if j.Ports, err = f.Options.bindings(); err != nil {
		return nil, err
	}
	j.Exposed, err = f.Options.exposed()
	return j, err
}

// A joinCall is a joinForm on its way out.
type joinCall struct {
	endpointRef
	SandboxKey string `json:",omitempty"`
	Options    map[string]any
}

func encodeJoin(j *cnm.Join) (f joinCall, err error) {
	f.endpointRef, f.SandboxKey = endpointRef{j.Network, j.Endpoint}, j.Sandbox
	f.Options, err = encodePorts(j.Ports, j.Exposed)
	return f, err
}

type joinedForm struct {
	InterfaceName         *linkForm
	Gateway, GatewayIPv6  string
	StaticRoutes          []routeForm
	DisableGatewayService bool
}

type linkForm struct {
	SrcName, DstPrefix string
	DstName            string `json:",omitempty"`
}

// A route's type says whether it has a next hop.
const (
	routeByNextHop = 0
	routeConnected = 1
)

type routeForm struct {
	Destination string
	RouteType   int
	NextHop     string
}

func encodeJoined(j *cnm.Joined) (f joinedForm, err error) {
	if j == nil {
		return f, nil
	}
	f.DisableGatewayService = j.NoGatewayService
	if l := j.Link; l != nil {
		f.InterfaceName = &linkForm{l.Name, l.Prefix, l.Inside}
	}
	for _, g := range j.Gateways {
		field := &f.Gateway
		if g.Is6() {
			field = &f.GatewayIPv6
		}
		if *field != "" {
			return f, fmt.Errorf("gateways: %w", errTwo)
		}
		*field = textOf(g)
	}
	for _, r := range j.Routes {
		form := routeForm{Destination: textOf(r.Dst), RouteType: routeConnected, NextHop: textOf(r.NextHop)}
		if r.NextHop.IsValid() {
			form.RouteType = routeByNextHop
		}
		f.StaticRoutes = append(f.StaticRoutes, form)
	}
	return f, nil
}

func (f *joinedForm) value() (*cnm.Joined, error) {
	j := &cnm.Joined{NoGatewayService: f.DisableGatewayService}
	if l := f.InterfaceName; l != nil && l.SrcName != "" {
		j.Link = &cnm.Link{Name: l.SrcName, Prefix: l.DstPrefix, Inside: l.DstName}
	}
	for _, field := range [...]struct{ name, text string }{{"Gateway", f.Gateway}, {"GatewayIPv6", f.GatewayIPv6}} {
		g, err := parseAddr(field.name, field.text)
		if err != nil {
			return nil, err
		}
		if g.IsValid() {
			j.Gateways = append(j.Gateways, g)
		}
	}
	for _, form := range f.StaticRoutes {
		r, err := form.value()
		if err != nil {
			return nil, fmt.Errorf("route: %w", err)
		}
		j.Routes = append(j.Routes, r)
	}
	return j, nil
}

// value heeds the type, as engines do: of a connected route the next hop means nothing.
func (f *routeForm) value() (r cnm.Route, err error) {
	if r.Dst, err = netip.ParsePrefix(f.Destination); err != nil {
		return r, fmt.Errorf("destination: %w", err)
	}
	if f.RouteType == routeConnected {
		return r, nil
	}
	r.NextHop, err = parseAddr("NextHop", f.NextHop)
	return r, err
}
