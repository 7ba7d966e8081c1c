package wire

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cnm"
)

type capabilitiesForm struct {
	Scope             cnm.Scope
	ConnectivityScope cnm.Scope `json:",omitempty"`
}

// encodeCapabilities says local where nothing is said: an engine refuses no scope.
func encodeCapabilities(c cnm.Capabilities) capabilitiesForm {
	if c.Scope == "" {
		c.Scope = cnm.ScopeLocal
	}
	return capabilitiesForm{c.Scope, c.Connectivity}
}

type networkRef struct{ NetworkID cnm.NetworkID }

func (f *networkRef) value() (cnm.NetworkID, error) {
	return f.NetworkID, checkID("NetworkID", string(f.NetworkID))
}

type networkForm struct {
	NetworkID          cnm.NetworkID
	Options            options
	IPv4Data, IPv6Data []poolForm
}

func (f *networkForm) value() (n *cnm.Network, err error) {
	n = &cnm.Network{ID: f.NetworkID}
	if err := checkID("NetworkID", string(f.NetworkID)); err != nil {
		return nil, err
	}
	for _, form := range append(append([]poolForm(nil), f.IPv4Data...), f.IPv6Data...) {
		pool, err := form.value()
		if err != nil {
			return nil, err
		}
		n.Pools = append(n.Pools, pool)
	}
	slices.SortStableFunc(n.Pools, func(a, b cnm.AddressPool) int { return a.Subnet.Addr().BitLen() - b.Subnet.Addr().BitLen() })
	var generic options
	if _, err := f.Options.get(keyGeneric, &generic); err != nil {
		return nil, err
	}
	n.Options = generic.texts()
	if n.IPv6, err = f.Options.flag(keyIPv6, false); err != nil {
		return nil, err
	}
	ipv4, err := f.Options.flag(keyIPv4, true)
	if err != nil {
		return nil, err
	}
	n.NoIPv4 = !ipv4
	n.Internal, err = f.Options.flag(keyInternal, false)
	return n, err
}

// A networkCall is a networkForm on its way out.
type networkCall struct {
	NetworkID          cnm.NetworkID
	Options            map[string]any
	IPv4Data, IPv6Data []poolForm
}

func encodeNetwork(n *cnm.Network) networkCall {
	generic := n.Options
	if generic == nil {
		generic = map[string]string{}
	}
	f := networkCall{NetworkID: n.ID, IPv4Data: []poolForm{}, IPv6Data: []poolForm{}}
	f.Options = map[string]any{keyGeneric: generic, keyIPv4: !n.NoIPv4, keyIPv6: n.IPv6}
	if n.Internal {
		f.Options[keyInternal] = true
	}
	for _, p := range n.Pools {
		data := &f.IPv4Data
		if p.Subnet.Addr().Is6() {
			data = &f.IPv6Data
		}
		*data = append(*data, encodeAddressPool(p))
	}
	return f
}

// A poolForm is a cnm.AddressPool.
type poolForm struct {
	AddressSpace string
	Pool         string            `json:",omitempty"`
	Gateway      string            `json:",omitempty"`
	AuxAddresses map[string]string `json:",omitempty"`
}

func (f *poolForm) value() (p cnm.AddressPool, err error) {
	p.Space = f.AddressSpace
	if p.Subnet, err = parsePrefix("Pool", f.Pool); err != nil {
		return p, err
	}
	if p.Gateway, err = parsePrefix("Gateway", f.Gateway); err != nil {
		return p, err
	}
	if len(f.AuxAddresses) > 0 {
		p.Aux = map[string]netip.Prefix{}
	}
	for name, text := range f.AuxAddresses {
		if p.Aux[name], err = parsePrefix("AuxAddresses", text); err != nil {
			return p, err
		}
	}
	return p, nil
}

func encodeAddressPool(p cnm.AddressPool) poolForm {
	f := poolForm{AddressSpace: p.Space, Pool: textOf(p.Subnet), Gateway: textOf(p.Gateway)}
	for name, aux := range p.Aux {
		if f.AuxAddresses == nil {
			f.AuxAddresses = map[string]string{}
		}
		f.AuxAddresses[name] = textOf(aux)
	}
	return f
}

type endpointRef struct {
	NetworkID  cnm.NetworkID
	EndpointID cnm.EndpointID
}

func (f *endpointRef) value() (endpointRef, error) {
	if err := checkID("NetworkID", string(f.NetworkID)); err != nil {
		return *f, err
	}
	return *f, checkID("EndpointID", string(f.EndpointID))
}

type infoForm struct{ Value map[string]any }

type endpointForm struct {
	endpointRef
	Interface *interfaceForm
	Options   options
}

func (f *endpointForm) value() (e *cnm.Endpoint, err error) {
	if _, err := f.endpointRef.value(); err != nil {
		return nil, err
	}
	e = &cnm.Endpoint{Network: f.NetworkID, ID: f.EndpointID}
	if e.Interface, err = f.Interface.value(); err != nil {
		return nil, err
	}
	if e.Ports, err = f.Options.bindings(); err != nil {
		return nil, err
	}
	if e.Exposed, err = f.Options.exposed(); err != nil {
		return nil, err
	}
	if e.DNS, err = f.Options.dns(); err != nil {
		return nil, err
	}
	if e.Interface.MAC == nil {
		if e.Interface.MAC, err = f.Options.mac(); err != nil {
			return nil, err
		}
	}
	e.Name, _ = scalar(f.Options[keyIfName])
	e.Options = f.Options.texts(keyExposed, keyPorts, keyDNS, keyMAC, keyIfName)
	return e, nil
}

// An endpointCall is an endpointForm on its way out.
type endpointCall struct {
	endpointRef
	Interface interfaceForm
	Options   map[string]any
}

func encodeEndpoint(e *cnm.Endpoint) (f endpointCall, err error) {
	f.endpointRef = endpointRef{e.Network, e.ID}
	if f.Interface, err = encodeInterface(&e.Interface); err != nil {
		return f, fmt.Errorf("interface: %w", err)
	}
	if f.Options, err = encodePorts(e.Ports, e.Exposed); err != nil {
		return f, err
	}
	if len(e.DNS) > 0 {
		f.Options[keyDNS] = e.DNS
	}
	if e.Interface.MAC != nil {
		f.Options[keyMAC] = e.Interface.MAC
	}
	if e.Name != "" {
		f.Options[keyIfName] = e.Name
	}
	for key, text := range maps.All(e.Options) {
		f.Options[key] = text
	}
	return f, nil
}
