package cnm

import (
	"context"
	"net"
	"net/netip"
)

// A NetworkID, an EndpointID and a PoolID are what an engine, or for pools an IPAM
// driver, calls one of these: 64 hexadecimal digits of a network and an endpoint, anything
// of a pool.
type (
	NetworkID  string
	EndpointID string
	PoolID     string
)

// A Driver makes networks and gives sandboxes, which are containers' network
// namespaces, an endpoint on them.
type Driver interface {
	Capabilities(ctx context.Context) (Capabilities, error)

	// CreateNetwork makes the network. An engine has no name for it yet.
	CreateNetwork(ctx context.Context, n *Network) error

	// DeleteNetwork removes it. An engine ignores the error.
	DeleteNetwork(ctx context.Context, id NetworkID) error

	Endpoints
}

// Endpoints are the verbs about one endpoint.
type Endpoints interface {
	// CreateEndpoint makes the endpoint and returns what of its interface the engine
	// left open and the driver has chosen; nil: nothing. A value for what the engine has
	// set is an error to an engine.
	CreateEndpoint(ctx context.Context, e *Endpoint) (*Interface, error)

	// DeleteEndpoint removes it, joined or not.
	DeleteEndpoint(ctx context.Context, network NetworkID, id EndpointID) error

	// Join gives the sandbox the endpoint.
	Join(ctx context.Context, j *Join) (*Joined, error)

	// Leave takes it away. An engine may call it twice.
	Leave(ctx context.Context, network NetworkID, id EndpointID) error

	// EndpointInfo returns what the driver wants to tell, by key; nil: nothing.
	EndpointInfo(ctx context.Context, network NetworkID, id EndpointID) (map[string]any, error)
}

// Connectivity is what a Driver may have beside: an engine calls Program when the
// endpoint has become the one that its sandbox's default route leads to, and Revoke when
// it no longer is.
type Connectivity interface {
	Program(ctx context.Context, j *Join) error
	Revoke(ctx context.Context, network NetworkID, id EndpointID) error
}

// A Scope says how far a network of a driver reaches.
type Scope string

const (
	ScopeLocal  Scope = "local"  // one host
	ScopeGlobal Scope = "global" // a swarm
)

// Capabilities are of a network driver.
type Capabilities struct {
	Scope        Scope // of the names of its networks
	Connectivity Scope // of their traffic; empty: as Scope
}

// A Network is one as an engine asks for it.
type Network struct {
	ID       NetworkID
	Pools    []AddressPool     // of IPv4, then those of IPv6
	Options  map[string]string // each -o KEY=VALUE, of docker network create
	IPv6     bool              // --ipv6
	NoIPv4   bool              // --ipv4=false; engines from 28 on
	Internal bool              // --internal: no way out
}

// An AddressPool is what an IPAM driver gave a network.
type AddressPool struct {
	Space   string
	Subnet  netip.Prefix
	Gateway netip.Prefix            // the address with the subnet's length; invalid: none
	Aux     map[string]netip.Prefix // --aux-address: not for containers
}

// An Endpoint is one as an engine asks for it.
type Endpoint struct {
	Network   NetworkID
	ID        EndpointID
	Interface Interface // what the engine has set: by its IPAM driver, --ip, --mac-address
	Ports     []PortBinding
	Exposed   []Port
	DNS       []netip.Addr      // --dns
	Name      string            // of the interface inside, if the user chose one; engines from 28 on
	Options   map[string]string // each --driver-opt KEY=VALUE
}

// An Interface is the inner end of an endpoint.
type Interface struct {
	Addresses []netip.Prefix   // at most one of each family
	MAC       net.HardwareAddr // nil: not set
}

// IsZero reports whether nothing is set.
func (i *Interface) IsZero() bool { return i == nil || len(i.Addresses) == 0 && i.MAC == nil }

// A Port is one of a container.
type Port struct {
	Protocol string // tcp, udp or sctp
	Number   uint16
}

// A PortBinding is a port of the host that is to lead to one of the container.
type PortBinding struct {
	Port
	IP          netip.Addr // of the container; invalid: its own
	HostIP      netip.Addr // invalid, or unspecified: all of the host's
	HostPort    uint16     // 0: the driver chooses one (-P)
	HostPortEnd uint16     // the last of a range from which the driver chooses; 0: HostPort
}

// A Join is an endpoint on its way into a sandbox.
type Join struct {
	Network  NetworkID
	Endpoint EndpointID
	Sandbox  string // path of the namespace; engines before 28 mount it only later when a container starts
	Ports    []PortBinding
	Exposed  []Port
}

// Joined is what is left to the engine to do.
type Joined struct {
	// Link is the link, in the host's namespace, that the engine is to move to the
	// sandbox and give the endpoint's addresses; nil: there is none to move.
	Link *Link

	Gateways []netip.Addr // of the default routes, at most one of each family
	Routes   []Route      // others

	// NoGatewayService keeps the engine from adding a second interface, of its own, for
	// a way out where there is no gateway.
	NoGatewayService bool
}

// A Link is one that an engine moves to a sandbox.
type Link struct {
	Name   string // in the host's namespace; empty: there is none to move, though it has a prefix
	Prefix string // of its name in the sandbox; the engine adds a number
	Inside string // its name in the sandbox, instead; engines from 29 on
}

// A Route is to be made in the sandbox.
type Route struct {
	Dst     netip.Prefix
	NextHop netip.Addr // invalid: Dst is on the link itself
}
