package seam

import (
	"context"
	"errors"
	"fmt"

	"github.com/seamnet/seam/cni"
)

// Collect removes what belongs to attachments of the network that are not in valid:
// those that are recorded are detached, killed operations undone, and then every
// plugin is told by GC to remove what is left. It goes on over errors and joins them.
// No attach or detach of the network runs meanwhile, in any process of Seam;
// runtimes that use libcni take no locks.
//
// An empty list means that nothing is valid. Nil means that it is not known what
// is: nothing is detached, and plugins are told of no list. Only the container's ID
// and the interface's name of the elements count. Executed plugins get GC only in
// networks of version 1.1.0 or newer, as it did not exist before; built-in ones always.
func (rt *Runtime) Collect(ctx context.Context, n *Network, valid []cni.Attachment) error {
	return rt.collect(ctx, n, func() ([]cni.Attachment, error) { return valid, nil })
}

// CollectDead is Collect with the attachments as valid whose network namespace still
// exists. Which these are is decided while nothing else runs on the network, so that
// an attachment just made is not taken for a dead one.
//
// If other runtimes with cache folders of their own use the network, too, these
// must be given: the attachments recorded there are spared as well while they live.
func (rt *Runtime) CollectDead(ctx context.Context, n *Network, others ...string) error {
	return rt.collect(ctx, n, func() ([]cni.Attachment, error) {
		valid := []cni.Attachment{}
		for _, dir := range append([]string{rt.cacheDir()}, others...) {
			records, err := ReadAttachments(dir)
			if err != nil {
				return nil, fmt.Errorf("unknown what is in use: %w", err)
			}
			for _, r := range records {
				if r.Network == n.Name && r.Alive() {
					valid = append(valid, r.Attachment)
				}
			}
		}
		return valid, nil
	})
}

func (rt *Runtime) collect(ctx context.Context, n *Network, list func() ([]cni.Attachment, error)) error {
	ctx, end := rt.operation(n, Container{}).startSpan(ctx, GC)
	err := rt.collectLocked(ctx, n, list)
	end(err)
	if err != nil {
		return fmt.Errorf("collect %s: %w", n.Name, err)
	}
	return nil
}

func (rt *Runtime) collectLocked(ctx context.Context, n *Network, list func() ([]cni.Attachment, error)) error {
	if err := checkNetwork(n); err != nil {
		return err
	}
	if n.DisableGC {
		return nil
	}
	l, err := lockFile(ctx, rt.networkFile(n.Name), false)
	if err != nil {
		return err
	}
	defer l.remove()
	errs := []error{rt.recoverAll(ctx, n)}
	valid, err := list()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if valid != nil {
		valid = onNetwork(valid, n.Name)
		errs = append(errs, rt.detachStale(ctx, n, valid))
	}
	op := rt.operation(n, Container{})
	for place := range n.Plugins {
		errs = append(errs, op.ask(ctx, place, valid, func(ctx context.Context, p *traced, r *cni.Request) error { return p.GC(ctx, r) }))
	}
	return errors.Join(errs...)
}

// onNetwork returns the attachments with their network set, without those of
// another one; never nil.
func onNetwork(list []cni.Attachment, network string) []cni.Attachment {
	on := []cni.Attachment{}
	for _, a := range list {
		if a.Network == "" || a.Network == network {
			a.Network = network
			on = append(on, a)
		}
	}
	return on
}

func (rt *Runtime) detachStale(ctx context.Context, n *Network, valid []cni.Attachment) error {
	keep := make(map[cni.Attachment]bool, len(valid))
	for _, a := range valid {
		keep[a] = true
	}
	records, err := rt.Attachments()
	errs := []error{err}
	for _, r := range records {
		if r.Network != n.Name || keep[r.Attachment] {
			continue
		}
		op := rt.operation(n, r.container())
		if err := op.collectStale(ctx); err != nil {
			errs = append(errs, op.failed("detach", err))
		}
	}
	return errors.Join(errs...)
}

func (op *operation) collectStale(ctx context.Context) error {
	if err := op.check(); err != nil {
		return err
	}
	if err := op.lockContainer(ctx, op.network.Name); err != nil {
		return err
	}
	defer op.leave(false)
	return op.detachLocked(ctx)
}
