// Package oci attaches containers of OCI runtimes (runc, crun and what builds on
// them) to networks, as the hooks that such a runtime calls: createRuntime when the
// container's namespaces exist, poststop when it is deleted. What a container is to
// join stands in its annotations (see Joins).
//
// It is not for runtimes that speak CNI themselves, such as containerd's CRI and
// CRI-O, which execute plugins. Containers without annotations of Seam's are left
// alone.
//
// To debug: give "seam hook createRuntime --trace" the state of a container, as
// "runc state" prints it, on standard input; the container is attached anew.
package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/state"
)

// A Hook answers the calls of container runtimes.
type Hook struct {
	Runtime *seam.Runtime
	ConfDir string // of the networks' files

	// Notes is the folder of what containers were attached to: one small file each, while
	// they are. It should be on a tmpfs, as Runtime.RunDir, and is made when missing.
	Notes string
}

// CreateRuntime attaches the container to the networks of its annotations: all of
// them or, with an error, none. It is the hook createRuntime and the older prestart.
func (h *Hook) CreateRuntime(ctx context.Context, s *State) error {
	joins, err := Joins(s.Annotations)
	if err != nil || len(joins) == 0 {
		return err
	}
	b, err := readBundle(s.Bundle)
	if err != nil {
		return err
	}
	netNS, err := b.namespace(s.Pid)
	if err != nil {
		return err
	}
	networks, containers, err := h.prepare(joins, s.ID, netNS)
	if err != nil {
		return err
	}
	if err := h.Poststop(ctx, s); err != nil {
		return fmt.Errorf("what an earlier container of that name left: %w", err)
	}
	n := &note{ID: s.ID, Bundle: s.Bundle, NetNS: netNS}
	for i := range joins {
		n.Attached = append(n.Attached, attached{joins[i].IfName, networks[i]})
	}
	if err := h.write(n); err != nil {
		return err
	}
	for i := range joins {
		if _, err := h.Runtime.Attach(ctx, networks[i], containers[i]); err != nil {
			n.Attached = n.Attached[:i]
			return errors.Join(err, h.undo(context.WithoutCancel(ctx), n, netNS))
		}
	}
	return nil
}

// prepare loads the networks and puts the wishes into their words, before anything
// is touched.
func (h *Hook) prepare(joins []Join, id, netNS string) ([]*seam.Network, []seam.Container, error) {
	networks, containers := make([]*seam.Network, len(joins)), make([]seam.Container, len(joins))
	for i, j := range joins {
		n, err := seam.Load(h.ConfDir, j.Network)
		if err != nil {
			return nil, nil, err
		}
		c := seam.Container{ID: ContainerID(id), IfName: j.IfName, NetNS: netNS}
		c.Args, c.Capabilities, err = j.Wishes.Express(n)
		if untaken, ok := errors.AsType[*seam.UntakenError](err); ok {
			return nil, nil, cni.Errorf(cni.CodeInvalidEnvironment, "%w: %s", err, untaken.Hint())
		}
		networks[i], containers[i] = n, c
	}
	return networks, containers, nil
}

// Poststop detaches the container from all that CreateRuntime attached it to,
// whatever has become of annotations, files and namespace. To repeat it is fine, and so
// is a container that was attached to nothing.
func (h *Hook) Poststop(ctx context.Context, s *State) error {
	file := h.file(s.ID, s.Bundle)
	n, err := state.Read[note](file)
	if err != nil && !errors.Is(err, state.ErrUnreadable) {
		return err // the next try may read it
	}
	if n == nil { // what an unreadable one told is left to Runtime.Collect
		return errors.Join(err, state.Remove(file))
	}
	return h.undo(ctx, n, n.leftNetNS())
}

// undo detaches what the note says and removes it; what could not be detached is
// noted on, for the next try.
func (h *Hook) undo(ctx context.Context, n *note, netNS string) error {
	var errs []error
	var left []attached
	for _, a := range slices.Backward(n.Attached) {
		c := seam.Container{ID: ContainerID(n.ID), IfName: a.IfName, NetNS: netNS}
		if err := h.Runtime.Detach(ctx, a.Network, c); err != nil {
			errs = append(errs, err)
			left = append(left, a)
		}
	}
	if len(left) == 0 {
		return state.Remove(h.file(n.ID, n.Bundle))
	}
	slices.Reverse(left)
	n.Attached = left
	return errors.Join(append(errs, h.write(n))...)
}
