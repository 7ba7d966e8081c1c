package docker

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/seamnet/seam"
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

// named writes down what people call the container.
func (d *Driver) named(ctx context.Context, e *endpoint, name string) error {
	e.Name = name
	if err := d.endpoints.put(e.id(), e); err != nil {
		return err
	}
	return d.revise(ctx, e, func(r *seam.Record) { r.Name = name })
}
