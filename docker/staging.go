package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// staging is the path of the namespace in which the endpoint's chain runs when there is
// no sandbox yet. Once there is one it is mounted in the place of the first, so that whoever
// was told this path, a DHCP client say, finds the interface there.
func (d *Driver) staging(e *endpoint) string {
	return filepath.Join(d.conf.RunDir, "netns", short(e.id()))
}

// sourceName is what the interface is called while it is in the host's namespace.
func sourceName(e *endpoint) string { return "sm" + short(e.id()) }

// ready sees that the endpoint's chain has run in a staging namespace.
func (d *Driver) ready(ctx context.Context, n *network, e *endpoint, c *who) error {
	if e.Staged && len(e.Chain) > 0 {
		return nil
	}
	chain, err := d.chain(n)
	if err != nil {
		return err
	}
	result, err := d.stage(ctx, n, chain, e, c)
	if err != nil {
		return err
	}
	// The engine has told the address to people, and to other containers.
	for _, told := range e.addresses() {
		if !slices.ContainsFunc(result.PodIPs(e.IfName), func(ip cni.IP) bool { return ip.Address.Addr() == told.Addr() }) {
			return fmt.Errorf("the chain gives the endpoint %v, not %s: the IPAM of network %s does not heed what is asked of it; use --ipam-driver null",
				prefixes(result.IPs), told, chain.Name)
		}
	}
	return nil
}

// stage runs the chain in a staging namespace.
func (d *Driver) stage(ctx context.Context, n *network, chain *seam.Network, e *endpoint, c *who) (*cni.Result, error) {
	prefix, err := n.ifPrefix()
	if err != nil {
		return nil, err
	}
	e.Staged, e.IfName = true, prefix+"0"
	if e.Asked.Name != "" {
		e.IfName = e.Asked.Name
	}
	if err := d.endpoints.put(e.id(), e); err != nil {
		return nil, err
	}
	ns, err := d.freshStaging(e)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	result, err := d.attach(ctx, n, chain, e, d.staging(e), c)
	if err != nil {
		return nil, err
	}
	return result, d.finish(ns, e)
}

// freshStaging makes the staging namespace anew.
func (d *Driver) freshStaging(e *endpoint) (*netns.Namespace, error) {
	if err := netns.Remove(d.staging(e)); err != nil {
		return nil, err
	}
	return netns.NewAt(d.staging(e))
}

// snapshot returns what the chain left in a staging namespace.
func (d *Driver) snapshot(staging *link.Handle) (*link.Snapshot, error) {
	d.freshOnce.Do(func() {
		ns, err := netns.New()
		if err != nil {
			d.freshErr = err
			return
		}
		defer ns.Close()
		d.freshSettings, d.freshErr = link.ReadSettings(ns)
	})
	if d.freshErr != nil {
		return nil, fmt.Errorf("settings of a new namespace: %w", d.freshErr)
	}
	return staging.TakeSnapshotBeside(d.freshSettings)
}

// inStaging opens the staging namespace for do.
func (d *Driver) inStaging(e *endpoint, do func(*link.Handle) error) error {
	return within(d.staging(e), do)
}

// within opens the namespace at path for do.
func within(path string, do func(*link.Handle) error) error {
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := link.In(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	return do(h)
}

// tag is how the endpoint's interface is known wherever it is.
func (e *endpoint) tag() (string, error) {
	chain, err := seam.Parse(e.Chain, "")
	if err != nil {
		return "", err
	}
	c := e.container("")
	return string(c.Attachment(chain.Name).Tag()), nil
}

// handOver leaves the interface where the engine takes it from, and keeps what the
// engine does not take.
func (d *Driver) handOver(e *endpoint) (*cnm.Joined, error) {
	tag, err := e.tag()
	if err != nil {
		return nil, err
	}
	joined := &cnm.Joined{}
	err = d.inStaging(e, func(staging *link.Handle) error {
		l, err := staging.ByName(e.IfName)
		if err != nil {
			return err
		}
		if joined.Gateways, err = takeWayOut(staging, l.Name); err != nil {
			return err
		}
		if joined.Routes, err = takeRoutes(staging, l); err != nil {
			return err
		}
		if e.Rest, err = d.snapshot(staging); err != nil {
			return err
		}
		joined.Link = &cnm.Link{Name: sourceName(e), Prefix: "eth", Inside: e.Asked.Name}
		return staging.Move(l, link.Move{To: d.host, Name: sourceName(e), Alias: tag})
	})
	return joined, err
}

// takeRoutes removes the routes that an engine can make, and returns them: those that are
// the main table's, by a gateway or on the link, and nothing more.
func takeRoutes(h *link.Handle, l link.Link) ([]cnm.Route, error) {
	routes, err := h.Routes(l)
	if err != nil {
		return nil, err
	}
	var taken []cnm.Route
	for _, r := range routes {
		plain := r.MTU == 0 && r.AdvMSS == 0 && r.Priority == 0 && !r.Source.IsValid() && !r.OnLink
		if !isMain(r.Route) || !plain || r.Dst.Bits() == 0 {
			continue
		}
		if err := h.DeleteRoute(l, r); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		taken = append(taken, cnm.Route{Dst: r.Dst, NextHop: r.GW})
	}
	return taken, nil
}

// carryOver moves all that is in the staging namespace to the sandbox, as the engine
// would and more.
func (d *Driver) carryOver(ctx context.Context, n *network, e *endpoint, sandbox *netns.Namespace, c *who) (*cnm.Joined, error) {
	inside, err := link.In(sandbox)
	if err != nil {
		return nil, err
	}
	defer inside.Close()
	name, err := d.nameInside(inside, n, e, c)
	if err != nil {
		return nil, err
	}
	var gateways []netip.Addr
	err = d.inStaging(e, func(staging *link.Handle) error {
		if gateways, err = takeWayOut(staging, e.IfName); err != nil {
			return err
		}
		if e.Rest, err = d.snapshot(staging); err != nil {
			return err
		}
		_, err := staging.MoveAll(inside, map[string]string{e.IfName: name})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := inside.Restore(e.Rest, link.RestoreOptions{Names: map[string]string{e.IfName: name}}); err != nil {
		return nil, err
	}
	return &cnm.Joined{Gateways: gateways}, d.moved(ctx, e, sandbox, name)
}

// moved notes that the interface is in the sandbox, under that name.
func (d *Driver) moved(ctx context.Context, e *endpoint, sandbox *netns.Namespace, name string) error {
	if err := sandbox.MountAt(d.staging(e), true); err != nil {
		return err
	}
	err := d.revise(ctx, e, func(r *seam.Record) {
		r.NetNS, r.Name = e.Sandbox, e.Name
		r.Result.Routes = withoutDefault(r.Result.Routes)
		for i := range r.Result.Interfaces {
			if in := &r.Result.Interfaces[i]; in.Sandbox != "" && in.Name == e.IfName {
				in.Name = name
			}
		}
	})
	if err != nil {
		return err
	}
	e.Rest = nil
	return d.endpoints.put(e.id(), e)
}
