package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"golang.org/x/sys/unix"
)

// Join attaches the endpoint to the sandbox, or, where the engine mounts that only later,
// to a staging namespace. The interface of a container that starts is then handed to the
// engine: it gives it a name beside those of other networks, addresses and routes, and brings
// it back in the end. What it does not carry over is added as soon as the interface is in
// the sandbox.
func (d *Driver) Join(ctx context.Context, j *cnm.Join) (*cnm.Joined, error) {
	n, err := d.known(j.Network)
	if err != nil {
		return nil, err
	}
	release, err := d.endpoints.hold(ctx, string(j.Endpoint))
	if err != nil {
		return nil, err
	}
	defer release()
	e := d.endpoints.get(string(j.Endpoint))
	switch {
	case e == nil || e.Deleted:
		return nil, fmt.Errorf("endpoint %s is unknown to driver %s", short(string(j.Endpoint)), d.conf.Name)
	case e.Sandbox == j.Sandbox && e.Joined != nil:
		return e.Joined, nil // asked again, as after a connection that broke
	case e.Sandbox != "", len(e.Chain) > 0 && !e.Staged: // of a sandbox that is no more, or half done
		if err := d.detach(ctx, e); err != nil {
			return nil, err
		}
	}
	if err := d.join(ctx, n, e, j.Sandbox); err != nil {
		return nil, withUndo(err, d.detach(context.WithoutCancel(ctx), e))
	}
	return e.Joined, nil
}

func (d *Driver) join(ctx context.Context, n *network, e *endpoint, sandbox string) error {
	c := d.whose(ctx, e)
	if c != nil {
		e.Container, e.Name = c.ID, c.Name
		d.dropEarlier(ctx, e)
	}
	ns, err := netns.Open(sandbox)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		defer ns.Close()
	}
	lives := err == nil
	e.Sandbox, e.Kept = sandbox, lives && d.keeps(ctx, e, c)
	if lives && !e.Staged {
		err = d.enter(ctx, n, e, ns, c)
	} else {
		err = d.ready(ctx, n, e, c)
	}
	switch {
	case err != nil:
	case e.Kept:
		err = d.keep(ctx, n, e, ns)
	default:
		e.Joined, err = d.handOver(n, e)
	}
	if err != nil {
		return err
	}
	d.closeWayOut(n, e.Joined)
	if err := d.endpoints.put(e.id(), e); err != nil {
		return err
	}
	if e.Rest != nil {
		d.await(e)
	}
	return nil
}

// dropEarlier removes what is left of the container's earlier endpoint on the network: an
// engine that was killed does not always say so when it starts again, and the container wants
// its ports. No container is on a network twice.
func (d *Driver) dropEarlier(ctx context.Context, e *endpoint) {
	for _, other := range d.endpoints.all() {
		if other.Container == e.Container && other.Asked.Network == e.Asked.Network && other.id() != e.id() && !d.endpoints.isHeld(other.id()) {
			err := d.DeleteEndpoint(ctx, other.Asked.Network, other.Asked.ID)
			d.tell("endpoint removed that the container had before", other.id(), err)
		}
	}
}

// closeWayOut keeps the engine from adding one where the network has none, or where it
// would be a second.
func (d *Driver) closeWayOut(n *network, j *cnm.Joined) {
	if n.Asked.Internal {
		j.Gateways = nil
	}
	j.NoGatewayService = len(j.Gateways) == 0
}

// enter runs the chain in the sandbox.
func (d *Driver) enter(ctx context.Context, n *network, e *endpoint, ns *netns.Namespace, c *who) error {
	chain, err := d.chain(n)
	if err != nil {
		return err
	}
	inside, err := link.In(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	if e.IfName, err = nameInside(inside, n, e); err != nil {
		return err
	}
	_, err = d.attach(ctx, n, chain, e, e.Sandbox, c)
	return err
}

// nameInside returns the interface's name in the sandbox: the one that the user chose, or
// the first ethN that is free, which is what the engine will call it, or will not.
func nameInside(inside *link.Handle, n *network, e *endpoint) (string, error) {
	if e.Asked.Name != "" {
		return e.Asked.Name, nil
	}
	prefix, err := n.ifPrefix()
	if err != nil {
		return "", err
	}
	first := 0
	if e.Kept {
		first = firstKept
	}
	for i := first; ; i++ {
		name := prefix + strconv.Itoa(i)
		_, err := inside.ByName(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
}

// ifPrefix is what names of interfaces begin with in containers.
func (n *network) ifPrefix() (string, error) {
	o, err := n.options()
	if err != nil {
		return "", err
	}
	return cmp.Or(o.IfPrefix, "eth"), nil
}

// takeWayOut removes the link's default routes and returns their gateways: which of a
// container's networks is its way out the engine decides, and then makes the route, for
// which there must not be one. Of a family of which the engine knows no address it makes
// none.
func takeWayOut(h *link.Handle, l link.Link, addresses []netip.Prefix) ([]netip.Addr, error) {
	routes, err := h.Routes(l)
	if err != nil {
		return nil, err
	}
	var gateways []netip.Addr
	for _, r := range routes {
		known := slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Addr().Is4() == r.GW.Is4() })
		if !isWayOut(r.Route) || !known {
			continue
		}
		if err := h.DeleteRoute(l, r); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if !slices.ContainsFunc(gateways, func(g netip.Addr) bool { return g.Is4() == r.GW.Is4() }) {
			gateways = append(gateways, r.GW)
		}
	}
	return gateways, nil
}

// isWayOut reports whether the route is one that an engine can make: the main table's
// default route to a gateway.
func isWayOut(r cni.Route) bool {
	return isMain(r) && r.Dst.Bits() == 0 && r.GW.IsValid()
}

func isMain(r cni.Route) bool { return r.Table == nil || *r.Table == unix.RT_TABLE_MAIN }

// withoutDefault returns a result's routes without those of the main table that lead
// everywhere, of the families that there are addresses of.
func withoutDefault(routes []cni.Route, addresses []netip.Prefix) []cni.Route {
	return slices.DeleteFunc(slices.Clone(routes), func(r cni.Route) bool {
		known := slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Addr().Is4() == r.Dst.Addr().Is4() })
		return known && isMain(r) && r.Dst.Bits() == 0
	})
}

// Leave detaches an interface that the engine does not know of. Another one it brings back
// now, and then calls DeleteEndpoint.
func (d *Driver) Leave(ctx context.Context, _ cnm.NetworkID, id cnm.EndpointID) error {
	release, err := d.endpoints.hold(ctx, string(id))
	if err != nil {
		return err
	}
	defer release()
	e := d.endpoints.get(string(id))
	if e == nil || e.Sandbox == "" {
		return nil
	}
	if e.Kept {
		return d.detach(ctx, e)
	}
	return d.dropName(e)
}
