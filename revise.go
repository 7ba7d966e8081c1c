package seam

import (
	"context"
	"fmt"
	"io/fs"
)

// Revise rewrites the record of an attachment, for who has changed, after Attach, what
// the record says: moved the interface to another namespace, taken routes out. No plugin
// is called. change may set NetNS, Result and Name; what it does to other fields is lost.
// It is called while the container is locked, and not at all if Revise fails before.
//
// With another NetNS, the namespace there, which must exist and not be the runtime's
// own, is the one that the attachment is known by from then on, and the interfaces of
// the result that were in the old one are in the new one.
//
// Without a record the error matches fs.ErrNotExist. After any error the record is as
// it was.
func (rt *Runtime) Revise(ctx context.Context, n *Network, c Container, change func(r *Record)) error {
	op := rt.operation(n, c)
	if err := op.revise(ctx, change); err != nil {
		return op.failed("revise", err)
	}
	return nil
}

func (op *operation) revise(ctx context.Context, change func(r *Record)) error {
	if err := op.check(); err != nil {
		return err
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
		return fmt.Errorf("not attached, as far as is known in %s: %w", op.rt.cacheDir(), fs.ErrNotExist)
	case r.Result == nil:
		return fmt.Errorf("attachment %s: %w", r.File, r.broken)
	}
	changed := *r
	change(&changed)
	if r.Config == nil { // a bare result, as libcni wrote once
		r.Config = op.network.Raw
	}
	r.Name, r.Result = changed.Name, changed.Result.Clone()
	if changed.NetNS != r.NetNS {
		if err := op.rt.move(r, changed.NetNS); err != nil {
			return err
		}
	}
	return op.rt.rewriteRecord(r)
}

// move makes the record one of an attachment in the namespace at path.
func (rt *Runtime) move(r *Record, path string) error {
	pod, err := rt.enterable(path)
	if err != nil {
		return err
	}
	for place := range r.Result.Interfaces {
		if i := &r.Result.Interfaces[place]; i.Sandbox == r.NetNS && i.Sandbox != "" {
			i.Sandbox = path
		}
	}
	r.NetNS, r.pod = path, pod
	return nil
}

// rewriteRecord writes a record to the file that it was read from, where it is found
// again whatever has become of the attachment that had the better name. The container's lock
// is held.
func (rt *Runtime) rewriteRecord(r *Record) error {
	data, err := r.encode()
	if err != nil {
		return err
	}
	if err := writeFile(r.File, rt.recordScratch(r.ContainerID), data); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}
