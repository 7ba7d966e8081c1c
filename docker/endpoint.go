package docker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/ahead"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// An endpoint is one of Docker's, and what became of it. It is written down before
// anything is done for it, and after each step.
type endpoint struct {
	Asked   cnm.Endpoint   `json:"asked"`
	Answer  *cnm.Interface `json:"answer,omitempty"` // what the driver chose
	Created time.Time      `json:"created"`

	// Ahead says that addresses were asked of the chain's IPAM before there is an
	// interface: they are to be given back.
	Ahead string      `json:"ahead,omitempty"` // of which network; empty: of none
	Lease *cni.Result `json:"lease,omitempty"` // what it said

	// Chain is the network that the endpoint is attached to, or was begun to be; empty:
	// none. It is the file as it was then, its addresses pinned.
	Chain  []byte            `json:"chain,omitempty"`
	IfName string            `json:"ifname,omitempty"`
	Ports  []cni.PortMapping `json:"ports,omitempty"` // published

	Staged  bool        `json:"staged,omitempty"`  // the chain ran in a staging namespace, not in the sandbox
	Kept    bool        `json:"kept,omitempty"`    // the engine was not handed the interface
	Sandbox string      `json:"sandbox,omitempty"` // that was joined; empty: none
	Joined  *cnm.Joined `json:"joined,omitempty"`  // what was answered then

	// Rest is what the engine does not carry over with the interface, until it was added to
	// the sandbox.
	Rest *link.Snapshot `json:"rest,omitempty"`

	Deleted   bool   `json:"deleted,omitempty"`   // by the engine, which does not ask again: see Run
	Container string `json:"container,omitempty"` // its ID; empty: the engine did not say
	Name      string `json:"name,omitempty"`      // of the container
}

func (e *endpoint) id() string { return string(e.Asked.ID) }

// addresses are the interface's, whoever chose them.
func (e *endpoint) addresses() []netip.Prefix {
	if len(e.Asked.Interface.Addresses) > 0 {
		return e.Asked.Interface.Addresses
	}
	if e.Answer != nil {
		return e.Answer.Addresses
	}
	return nil
}

// mac is the interface's, whoever chose it; nil: the chain does.
func (e *endpoint) mac() net.HardwareAddr {
	switch {
	case e.Asked.Interface.MAC != nil:
		return e.Asked.Interface.MAC
	case e.Answer != nil:
		return e.Answer.MAC
	}
	return nil
}

// container is the endpoint in the runtime's words.
func (e *endpoint) container(netNS string) seam.Container {
	return seam.Container{ID: e.id(), IfName: e.IfName, NetNS: netNS, Name: e.Name}
}

// CreateEndpoint says what the engine does not know yet of the interface: addresses, if
// no IPAM driver gave them, and the MAC.
func (d *Driver) CreateEndpoint(ctx context.Context, asked *cnm.Endpoint) (*cnm.Interface, error) {
	n, err := d.known(asked.Network)
	if err != nil {
		return nil, err
	}
	release, err := d.endpoints.hold(ctx, string(asked.ID))
	if err != nil {
		return nil, err
	}
	defer release()
	if have := d.endpoints.get(string(asked.ID)); have != nil {
		if have.Answer != nil && len(have.addresses()) > 0 && !have.Deleted && reflect.DeepEqual(have.Asked, *asked) {
			return have.Answer, nil // asked again, as after a connection that broke
		}
		if err := d.dissolve(ctx, have); err != nil {
			return nil, fmt.Errorf("what an earlier endpoint of this ID left: %w", err)
		}
	}
	e := &endpoint{Asked: *asked, Created: time.Now()}
	if err := d.settle(ctx, n, e); err != nil {
		return nil, withUndo(err, d.dissolve(context.WithoutCancel(ctx), e))
	}
	return e.Answer, nil
}

// withUndo adds to an error that what was begun could not be undone.
func withUndo(err, undo error) error {
	if undo != nil {
		return fmt.Errorf("%w; undoing it: %w", err, undo)
	}
	return err
}

// settle finds the endpoint's addresses and MAC.
func (d *Driver) settle(ctx context.Context, n *network, e *endpoint) error {
	chain, err := d.chain(n)
	if err != nil {
		return err
	}
	w, err := d.wishes(n, e, chain, nil)
	if err != nil {
		return err // a mistake in the options is told before anything is made
	}
	e.Answer = &cnm.Interface{}
	if can, _ := d.desk.CanAsk(chain); len(e.Asked.Interface.Addresses) == 0 && can {
		if err := d.reserve(ctx, chain, e, w.IPs); err != nil {
			return err
		}
	}
	if err := e.chooseMAC(chain, w.MAC); err != nil {
		return err
	}
	if len(e.addresses()) == 0 {
		return d.rehearse(ctx, n, chain, e)
	}
	if _, err := d.pinned(n, e, chain); err != nil {
		return err
	}
	return d.endpoints.put(e.id(), e)
}

// chooseMAC chooses the MAC that the engine did not: the one that is wished, or any.
func (e *endpoint) chooseMAC(chain *seam.Network, wished string) (err error) {
	switch {
	case e.Asked.Interface.MAC != nil:
	case wished != "":
		e.Answer.MAC, err = net.ParseMAC(wished)
	case choosesMAC(chain):
		e.Answer.MAC = newMAC(e, chain)
	}
	return err
}

// reserve asks the chain's IPAM for the addresses, without the interface.
func (d *Driver) reserve(ctx context.Context, chain *seam.Network, e *endpoint, wished []string) error {
	want := ahead.Request{Name: "address for an endpoint of Docker's"}
	for _, text := range wished {
		a, _, err := cni.ParseAddr(text)
		if err != nil {
			return err
		}
		want.Addresses = append(want.Addresses, a)
	}
	e.Ahead = chain.Name
	if err := d.endpoints.put(e.id(), e); err != nil {
		return err
	}
	lease, err := d.desk.Take(ctx, chain, e.id(), want)
	if err != nil {
		return err
	}
	e.Lease = lease
	e.Answer.Addresses, err = oneOfEach(prefixes(lease.IPs))
	return err
}

// rehearse runs the chain in a staging namespace, because it cannot say addresses
// without an interface.
func (d *Driver) rehearse(ctx context.Context, n *network, chain *seam.Network, e *endpoint) error {
	result, err := d.stage(ctx, n, chain, e, nil)
	if err != nil {
		return err
	}
	if e.Answer.Addresses, err = oneOfEach(prefixes(result.PodIPs(e.IfName))); err != nil {
		return err
	}
	return d.endpoints.put(e.id(), e)
}

// oneOfEach returns the first address of each family, which is all that an engine can
// be told.
func oneOfEach(all []netip.Prefix) ([]netip.Prefix, error) {
	var v4, v6 []netip.Prefix
	for _, p := range all {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the chain gives no address, and an engine wants one: create the network with an IPAM driver")
	}
	return append(v4[:min(1, len(v4))], v6[:min(1, len(v6))]...), nil
}

func prefixes(ips []cni.IP) []netip.Prefix {
	var all []netip.Prefix
	for _, ip := range ips {
		all = append(all, ip.Address)
	}
	return all
}

// DeleteEndpoint removes the endpoint. If that fails it is tried again from Run, as the
// engine does not.
func (d *Driver) DeleteEndpoint(ctx context.Context, _ cnm.NetworkID, id cnm.EndpointID) error {
	release, err := d.endpoints.hold(ctx, string(id))
	if err != nil {
		return err
	}
	defer release()
	e := d.endpoints.get(string(id))
	if e == nil {
		return nil
	}
	return d.dissolve(ctx, e)
}

// dissolve takes away all that was made for the endpoint, and forgets it.
func (d *Driver) dissolve(ctx context.Context, e *endpoint) error {
	if !e.Deleted {
		e.Deleted = true
		if err := d.endpoints.put(e.id(), e); err != nil {
			return err
		}
	}
	if err := d.detach(ctx, e); err != nil {
		return err
	}
	if err := netns.Remove(d.staging(e)); err != nil {
		return err
	}
	if e.Ahead != "" {
		if err := d.desk.Free(ctx, e.Ahead, e.id()); err != nil {
			return err
		}
	}
	return d.endpoints.remove(e.id())
}

// EndpointInfo tells what an engine has no place for.
func (d *Driver) EndpointInfo(_ context.Context, _ cnm.NetworkID, id cnm.EndpointID) (map[string]any, error) {
	e := d.endpoints.get(string(id))
	if e == nil || e.Sandbox == "" {
		return nil, nil
	}
	info := map[string]any{"seam.interface": e.IfName, "seam.container": e.id()}
	if len(e.Ports) > 0 {
		info["seam.ports"] = e.Ports
	}
	return info, nil
}
