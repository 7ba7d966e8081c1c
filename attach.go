package seam

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seamnet/seam/cni"
)

// Attach attaches the container to the network: it calls the plugins in their order
// with ADD, each with the result of the one before, records the attachment and
// returns the last result. If anything fails it detaches, at once and whatever has
// become of ctx, so that nothing is left.
//
// These are refused before anything is touched: names that are none, with
// CodeInvalidEnvironment or CodeInvalidConfig; a namespace that is missing or the
// runtime's own, with CodeInvalidNetNS; an unknown version, with
// CodeIncompatibleVersion; a plugin that is not there, with CodeInvalidConfig; an
// attachment that there is already, with CodeExists. One whose namespace is gone does
// not count: it is detached first.
func (rt *Runtime) Attach(ctx context.Context, n *Network, c Container) (*cni.Result, error) {
	op := rt.operation(n, c)
	ctx, end := op.startSpan(ctx, Add)
	result, err := op.attach(ctx)
	end(err)
	if err != nil {
		return nil, op.failed("attach", err)
	}
	return result, nil
}

func (op *operation) failed(what string, err error) error {
	return fmt.Errorf("%s %s: %w", what, op.attachment().Tag(), err)
}

func (op *operation) attach(ctx context.Context) (*cni.Result, error) {
	if err := op.check(); err != nil {
		return nil, err
	}
	var err error
	if op.pod, err = op.rt.enterable(op.container.NetNS); err != nil {
		return nil, err
	}
	chain, err := op.chain()
	if err != nil {
		return nil, err
	}
	if err := op.enter(ctx); err != nil {
		return nil, err
	}
	defer op.leave(false)
	if err := op.vacate(ctx); err != nil {
		return nil, err
	}
	if err := op.declare(Add); err != nil {
		return nil, err
	}
	return op.addAll(ctx, chain)
}

// chain finds all plugins.
func (op *operation) chain() ([]*traced, error) {
	chain := make([]*traced, len(op.network.Plugins))
	for place := range chain {
		var err error
		if chain[place], err = op.find(place); err != nil {
			return nil, err
		}
	}
	return chain, nil
}

// vacate makes sure that the attachment does not exist, not even half.
func (op *operation) vacate(ctx context.Context) error {
	a := op.attachment()
	if err := op.rt.recoverFailed(ctx, op.rt.failedFile(a), op.network); err != nil {
		return err
	}
	r, err := op.rt.record(a)
	switch {
	case err != nil:
		return cni.Errorf(cni.CodeExists, "attached already, but %w", err).WithDetails("detach it first")
	case r == nil:
		return nil
	case r.Alive():
		return cni.Errorf(cni.CodeExists, "attached already, since %s", r.Created.Format(time.DateTime)).WithDetails("detach it first")
	}
	old := op.rt.operation(op.network, r.container())
	if err := old.delAll(ctx, r.Result); err != nil {
		return fmt.Errorf("of the same name, in a namespace that is gone: %w", err)
	}
	return removeFile(r.File)
}

// addAll runs the chain and records its result, or undoes it.
func (op *operation) addAll(ctx context.Context, chain []*traced) (*cni.Result, error) {
	var result *cni.Result
	for place, p := range chain {
		r, err := op.next(ctx, place, result)
		if err != nil {
			return nil, op.rollBack(ctx, place, result, err)
		}
		next, err := op.add(ctx, place, p, r)
		switch {
		case err == nil:
			result = next
		case cni.IsUntouched(err): // its DEL could not be served either, or would hit what was there
			return nil, op.rollBack(ctx, place, result, err)
		default:
			return nil, op.rollBack(ctx, place+1, result, err)
		}
	}
	if err := op.settle(result); err != nil {
		return nil, op.rollBack(ctx, len(chain), result, err)
	}
	return result, nil
}

// next prepares the call of the plugin at that place.
func (op *operation) next(ctx context.Context, place int, prev *cni.Result) (*cni.Request, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if prev != nil {
		if err := op.journal.progress(prev); err != nil {
			return nil, err
		}
	}
	return op.request(place, prev)
}

func (op *operation) add(ctx context.Context, place int, p *traced, r *cni.Request) (result *cni.Result, err error) {
	err = op.bounded(ctx, place, func(ctx context.Context) error {
		result, err = p.Add(ctx, r)
		if err == nil && result == nil {
			err = errors.New("no result")
		}
		return err
	})
	return result, err
}

// rollBack detaches what the first plugins of the chain did. If that fails, too, the
// intent is kept for Recover and Collect.
func (op *operation) rollBack(ctx context.Context, begun int, last *cni.Result, cause error) error {
	op.steps.undo = true
	undo := op.delFirst(context.WithoutCancel(ctx), begun, last)
	if undo == nil {
		return cause
	}
	a := op.attachment()
	if err := op.rt.setAside(op.journal, a); err != nil {
		undo = errors.Join(undo, err)
	}
	return errors.Join(cause, fmt.Errorf("roll back, to be tried again from %s: %w", op.rt.failedFile(a), undo))
}

// settle records the attachment.
func (op *operation) settle(result *cni.Result) error {
	c := &op.container
	return op.rt.writeRecord(&Record{
		Attachment: op.attachment(), Name: c.Name, NetNS: c.NetNS, Args: c.Args, Capabilities: c.Capabilities,
		Config: op.network.Raw, Version: op.network.Version, Result: result,
		Created: op.rt.now(), Steps: op.steps.all, pod: op.pod,
	})
}
