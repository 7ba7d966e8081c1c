package drivers

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
)

// A network is one of Docker's, as the engine has it.
type network struct {
	e     *engine
	ID    string
	Pools []*pool
	gone  bool
}

// An order is the one in which an engine starts a container.
type order string

const (
	modern order = "28 and newer" // the sandbox lives when Join is called
	old    order = "before 28"    // it is made after Join is answered
)

// request is what CreateNetwork is asked.
func (n *network) request() map[string]any {
	options := map[string]string{}
	maps.Copy(options, n.e.target.NetworkOptions)
	data := [2][]map[string]any{{}, {}}
	for _, p := range n.Pools {
		family := 0
		if p.Subnet.Addr().Is6() {
			family = 1
		}
		one := map[string]any{"AddressSpace": p.Space, "Pool": p.Subnet.String()}
		if p.Gateway.IsValid() {
			one["Gateway"] = p.Gateway.String()
		}
		data[family] = append(data[family], one)
	}
	return map[string]any{
		"NetworkID": n.ID,
		"Options": map[string]any{
			"com.docker.network.generic": options, "com.docker.network.enable_ipv4": true, "com.docker.network.enable_ipv6": len(data[1]) > 0,
		},
		"IPv4Data": data[0], "IPv6Data": data[1],
	}
}

// tryNetwork makes a network as docker network create does.
func (e *engine) tryNetwork(v6 bool) (*network, error) {
	n := &network{e: e, ID: newID()}
	families := []bool{false, true}
	if !v6 {
		families = families[:1]
	}
	for _, f := range families {
		p, err := e.pool(f)
		if err != nil {
			return nil, errors.Join(err, e.giveBack(n.Pools))
		}
		n.Pools = append(n.Pools, p)
	}
	if err := e.do("NetworkDriver.CreateNetwork", n.request(), nil); err != nil {
		return nil, errors.Join(err, e.giveBack(n.Pools))
	}
	if e.here {
		e.cleanup(func() { _ = n.remove() })
	}
	return n, nil
}

// network makes a network for IPv4, or ends the check.
func (e *engine) network() *network {
	n, err := e.tryNetwork(false)
	if err != nil {
		e.Fatalf("%v", err)
	}
	return n
}

// remove is docker network rm.
func (n *network) remove() error {
	if n.gone {
		return nil
	}
	n.gone = true
	err := n.e.giveBack(n.Pools)
	return errors.Join(err, n.e.do("NetworkDriver.DeleteNetwork", map[string]string{"NetworkID": n.ID}, nil))
}

// An iface is an endpoint's interface in the protocol's form.
type iface struct{ Address, AddressIPv6, MacAddress string }

// An endpoint is a container's on a network.
type endpoint struct {
	n         *network
	ID        string
	Addresses []netip.Prefix // of the IPAM driver, in the order of the network's pools
	Asked     iface
	Chosen    *iface // by the driver; nil: nothing
	Joined    joined
	Sandbox   *sandbox
	Name      string // of the interface in the sandbox; empty: none was moved in
	Ports     []binding
	has       struct{ addresses, endpoint, joined bool }
}

// A joined is what Join answers.
type joined struct {
	InterfaceName         *struct{ SrcName, DstPrefix, DstName string }
	Gateway, GatewayIPv6  string
	StaticRoutes          []staticRoute
	DisableGatewayService bool
}

type staticRoute struct {
	Destination string
	RouteType   int
	NextHop     string
}

// A binding is a port of the host that is to lead to one of a container.
type binding struct {
	Proto                 int // IANA's number
	IP                    string
	Port                  uint16
	HostIP                string
	HostPort, HostPortEnd uint16
}

// ref names the endpoint in a request.
func (p *endpoint) ref() map[string]any {
	return map[string]any{"NetworkID": p.n.ID, "EndpointID": p.ID}
}

// with is ref with what is asked beside.
func (p *endpoint) with(key string, value any) map[string]any {
	exposed, bindings := []map[string]any{}, []binding{} // engines send lists, empty ones too
	for _, b := range p.Ports {
		exposed = append(exposed, map[string]any{"Proto": b.Proto, "Port": b.Port})
		bindings = append(bindings, b)
	}
	request := p.ref()
	request["Options"] = map[string]any{"com.docker.network.endpoint.exposedports": exposed, "com.docker.network.portmap": bindings}
	request[key] = value
	return request
}

// prepare returns an endpoint with addresses.
func (n *network) prepare() (*endpoint, error) {
	p := &endpoint{n: n, ID: newID()}
	if n.e.here {
		n.e.cleanup(func() { _ = p.stop() })
	}
	p.has.addresses = true
	for _, pool := range n.Pools {
		a, err := n.e.anyAddress(pool)
		if err != nil {
			return p, err
		}
		p.Addresses = append(p.Addresses, a)
		if a.Addr().Is4() {
			p.Asked.Address = a.String()
		} else {
			p.Asked.AddressIPv6 = a.String()
		}
	}
	return p, nil
}

// create has the driver make the endpoint.
func (p *endpoint) create() error {
	var a struct{ Interface *iface }
	p.has.endpoint = true
	err := p.n.e.do("NetworkDriver.CreateEndpoint", p.with("Interface", p.Asked), &a)
	p.Chosen = a.Interface
	return err
}

// join has the driver give the endpoint to a new sandbox, and does the engine's part.
func (p *endpoint) join(o order) error {
	if err := p.callJoin(o); err != nil {
		return err
	}
	if o == old {
		if err := p.Sandbox.open(); err != nil {
			return err
		}
	}
	return p.furnish()
}

// callJoin calls Join and what an engine calls behind it.
func (p *endpoint) callJoin(o order) error {
	e := p.n.e
	p.Sandbox = &sandbox{Key: sandboxKey()}
	e.cleanup(p.Sandbox.remove)
	if o == modern {
		if err := p.Sandbox.open(); err != nil {
			return err
		}
	}
	p.has.joined = true
	if err := e.do("NetworkDriver.Join", p.with("SandboxKey", p.Sandbox.Key), &p.Joined); err != nil {
		return err
	}
	if p.Joined.Gateway != "" || p.Joined.GatewayIPv6 != "" {
		if err := e.optional("NetworkDriver.ProgramExternalConnectivity", p.with("NetworkID", p.n.ID)); err != nil {
			return err
		}
	}
	return e.do("NetworkDriver.EndpointOperInfo", p.ref(), nil)
}

// optional calls a method that a driver need not have.
func (e *engine) optional(method string, request any) error {
	body, err := encode(request)
	if err != nil {
		return err
	}
	a, err := e.post(e.socketOf(method), method, body)
	if err != nil || a.Status == http.StatusNotFound {
		return err
	}
	return a.refusal()
}

// tryEndpoint makes an endpoint in a sandbox, as docker run does. What was made until an
// error is in it.
func (n *network) tryEndpoint(o order) (*endpoint, error) {
	p, err := n.prepare()
	if err != nil {
		return p, err
	}
	if err := p.create(); err != nil {
		return p, err
	}
	return p, p.join(o)
}

// endpoint is tryEndpoint, or ends the check.
func (n *network) endpoint(o order) *endpoint {
	p, err := n.tryEndpoint(o)
	if err != nil {
		n.e.Fatalf("an engine of %s: %v", o, err)
	}
	return p
}

// stop is docker stop: the sandbox ends last. It goes on after an error, as engines do.
func (p *endpoint) stop() error {
	return errors.Join(p.leave(), p.remove())
}

// leave takes the interface out of the sandbox.
func (p *endpoint) leave() error {
	if !p.has.joined {
		return nil
	}
	p.has.joined = false
	var errs []error
	if p.Joined.Gateway != "" || p.Joined.GatewayIPv6 != "" {
		errs = append(errs, p.n.e.optional("NetworkDriver.RevokeExternalConnectivity", p.ref()))
	}
	errs = append(errs, p.n.e.do("NetworkDriver.Leave", p.ref(), nil))
	return errors.Join(append(errs, p.bringBack())...)
}

// remove has the driver forget the endpoint, and gives the addresses back.
func (p *endpoint) remove() error {
	errs := []error{p.forget()}
	if p.has.addresses {
		p.has.addresses = false
		for i, a := range p.Addresses {
			errs = append(errs, p.n.e.releaseAddress(p.n.Pools[i], a))
		}
	}
	if p.Sandbox != nil {
		p.Sandbox.remove()
	}
	return errors.Join(errs...)
}

// forget has the driver delete the endpoint.
func (p *endpoint) forget() error {
	if !p.has.endpoint {
		return nil
	}
	p.has.endpoint = false
	return p.n.e.do("NetworkDriver.DeleteEndpoint", p.ref(), nil)
}

// finish stops the endpoints and removes the network, and tells what went wrong.
func (n *network) finish(all ...*endpoint) {
	for _, p := range all {
		if err := p.stop(); err != nil {
			n.e.Errorf("%v", err)
		}
	}
	if err := n.remove(); err != nil {
		n.e.Errorf("%v", err)
	}
}

// eachOf runs do for so many at a time, and returns their errors.
func eachOf(count int, do func(i int) error) error {
	errs := make([]error, count)
	done := make(chan int)
	for i := range count {
		go func() {
			errs[i] = fmt.Errorf("ended") // by a Goexit
			defer func() { done <- i }()
			errs[i] = do(i)
		}()
	}
	for range count {
		<-done
	}
	return errors.Join(errs...)
}
