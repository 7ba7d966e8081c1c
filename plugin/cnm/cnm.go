// Package cnm lets a driver of Docker's make the interface: the plugin "cnm". To the driver
// it is an engine: it asks for a network once, for an endpoint for every attachment, and
// moves the driver's link into the namespace.
//
// It is not the way from Docker to CNI, which is package docker, and it speaks no protocol
// itself (package cnm/wire does). What an engine would remember it keeps in files (type
// book), and by them DEL and GC remove what a kill left at any moment.
//
// To see what it believes to be at a driver: cat /var/lib/cni/cnm/*/network.json and
// /var/lib/cni/cnm/*/endpoints/*. To see what the driver is asked, put a proxy in between
// (package cnm/wire says how).
package cnm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/cnm/wire"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
)

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return &dockers{plugin.Interface(h, func() plugin.Device { return &Config{} })}
}

// dockers is the frame's plugin, whose STATUS asks the drivers.
type dockers struct{ cni.Plugin }

// Status reports whether the drivers answer, and can serve networks of one host.
func (p *dockers) Status(ctx context.Context, r *cni.Request) error {
	if err := p.Plugin.Status(ctx, r); err != nil {
		return err
	}
	c := &Config{}
	if err := r.Decode(c); err != nil {
		return err
	}
	if err := c.available(ctx); err != nil {
		return cni.Errorf(cni.CodeNotAvailable, "%s: %w", r.Config.Type, err)
	}
	return nil
}

func (c *Config) available(ctx context.Context) error {
	d, err := find(c.Driver, c.PluginDirs)
	if err == nil {
		err = ready(ctx, d, c.Driver)
	}
	if err != nil || c.IPAMDriver == "" {
		return err
	}
	ipam, err := find(c.IPAMDriver, c.PluginDirs)
	if err == nil {
		_, err = ipam.IPAMCapabilities(ctx)
	}
	return err
}

// Make refuses an interface that is there, and clears away what an ADD left that was killed.
// The driver is asked when the addresses are known, by Connect.
func (c *Config) Make(ctx context.Context, call *plugin.Call) ([]cni.Interface, error) {
	if there, err := call.Pod.ByName(call.IfName); err == nil {
		return nil, cni.Errorf(cni.CodeExists, "interface %s is in the pod %s already, a %s", call.IfName, call.NetNS, there.Kind)
	} else if !link.Missing(err) {
		return nil, err
	}
	before, err := bookOf(call.Host(), call.Network).endpoint(endpointID(call.Tag()))
	if err == nil && before != nil {
		err = before.remove(ctx, call.Links)
	}
	if err != nil {
		return nil, fmt.Errorf("what an earlier ADD left: %w", err)
	}
	return []cni.Interface{{Name: call.IfName, Sandbox: call.NetNS}}, nil
}

// Connect asks the driver for everything, and moves its link into the pod.
func (c *Config) Connect(ctx context.Context, call *plugin.Call) error {
	a := &attaching{Call: call, conf: c}
	c.adding = a
	for _, step := range []func(context.Context) error{a.begin, a.address, a.create} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	a.tell()
	if a.joined.Link == nil || a.joined.Link.Name == "" {
		return a.takeOver()
	}
	return a.handOver()
}

// Finish has the driver publish ports, if the interface leads out.
func (c *Config) Finish(ctx context.Context, call *plugin.Call) ([]nft.Element, error) {
	if err := c.adding.program(ctx); err != nil {
		return nil, err
	}
	var err error
	if call.Link, err = call.Pod.ByName(call.IfName); err != nil {
		return nil, err
	}
	call.Result.Interfaces = []cni.Interface{call.PodInterface()}
	if host, err := call.HostEnd(); err == nil {
		call.Result.Interfaces = append(call.Result.Interfaces, plugin.HostInterface(host))
	}
	return nil, nil
}

// Check looks whether the interface is the one of the ADD, and up, and whether the driver
// knows of it.
func (c *Config) Check(ctx context.Context, call *plugin.Call) ([]nft.Element, error) {
	b := bookOf(call.Host(), call.Network)
	e, err := b.endpoint(endpointID(call.Tag()))
	if err != nil {
		return nil, err
	}
	n, err := b.network()
	if e == nil || n == nil || err != nil {
		return nil, errors.Join(err, fmt.Errorf("driver %s: nothing is noted of the attachment", c.Driver))
	}
	var errs []error
	if e.Link != "" && call.Link.Alias != plugin.Alias(call.Tag()) {
		errs = append(errs, fmt.Errorf("pod %s: interface %s is not the driver's, or has lost its alias", call.NetNS, call.IfName))
	}
	if !call.Link.Up {
		errs = append(errs, fmt.Errorf("pod %s: interface %s is down", call.NetNS, call.IfName))
	}
	d, err := n.driver()
	if err == nil {
		if _, err = d.EndpointInfo(ctx, n.ID, e.ID); errors.Is(err, wire.ErrNoMethod) {
			_, err = d.Capabilities(ctx)
		}
	}
	return nil, errors.Join(append(errs, err, call.CheckMTU(c.MTU))...)
}

// UserSpace reports that there is a link in the pod.
func (c *Config) UserSpace() bool { return false }

// Return takes the attachment's endpoint away.
func (c *Config) Return(ctx context.Context, h *plugin.Host, r *cni.Request) error {
	links, err := h.Links()
	if err != nil {
		return err
	}
	b := bookOf(h, r.Network)
	e, err := b.endpoint(endpointID(r.Tag()))
	if err == nil && e != nil {
		err = e.remove(ctx, links)
	}
	if err != nil {
		return err
	}
	return b.clear(ctx)
}

// clear removes a network that was never completed: an ADD made it in vain.
func (b *book) clear(ctx context.Context) error {
	if n, err := b.network(); err != nil || n == nil || n.Made == done {
		return nil // one that cannot be read is made anew by the next ADD
	}
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	n, err := b.network()
	if err != nil || n == nil || n.Made == done {
		return err
	}
	return n.remove(ctx)
}

// Retain takes away the endpoints of attachments that are not valid, and then the network,
// if it has none left.
func (c *Config) Retain(ctx context.Context, h *plugin.Host, name string, valid []cni.Tag) error {
	links, err := h.Links()
	if err != nil {
		return err
	}
	b := bookOf(h, name)
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	stay := make([]cnm.EndpointID, len(valid))
	for i, t := range valid {
		stay[i] = endpointID(t)
	}
	all, err := b.endpoints()
	errs := []error{err}
	left := err != nil
	for _, e := range all {
		if slices.Contains(stay, e.ID) {
			left = true
			continue
		}
		err := e.remove(ctx, links)
		errs, left = append(errs, err), left || err != nil
	}
	if !left {
		errs = append(errs, b.empty(ctx))
	}
	return errors.Join(errs...)
}

// empty removes the network, which has no endpoint. Of a record that cannot be read any
// more nobody knows the driver: that is told, once.
func (b *book) empty(ctx context.Context) error {
	n, err := b.network()
	if n != nil {
		return n.remove(ctx)
	}
	if errors.Is(err, state.ErrUnreadable) {
		err = errors.Join(err, b.remove())
	}
	return err
}
