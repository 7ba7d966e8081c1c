package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

const (
	// restTime bounds the wait for a sandbox: an engine mounts it within a second, or the
	// container does not start and its endpoint goes.
	restTime = 2 * time.Minute

	// restPause is between two looks.
	restPause = 2 * time.Millisecond
)

// await adds what the engine does not carry over, as soon as the sandbox lives.
func (d *Driver) await(e *endpoint) {
	d.waiting.Add(1)
	d.busy.Go(func() {
		defer d.waiting.Add(-1)
		ctx, cancel := context.WithTimeout(d.life, restTime)
		defer cancel()
		err := d.addRest(ctx, e)
		if err != nil && d.life.Err() == nil {
			d.conf.Log.Error("container lacks what its network makes beside the interface", "endpoint", short(e.id()), "container", e.Name, "err", err)
		}
	})
}

// addRest waits for the sandbox with the interface in it, and adds the rest.
func (d *Driver) addRest(ctx context.Context, e *endpoint) error {
	tag, err := e.tag()
	if err != nil {
		return err
	}
	for {
		done, err := d.tryRest(ctx, e, tag)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sandbox %s: waited for the interface in it: %w", e.Sandbox, context.Cause(ctx))
		case <-time.After(restPause):
		}
	}
}

// tryRest adds the rest if the interface is there, and reports whether there is nothing
// more to be done.
func (d *Driver) tryRest(ctx context.Context, e *endpoint, tag string) (done bool, err error) {
	if !d.stillWaits(e) {
		return true, nil
	}
	sandbox, err := netns.Open(e.Sandbox)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer sandbox.Close()
	inside, err := link.In(sandbox)
	if err != nil {
		return false, err
	}
	defer inside.Close()
	l, err := find(inside, tag)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !l.Up { // an engine that has done with it sets it up
		return false, nil
	}
	if err != nil {
		return false, err
	}
	release, err := d.endpoints.hold(ctx, e.id())
	if err != nil {
		return false, err
	}
	defer release()
	now := d.endpoints.get(e.id())
	if now == nil || now.Rest == nil || now.Sandbox != e.Sandbox {
		return true, nil
	}
	return true, d.addTo(ctx, now, sandbox, inside, &l)
}

// stillWaits reports whether the endpoint is to be in the sandbox still.
func (d *Driver) stillWaits(e *endpoint) bool {
	now := d.endpoints.get(e.id())
	return now != nil && !now.Deleted && now.Rest != nil && now.Sandbox == e.Sandbox
}

func (d *Driver) addTo(ctx context.Context, e *endpoint, sandbox *netns.Namespace, inside *link.Handle, l *link.Link) error {
	var errs []error
	if e.Staged { // further links
		errs = append(errs, within(d.staging(e), func(staging *link.Handle) error {
			_, err := staging.MoveAll(inside, nil)
			return err
		}))
	}
	errs = append(errs, inside.Restore(e.Rest, link.RestoreOptions{Names: map[string]string{e.IfName: l.Name}}))
	if l.Name != e.IfName {
		// The plugins know it by that name. Where another link has it they do not find it.
		if err := inside.AddAltName(*l, e.IfName); !errors.Is(err, fs.ErrExist) {
			errs = append(errs, err)
		}
	}
	// Engines from 28 on do so themselves.
	errs = append(errs, setSysctls(sandbox, e.Asked.Options[sysctlsOption], l.Name))
	errs = append(errs, d.moved(ctx, e, sandbox))
	return errors.Join(errs...)
}

// dropName takes away the second name that addTo gave, with which the interface could
// not be brought back to a namespace where another link is called so.
func (d *Driver) dropName(e *endpoint) error {
	if len(e.Chain) == 0 {
		return nil
	}
	tag, err := e.tag()
	if err != nil {
		return err
	}
	err = within(e.Sandbox, func(inside *link.Handle) error {
		l, err := find(inside, tag)
		if err != nil || l.Name == e.IfName {
			return err
		}
		return inside.DeleteAltName(l, e.IfName)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// find returns the link with that alias.
func find(h *link.Handle, tag string) (link.Link, error) {
	links, err := h.List()
	if err != nil {
		return link.Link{}, err
	}
	i := slices.IndexFunc(links, func(l link.Link) bool { return l.Alias == tag })
	if i < 0 {
		return link.Link{}, fmt.Errorf("interface %s: %w", tag, fs.ErrNotExist)
	}
	return links[i], nil
}

// bringBack returns the interface, under the name that plugins know, to where the chain is
// to take it away, and the path of that namespace: the sandbox, or if that is gone, or has
// another link of this name, a staging namespace.
func (d *Driver) bringBack(chain *seam.Network, e *endpoint) (netNS string, err error) {
	if e.Kept || e.Rest == nil && e.Sandbox != "" && d.endsOnHost(chain) {
		return e.Sandbox, nil
	}
	if e.Staged && (e.Joined == nil || e.Rest != nil) { // it has not reached the sandbox
		if err = d.fetch(e, d.staging(e)); !errors.Is(err, fs.ErrNotExist) {
			return d.staging(e), err
		}
	} else if err = d.fetch(e, e.Sandbox); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return e.Sandbox, err
	}
	ns, err := d.freshStaging(e)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	return d.staging(e), d.fetch(e, d.staging(e))
}

// fromHost are plugins that take all away from the host's side: with the host's end of a
// veth goes the other one, wherever it is. IPAM dhcp is not: it speaks on the interface.
var fromHost = []string{"bridge", "ptp", "portmap", "firewall", "bandwidth", "masquerade", "tuning", "host-local", "static", ""}

// endsOnHost reports whether the chain is of such plugins, and of Seam's own: others may
// delete the interface by its name inside.
func (d *Driver) endsOnHost(chain *seam.Network) bool {
	for _, p := range chain.Plugins {
		plugin, err := d.conf.Runtime.Plugins.Find(p.Type)
		if _, executed := plugin.(*wire.Executable); err != nil || executed || !slices.Contains(fromHost, p.Type) || !slices.Contains(fromHost, p.IPAM) {
			return false
		}
	}
	return true
}

// fetch moves the interface to the namespace at path, from the host's, where the engine
// leaves it. Where it is in neither, it ended with its namespace.
func (d *Driver) fetch(e *endpoint, path string) error {
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	l, err := d.host.ByName(sourceName(e))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	to, err := link.In(ns)
	if err != nil {
		return err
	}
	defer to.Close()
	// A move to a name that is taken leaves the link where it should not be.
	if _, err := to.ByName(e.IfName); err == nil {
		return fmt.Errorf("%s: %w", e.IfName, fs.ErrExist)
	}
	return d.host.Move(l, link.Move{To: to, Name: e.IfName, Alias: l.Alias})
}
