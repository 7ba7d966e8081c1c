package wire

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/seamnet/seam/cnm"
)

var (
	_ cnm.Driver       = (*Client)(nil)
	_ cnm.Connectivity = (*Client)(nil)
	_ cnm.IPAM         = (*Client)(nil)
)

// Capabilities returns what the driver says of itself.
func (c *Client) Capabilities(ctx context.Context) (cnm.Capabilities, error) {
	const method = "NetworkDriver.GetCapabilities"
	var answer capabilitiesForm
	if err := c.call(ctx, method, nil, &answer); err != nil {
		return cnm.Capabilities{}, err
	}
	for _, s := range [...]cnm.Scope{answer.Scope, answer.ConnectivityScope} {
		if s != cnm.ScopeLocal && s != cnm.ScopeGlobal && (s != "" || answer.Scope == "") {
			return cnm.Capabilities{}, c.misanswered(method, fmt.Errorf("scope %q is neither local nor global", s))
		}
	}
	return cnm.Capabilities{Scope: answer.Scope, Connectivity: answer.ConnectivityScope}, nil
}

// CreateNetwork has the driver make a network.
func (c *Client) CreateNetwork(ctx context.Context, n *cnm.Network) error {
	return c.call(ctx, "NetworkDriver.CreateNetwork", encodeNetwork(n), &nothing{})
}

// DeleteNetwork has it remove one.
func (c *Client) DeleteNetwork(ctx context.Context, id cnm.NetworkID) error {
	return c.call(ctx, "NetworkDriver.DeleteNetwork", networkRef{id}, &nothing{})
}

// CreateEndpoint has the driver make an endpoint. What it chose may contradict what e
// sets: the caller, who alone knows what it can bear, is to look.
func (c *Client) CreateEndpoint(ctx context.Context, e *cnm.Endpoint) (*cnm.Interface, error) {
	const method = "NetworkDriver.CreateEndpoint"
	request, err := encodeEndpoint(e)
	if err != nil {
		return nil, c.unasked(method, err)
	}
	var answer chosenForm
	if err := c.call(ctx, method, request, &answer); err != nil {
		return nil, err
	}
	i, err := answer.value()
	if err != nil {
		return nil, c.misanswered(method, err)
	}
	return i, nil
}

// DeleteEndpoint has it remove one.
func (c *Client) DeleteEndpoint(ctx context.Context, network cnm.NetworkID, id cnm.EndpointID) error {
	return c.call(ctx, "NetworkDriver.DeleteEndpoint", endpointRef{network, id}, &nothing{})
}

// Join has the driver give a sandbox the endpoint.
func (c *Client) Join(ctx context.Context, j *cnm.Join) (*cnm.Joined, error) {
	const method = "NetworkDriver.Join"
	request, err := encodeJoin(j)
	if err != nil {
		return nil, c.unasked(method, err)
	}
	var answer joinedForm
	if err := c.call(ctx, method, request, &answer); err != nil {
		return nil, err
	}
	joined, err := answer.value()
	if err != nil {
		return nil, c.misanswered(method, err)
	}
	return joined, nil
}

// Leave has it take the endpoint away.
func (c *Client) Leave(ctx context.Context, network cnm.NetworkID, id cnm.EndpointID) error {
	return c.call(ctx, "NetworkDriver.Leave", endpointRef{network, id}, &nothing{})
}

// EndpointInfo returns what the driver tells of an endpoint.
func (c *Client) EndpointInfo(ctx context.Context, network cnm.NetworkID, id cnm.EndpointID) (map[string]any, error) {
	var answer infoForm
	if err := c.call(ctx, "NetworkDriver.EndpointOperInfo", endpointRef{network, id}, &answer); err != nil {
		return nil, err
	}
	return answer.Value, nil
}

// Program is passed over, as engines do, if the driver has no such method.
func (c *Client) Program(ctx context.Context, j *cnm.Join) error {
	const method = "NetworkDriver.ProgramExternalConnectivity"
	request, err := encodeJoin(j)
	if err != nil {
		return c.unasked(method, err)
	}
	request.SandboxKey = ""
	return optional(c.call(ctx, method, request, &nothing{}))
}

// Revoke is passed over likewise.
func (c *Client) Revoke(ctx context.Context, network cnm.NetworkID, id cnm.EndpointID) error {
	return optional(c.call(ctx, "NetworkDriver.RevokeExternalConnectivity", endpointRef{network, id}, &nothing{}))
}

// IPAMCapabilities asks for the address spaces, and for the capabilities of those
// drivers that have the method.
func (c *Client) IPAMCapabilities(ctx context.Context) (cnm.IPAMCapabilities, error) {
	var s spaces
	if err := c.call(ctx, "IpamDriver.GetDefaultAddressSpaces", nil, &s); err != nil {
		return cnm.IPAMCapabilities{}, err
	}
	var r requirements
	if err := optional(c.call(ctx, "IpamDriver.GetCapabilities", nil, &r)); err != nil {
		return cnm.IPAMCapabilities{}, err
	}
	return cnm.IPAMCapabilities{
		LocalSpace: s.LocalDefaultAddressSpace, GlobalSpace: s.GlobalDefaultAddressSpace,
		RequiresMAC: r.RequiresMACAddress, RequiresReplay: r.RequiresRequestReplay,
	}, nil
}

// RequestPool has the driver reserve a subnet.
func (c *Client) RequestPool(ctx context.Context, r *cnm.PoolRequest) (*cnm.Pool, error) {
	const method = "IpamDriver.RequestPool"
	var answer reservedPool
	if err := c.call(ctx, method, encodePoolRequest(r), &answer); err != nil {
		return nil, err
	}
	pool, err := answer.value()
	if err != nil {
		return nil, c.misanswered(method, err)
	}
	return pool, nil
}

// ReleasePool has it free one.
func (c *Client) ReleasePool(ctx context.Context, id cnm.PoolID) error {
	return c.call(ctx, "IpamDriver.ReleasePool", poolRef{id}, &nothing{})
}

// RequestAddress has the driver reserve an address.
func (c *Client) RequestAddress(ctx context.Context, r *cnm.AddressRequest) (netip.Prefix, error) {
	const method = "IpamDriver.RequestAddress"
	var answer reservedAddress
	if err := c.call(ctx, method, encodeAddressRequest(r), &answer); err != nil {
		return netip.Prefix{}, err
	}
	a, err := answer.value()
	if err != nil {
		return netip.Prefix{}, c.misanswered(method, err)
	}
	return a, nil
}

// ReleaseAddress has it free one.
func (c *Client) ReleaseAddress(ctx context.Context, pool cnm.PoolID, addr netip.Addr) error {
	return c.call(ctx, "IpamDriver.ReleaseAddress", addressRef{PoolID: pool, Address: textOf(addr)}, &nothing{})
}

func optional(err error) error {
	if errors.Is(err, ErrNoMethod) {
		return nil
	}
	return err
}

// unasked is of a request that the protocol cannot say.
func (c *Client) unasked(method string, err error) error {
	return fmt.Errorf("driver %s: %s: request: %w", c.name, method, err)
}

func (c *Client) misanswered(method string, err error) error {
	return fmt.Errorf("driver %s: %s: answer: %w", c.name, method, err)
}
