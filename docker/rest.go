package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

const (
	// restTime bounds the wait for a sandbox: an engine mounts it within a second, or the
	// container does not start and its endpoint goes.
	restTime = 2 * time.Minute

	// restPause is between two looks.
	restPause = 5 * time.Millisecond
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
	l, err := arrived(inside, tag)
	if err != nil || l == nil {
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
	return true, d.addTo(ctx, now, sandbox, inside, l)
}

// stillWaits reports whether the endpoint is to be in the sandbox still.
func (d *Driver) stillWaits(e *endpoint) bool {
	now := d.endpoints.get(e.id())
	return now != nil && !now.Deleted && now.Rest != nil && now.Sandbox == e.Sandbox
}

// arrived returns the interface when the engine has done with it, which it shows by
// setting it up.
func arrived(inside *link.Handle, tag string) (*link.Link, error) {
	links, err := inside.List()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(links, func(l link.Link) bool { return l.Alias == tag && l.Up })
	if i < 0 {
		return nil, nil
	}
	return &links[i], nil
}

func (d *Driver) addTo(ctx context.Context, e *endpoint, sandbox *netns.Namespace, inside *link.Handle, l *link.Link) error {
	err := d.inStaging(e, func(staging *link.Handle) error {
		_, err := staging.MoveAll(inside, nil)
		return err
	})
	restored := inside.Restore(e.Rest, link.RestoreOptions{Names: map[string]string{e.IfName: l.Name}, SkipDefaultRoutes: true})
	if err := errors.Join(err, restored); err != nil {
		return err
	}
	return d.moved(ctx, e, sandbox, l.Name)
}

// bringBack returns the interface to a staging namespace, for the chain to take it away
// there: from the host's, where the engine leaves it, or from the sandbox.
func (d *Driver) bringBack(e *endpoint) error {
	if e.Sandbox == "" {
		return nil // it never left
	}
	tag, err := e.tag()
	if err != nil {
		return err
	}
	if l, err := d.host.ByName(sourceName(e)); err == nil {
		return d.takeBack(e, d.host, l, tag)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = within(e.Sandbox, func(inside *link.Handle) error {
		links, err := inside.List()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(links, func(l link.Link) bool { return l.Alias == tag })
		if i < 0 {
			return fmt.Errorf("interface %s: %w", tag, fs.ErrNotExist)
		}
		return d.takeBack(e, inside, links[i], tag)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it ended with its namespace
	}
	return err
}

func (d *Driver) takeBack(e *endpoint, from *link.Handle, l link.Link, tag string) error {
	ns, err := netns.Open(d.staging(e))
	if e.Rest == nil || errors.Is(err, fs.ErrNotExist) { // the sandbox is mounted there, or nothing
		if err == nil {
			ns.Close()
		}
		ns, err = d.freshStaging(e)
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	staging, err := link.In(ns)
	if err != nil {
		return err
	}
	defer staging.Close()
	return from.Move(l, link.Move{To: staging, Name: e.IfName, Alias: tag})
}
