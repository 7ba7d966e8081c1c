package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// attach runs the chain for the endpoint in the namespace at netNS.
func (d *Driver) attach(ctx context.Context, n *network, chain *seam.Network, e *endpoint, netNS string, c *who) (*cni.Result, error) {
	if g := guestOn(n, chain); g != nil {
		if err := d.welcome(ctx, n, g, chain); err != nil {
			return nil, err
		}
	}
	chain, err := d.pinned(n, e, chain)
	if err != nil {
		return nil, err
	}
	wishes, err := d.wishes(n, e, chain, c)
	if err != nil {
		return nil, err
	}
	e.Chain = chain.Raw
	if err := d.publish(n, e, chain, wishes.Ports); err != nil {
		return nil, err
	}
	wishes.Ports = e.Ports
	container := e.container(netNS)
	if container.Args, container.Capabilities, err = wishes.Express(chain); err != nil {
		return nil, explain(err)
	}
	return d.conf.Runtime.Attach(ctx, chain, container)
}

// wishes returns what the endpoint is to have beside published ports.
func (d *Driver) wishes(n *network, e *endpoint, chain *seam.Network, c *who) (seam.Wishes, error) {
	o, err := n.options()
	if err != nil {
		return seam.Wishes{}, err
	}
	want := wanted{endpoint: &e.Asked, defaults: o.Defaults, networks: []string{chain.Name}, takes: chain.Capabilities()}
	if c != nil {
		want.labels = c.Labels
		want.networks = append(want.networks, c.Networks[n.Asked.ID])
	}
	w, warnings, err := want.wishes()
	if err != nil {
		return w, err
	}
	for _, text := range warnings {
		d.conf.Log.Warn(text, "endpoint", short(e.id()), "container", e.Name)
	}
	if mac := e.mac(); mac != nil {
		d.tooLate(e, c, "seam.mac", w.MAC != "" && !strings.EqualFold(w.MAC, mac.String()))
		w.MAC = mac.String()
	}
	if e.Lease != nil || len(e.Asked.Interface.Addresses) > 0 {
		d.tooLate(e, c, "seam.ip", e.Lease != nil && len(w.IPs) > 0 && len(e.Asked.Options[optionPrefix+"ip"]) == 0)
		w.IPs = nil // they are the endpoint's already
	}
	if d.asks(n, e, chain) {
		for _, p := range e.Asked.Interface.Addresses {
			w.IPs = append(w.IPs, p.Addr().String())
		}
	}
	return w, nil
}

// tooLate warns of a label for what the engine wants to know before it says whose the
// endpoint is.
func (d *Driver) tooLate(e *endpoint, c *who, label string, is bool) {
	if is && c != nil {
		d.conf.Log.Warn("label not heeded, as it is known too late: give it as --driver-opt", "label", label, "endpoint", short(e.id()), "container", e.Name)
	}
}

// explain adds to a wish that the chain does not take what to do about it.
func explain(err error) error {
	if untaken, ok := errors.AsType[*seam.UntakenError](err); ok {
		return fmt.Errorf("%w: %s", err, untaken.Hint())
	}
	return err
}

// publish chooses the endpoint's published ports, to which wished ones come, and writes
// them down. Engines tell all endpoints of a container of its ports: the first that it
// joins publishes them. On networks made of options that have no way to, which stand on an
// interface of the host, they are passed over, as Docker's own drivers do.
func (d *Driver) publish(n *network, e *endpoint, chain *seam.Network, wished []cni.PortMapping) error {
	o, err := n.options()
	if err != nil {
		return err
	}
	d.ports.Lock()
	defer d.ports.Unlock()
	bindings := e.Asked.Ports
	if len(bindings) > 0 && n.isGenerated() && !slices.Contains(chain.Capabilities(), cni.CapabilityPorts) {
		d.conf.Log.Warn("ports are not published: the network stands on an interface of the host, where containers have addresses of their own", "endpoint", short(e.id()))
		bindings = nil
	}
	var holders []holder
	for _, other := range d.endpoints.all() {
		switch {
		case other.id() == e.id():
		case len(other.Ports) > 0 && other.Sandbox == e.Sandbox && e.Sandbox != "":
			bindings = nil
		case len(other.Ports) > 0:
			holders = append(holders, holder{other.Ports, cmp.Or(other.Name, "endpoint "+short(other.id()))})
		}
	}
	e.Ports = nil
	if len(bindings) > 0 {
		p := publishing{hostIP: o.HostIP, seed: e.id(), free: free(holders)}
		if e.Ports, err = p.mappings(bindings); err != nil {
			return err
		}
	}
	e.Ports = append(e.Ports, wished...)
	return d.endpoints.put(e.id(), e)
}

// pinned returns the chain with the endpoint's addresses: as they are reserved already,
// by the engine's IPAM driver or ahead of the interface, the chain's own IPAM is not to
// give others. Addresses of the engine's that the chain's IPAM could give to a pod stay
// that one's to give, and are asked of it (see wishes).
func (d *Driver) pinned(n *network, e *endpoint, chain *seam.Network) (*seam.Network, error) {
	addresses := e.Asked.Interface.Addresses
	switch {
	case e.Lease != nil:
		return pinLease(chain, e.Lease)
	case len(addresses) == 0:
		return chain, nil
	case d.asks(n, e, chain):
		return asking(chain, addresses)
	}
	pinned, err := pinAddresses(chain, addresses, n.Asked.Pools)
	if err == nil && guestOn(n, chain) != nil {
		return asGuest(pinned)
	}
	return pinned, err
}

// asks reports whether the endpoint's addresses are asked of the chain's IPAM when the
// chain runs.
func (d *Driver) asks(n *network, e *endpoint, chain *seam.Network) bool {
	for _, pool := range n.Asked.Pools {
		if d.Owns(pool.Space) {
			return false // it gave them
		}
	}
	all := e.Asked.Interface.Addresses
	return len(all) > 0 && !slices.ContainsFunc(all, func(p netip.Prefix) bool { return !contains(chain, p.Addr()) })
}

// detach undoes what attach did, if anything.
func (d *Driver) detach(ctx context.Context, e *endpoint) error {
	if len(e.Chain) == 0 {
		return nil
	}
	chain, err := seam.Parse(e.Chain, "")
	if err != nil {
		return err
	}
	netNS, err := d.bringBack(chain, e)
	if err != nil {
		return err
	}
	if err := d.conf.Runtime.Detach(ctx, chain, e.container(netNS)); err != nil {
		return err
	}
	e.Chain, e.Ports, e.Rest, e.Joined, e.Sandbox, e.Kept = nil, nil, nil, nil, "", false
	return d.endpoints.put(e.id(), e)
}

// revise brings the runtime's record up to date.
func (d *Driver) revise(ctx context.Context, e *endpoint, change func(*seam.Record)) error {
	chain, err := seam.Parse(e.Chain, "")
	if err != nil {
		return err
	}
	return d.conf.Runtime.Revise(ctx, chain, e.container(""), change)
}

// ownMAC lists the interface plugins whose links have the MAC that they are told, or
// bear one that is set later. Others' is known when the link is there, and the engine not
// told of it: a MAC that is not the link's would be worse than none.
var ownMAC = []string{"bridge", "macvlan", "ptp", "vlan", "dummy", "tap"}

func choosesMAC(chain *seam.Network) bool { return slices.Contains(ownMAC, chain.Plugins[0].Type) }

// newMAC returns a MAC for the endpoint: local, unicast, and always the same for an
// address, as Docker's own are: who knew the address's last owner goes on with the next one.
func newMAC(e *endpoint, chain *seam.Network) net.HardwareAddr {
	of := chain.Name + "/" + e.id()
	if addresses := e.addresses(); len(addresses) > 0 {
		of = chain.Name + "/" + addresses[0].Addr().String()
	}
	sum := sha256.Sum256([]byte(of))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^1 | 2
	return mac
}
