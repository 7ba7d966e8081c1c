package docker

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/engine"
)

// who is the container that an endpoint is of, as far as the engine told; nil: unknown.
type who = engine.Container

const (
	// askTime bounds a question of names. Connectivity does not depend on the answer.
	askTime = time.Second

	// silence is how long an engine that did not answer is left alone: one that starts its
	// containers answers nobody, and each of them would wait.
	silence = 5 * time.Second
)

// whose asks the engine whose the endpoint is.
func (d *Driver) whose(ctx context.Context, e *endpoint) *who {
	if d.conf.Engine == nil || time.Now().Before(d.silentUntil()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := d.conf.Engine.Container(ctx, e.Asked.Network, e.Asked.ID)
	switch {
	case errors.Is(err, fs.ErrNotExist): // one that is not the engine's, which is asked: another engine runs on this host
		d.conf.Log.Debug("engine does not know the endpoint", "endpoint", short(e.id()), "err", err)
		return nil
	case err != nil:
		d.conf.Log.Warn("engine does not say whose the endpoint is: the container's labels are not heeded", "endpoint", short(e.id()), "err", err)
		if ctx.Err() != nil {
			d.setSilent(time.Now().Add(silence))
		}
		return nil
	}
	return c
}

func (d *Driver) silentUntil() time.Time {
	d.asking.Lock()
	defer d.asking.Unlock()
	return d.silent
}

func (d *Driver) setSilent(until time.Time) {
	d.asking.Lock()
	defer d.asking.Unlock()
	d.silent = until
}

// learnNames writes down what the engine calls containers now: those whose name could not
// be had when they joined, and those that got another one.
func (d *Driver) learnNames(ctx context.Context, there endpointNames) {
	for _, e := range d.endpoints.all() {
		name := there[e.Asked.Network][e.Asked.ID]
		if name == "" || name == e.Name || e.Sandbox == "" || e.Deleted || d.endpoints.isHeld(e.id()) {
			continue
		}
		if err := d.learnName(ctx, e.Asked.ID, name); err != nil {
			d.conf.Log.Warn("container's name not written down", "endpoint", short(e.id()), "container", name, "err", err)
		}
	}
}

func (d *Driver) learnName(ctx context.Context, id cnm.EndpointID, name string) error {
	release, err := d.endpoints.hold(ctx, string(id))
	if err != nil {
		return err
	}
	defer release()
	e := d.endpoints.get(string(id))
	if e == nil || e.Sandbox == "" || e.Deleted {
		return nil
	}
	if e.Name == "" {
		d.tellLabels(ctx, e, name)
	}
	e.Name = name
	if err := d.endpoints.put(e.id(), e); err != nil {
		return err
	}
	return d.revise(ctx, e, func(r *seam.Record) { r.Name = name })
}

// tellLabels says which labels the container has that the chain was not told of.
func (d *Driver) tellLabels(ctx context.Context, e *endpoint, name string) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := d.conf.Engine.Container(ctx, e.Asked.Network, e.Asked.ID)
	if err != nil {
		return // the container may be gone
	}
	late := slices.DeleteFunc(slices.Sorted(maps.Keys(c.Labels)), func(key string) bool { return !strings.HasPrefix(key, optionPrefix) })
	if len(late) > 0 {
		d.conf.Log.Warn("labels are not heeded, as the engine did not tell them in time: start the container again", "endpoint", short(e.id()), "container", name, "labels", late)
	}
}
