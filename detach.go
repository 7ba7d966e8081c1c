package seam

import (
	"context"
	"errors"
	"fmt"

	"github.com/seamnet/seam/cni"
)

// Detach detaches the container from the network: it calls the plugins in reverse
// order with DEL, with the recorded result where the network's version is 0.4.0 or
// newer. Args and Capabilities that are nil are taken from the record. Plugins' errors
// are joined, and keep neither the others from being called nor Detach from being
// repeated: the record goes when all have succeeded.
//
// To detach what is not attached is no error, as it may be half attached.
func (rt *Runtime) Detach(ctx context.Context, n *Network, c Container) error {
	op := rt.operation(n, c)
	ctx, end := op.startSpan(ctx, Del)
	err := op.detach(ctx)
	end(err)
	if err != nil {
		return op.failed("detach", err)
	}
	return nil
}

func (op *operation) detach(ctx context.Context) error {
	if err := op.check(); err != nil {
		return err
	}
	if err := op.enter(ctx); err != nil {
		return err
	}
	defer op.leave(true)
	return op.detachLocked(ctx)
}

func (op *operation) detachLocked(ctx context.Context) (err error) {
	if op.pod, err = op.rt.leavable(op.container.NetNS); err != nil {
		return err
	}
	r, err := op.recall()
	if err != nil {
		return err
	}
	if err := op.declare(Del); err != nil {
		return err
	}
	if err := op.delAll(ctx, r.Result); err != nil {
		return err
	}
	if r.File != "" {
		if err := removeFile(r.File); err != nil {
			return err
		}
	}
	return removeFile(op.rt.failedFile(op.attachment()))
}

// recall returns the attachment's record, an empty one if there is none, and
// completes the container by it. One that cannot be read is removed: what is left to
// do is done without it.
func (op *operation) recall() (*Record, error) {
	r, err := op.rt.record(op.attachment())
	if corrupt, ok := errors.AsType[*corruptError](err); ok {
		r, err = nil, removeFile(corrupt.file)
	}
	if err != nil || r == nil {
		return &Record{}, err
	}
	op.complete(r)
	return r, nil
}

// complete takes from the record what the caller did not give.
func (op *operation) complete(r *Record) {
	if op.container.Args == nil {
		op.container.Args = r.Args
	}
	if op.container.Capabilities == nil {
		op.container.Capabilities = r.Capabilities
	}
}

// delAll calls all plugins with DEL.
func (op *operation) delAll(ctx context.Context, prev *cni.Result) error {
	return op.delFirst(ctx, len(op.network.Plugins), prev)
}

// delFirst calls the first count plugins with DEL, the last of them first.
func (op *operation) delFirst(ctx context.Context, count int, prev *cni.Result) error {
	if !op.network.atLeast("0.4.0") {
		prev = nil
	}
	var errs []error
	for place := count - 1; place >= 0; place-- {
		if ctx.Err() != nil {
			errs = append(errs, fmt.Errorf("%d plugins not called: %w", place+1, context.Cause(ctx)))
			break
		}
		if err := op.del(ctx, place, prev); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (op *operation) del(ctx context.Context, place int, prev *cni.Result) error {
	return op.bounded(ctx, place, func(ctx context.Context) error {
		p, err := op.find(place)
		if err != nil {
			return err
		}
		r, err := op.request(place, prev)
		if err != nil {
			return err
		}
		return p.Del(ctx, r)
	})
}
