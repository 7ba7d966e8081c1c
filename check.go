package seam

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// Check asks every plugin whether the attachment still is as Attach left it, and
// returns the first error. What the container does not say is taken from the record,
// as in Detach. Networks of a version before 0.4.0 cannot be checked
// (CodeIncompatibleVersion), nor can an attachment without a record
// (CodeUnknownContainer).
func (rt *Runtime) Check(ctx context.Context, n *Network, c Container) error {
	op := rt.operation(n, c)
	ctx, end := op.startSpan(ctx, Check)
	err := op.checkAll(ctx)
	end(err)
	if err != nil {
		return op.failed("check", err)
	}
	return nil
}

func (op *operation) checkAll(ctx context.Context) error {
	if err := op.check(); err != nil {
		return err
	}
	if !op.network.atLeast("0.4.0") {
		return cni.Errorf(cni.CodeIncompatibleVersion, "version %s of the network has no CHECK", op.network.Version).
			WithDetails(`"cniVersion" must be 0.4.0 or newer`)
	}
	if op.network.DisableCheck {
		return nil
	}
	if err := op.enter(ctx); err != nil {
		return err
	}
	defer op.leave(true)
	r, err := op.rt.record(op.attachment())
	switch {
	case err != nil:
		return err
	case r == nil:
		return cni.Errorf(cni.CodeUnknownContainer, "not attached, as far as is known in %s", op.rt.cacheDir())
	case r.Result == nil:
		return fmt.Errorf("attachment %s: %w", r.File, r.broken)
	}
	op.complete(r)
	if op.container.NetNS == "" {
		op.container.NetNS = r.NetNS
	}
	if _, err := op.rt.enterable(op.container.NetNS); err != nil {
		return err
	}
	for place := range op.network.Plugins {
		if err := op.checkOne(ctx, place, r.Result); err != nil {
			return err
		}
	}
	return nil
}

func (op *operation) checkOne(ctx context.Context, place int, prev *cni.Result) error {
	return op.bounded(ctx, place, func(ctx context.Context) error {
		p, err := op.find(place)
		if err != nil {
			return err
		}
		r, err := op.request(place, prev)
		if err != nil {
			return err
		}
		return p.Check(ctx, r)
	})
}

// Status asks the plugins whether they could serve an Attach, and returns the first
// error as it is. Executed plugins are asked only in networks of version 1.1.0 or
// newer, as STATUS did not exist before; built-in ones always.
func (rt *Runtime) Status(ctx context.Context, n *Network) error {
	op := rt.operation(n, Container{})
	ctx, end := op.startSpan(ctx, Status)
	err := op.status(ctx)
	end(err)
	if err != nil {
		return fmt.Errorf("status %s: %w", n.Name, err)
	}
	return nil
}

func (op *operation) status(ctx context.Context) error {
	if err := checkNetwork(op.network); err != nil {
		return err
	}
	for place := range op.network.Plugins {
		err := op.ask(ctx, place, nil, func(ctx context.Context, p *traced, r *cni.Request) error { return p.Status(ctx, r) })
		if err != nil {
			return err
		}
	}
	return nil
}

// ask calls the plugin at that place with a verb that is about no container, if it
// knows the verb.
func (op *operation) ask(ctx context.Context, place int, valid []cni.Attachment, call func(context.Context, *traced, *cni.Request) error) error {
	return op.bounded(ctx, place, func(ctx context.Context) error {
		p, err := op.find(place)
		if err != nil {
			return err
		}
		if executable(p.plugin) != "" && !op.network.atLeast("1.1.0") {
			return nil
		}
		r, err := op.request(place, nil)
		if err != nil {
			return err
		}
		r.Valid = valid
		return call(ctx, p, r)
	})
}

// Validate reports, joined, what would keep the network from being used: a name that
// is none, an unknown version, plugins, or the plugins that they delegate addresses to,
// which are not there or do not support the version. It does not look into what
// belongs to a plugin.
func (rt *Runtime) Validate(ctx context.Context, n *Network) error {
	errs := []error{checkNetwork(n)}
	for place, p := range n.Plugins {
		types := []string{p.Type}
		if p.IPAM != "" {
			types = append(types, p.IPAM)
		}
		for _, t := range types {
			if err := rt.validate(ctx, t, n.Version); err != nil {
				errs = append(errs, fmt.Errorf("network %q, plugin %d: %w", n.Name, place+1, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (rt *Runtime) validate(ctx context.Context, pluginType, version string) error {
	p, err := rt.Plugins.Find(pluginType)
	if err != nil {
		return err
	}
	supported := wire.SupportedVersions()
	if e, ok := p.(*wire.Executable); ok {
		ctx, cancel := context.WithTimeout(ctx, rt.timeout())
		defer cancel()
		if supported, err = e.Versions(ctx); err != nil {
			return fmt.Errorf("%s: %w", pluginType, err)
		}
	}
	if !slices.Contains(supported, version) {
		return cni.Errorf(cni.CodeIncompatibleVersion, "%s: does not support version %q", pluginType, version).
			WithDetails("it supports %v", supported)
	}
	return nil
}
