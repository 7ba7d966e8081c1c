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
	e.Staged = true
	if err := e.nameStaged(n, c); err != nil {
		return nil, err
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
	return result, nil
}

// nameStaged chooses what the interface is called in a staging namespace: as the engine
// will call it or, where it may be one of several, as nobody knows before Join, a name that
// no other has, and that is the interface's second one then.
func (e *endpoint) nameStaged(n *network, c *who) error {
	prefix, err := n.ifPrefix()
	switch {
	case e.Asked.Name != "":
		e.IfName = e.Asked.Name
	case c == nil || c.Wanted > 1:
		e.IfName = sourceName(e)
	default:
		e.IfName = prefix + "0"
	}
	return err
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
	fresh, err := d.freshOnes()
	if err != nil {
		return nil, fmt.Errorf("settings of a new namespace: %w", err)
	}
	return staging.TakeSnapshotBeside(fresh)
}

// freshOnes reads, once, what the settings of a new namespace are.
func (d *Driver) freshOnes() (link.Settings, error) {
	d.fresh.Lock()
	defer d.fresh.Unlock()
	if d.freshSettings != nil {
		return d.freshSettings, nil
	}
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	settings, err := link.ReadSettings(ns)
	if err != nil {
		return nil, err
	}
	d.freshSettings = settings
	return settings, nil
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
func (d *Driver) handOver(n *network, e *endpoint) (*cnm.Joined, error) {
	prefix, err := n.ifPrefix()
	if err != nil {
		return nil, err
	}
	tag, err := e.tag()
	if err != nil {
		return nil, err
	}
	joined := &cnm.Joined{}
	err = within(d.netNS(e), func(h *link.Handle) error {
		l, err := h.ByName(e.IfName)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a chain without a link: a userspace interface, say
		}
		if err != nil {
			return err
		}
		if joined.Gateways, err = takeWayOut(h, l, e.addresses()); err != nil {
			return err
		}
		if joined.Routes, err = takeRoutes(h, l, e.addresses()); err != nil {
			return err
		}
		if e.Staged {
			e.Rest, err = d.snapshot(h)
		} else {
			e.Rest, err = h.TakeLinkSnapshot(l.Name)
		}
		if err != nil {
			return err
		}
		if err := d.endpoints.put(e.id(), e); err != nil {
			return err
		}
		joined.Link = &cnm.Link{Name: sourceName(e), Prefix: prefix, Inside: e.Asked.Name}
		return h.Move(l, link.Move{To: d.host, Name: sourceName(e), Alias: tag})
	})
	return joined, err
}

// netNS is the path of the namespace in which the chain ran.
func (d *Driver) netNS(e *endpoint) string {
	if e.Staged {
		return d.staging(e)
	}
	return e.Sandbox
}

// takeRoutes removes the routes that an engine can make, and returns them: those that are
// the main table's, by a gateway or on the link, and nothing more. To the addresses' own
// subnets the kernel makes one for the engine.
func takeRoutes(h *link.Handle, l link.Link, addresses []netip.Prefix) ([]cnm.Route, error) {
	routes, err := h.Routes(l)
	if err != nil {
		return nil, err
	}
	var taken []cnm.Route
	for _, r := range routes {
		plain := r.MTU == 0 && r.AdvMSS == 0 && r.Priority == 0 && !r.Source.IsValid() && !r.OnLink
		own := slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Masked() == r.Dst.Masked() })
		if !isMain(r.Route) || !plain || own || r.Dst.Bits() == 0 {
			continue
		}
		if err := h.DeleteRoute(l, r); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		taken = append(taken, cnm.Route{Dst: r.Dst, NextHop: r.GW})
	}
	return taken, nil
}

// moved notes that the interface is in the sandbox.
func (d *Driver) moved(ctx context.Context, e *endpoint, sandbox *netns.Namespace) error {
	if e.Staged {
		if err := sandbox.MountAt(d.staging(e), true); err != nil {
			return err
		}
	}
	err := d.revise(ctx, e, func(r *seam.Record) {
		r.NetNS = e.Sandbox
		e.amend(r)
	})
	if err != nil {
		return err
	}
	e.Rest = nil
	return d.endpoints.put(e.id(), e)
}
