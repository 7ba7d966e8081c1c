package seam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
)

// Recover undoes what killed operations left, and tries again what could not be
// undone before: the whole chain gets DEL, as it was configured then; Attach and Collect
// know how it is configured now, and correct mistakes by that. Every other
// operation does the first on its way in, so that Recover is for after a boot and for
// problems that were put right. What is in flight is left alone.
func (rt *Runtime) Recover(ctx context.Context) error {
	if err := rt.recoverAll(ctx, nil); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return nil
}

// recoverAll is Recover while the lock of the network is held; unless that is nil,
// failures of other networks are left for others.
func (rt *Runtime) recoverAll(ctx context.Context, n *Network) error {
	held := nameOf(n)
	var errs []error
	for _, name := range rt.journalNames() {
		if inFlight(name) {
			errs = append(errs, rt.recoverOne(ctx, name, held))
		}
	}
	for _, name := range rt.journalNames() {
		if strings.HasSuffix(name, failedSuffix) {
			errs = append(errs, rt.retry(ctx, filepath.Join(rt.journalDir(), name), n))
		}
	}
	return errors.Join(errs...)
}

// nameOf returns "" for no network.
func nameOf(n *Network) string {
	if n == nil {
		return ""
	}
	return n.Name
}

// recoverDead undoes what killed operations of idle containers left. On the way
// into an operation on another container its failures are of no concern: they are set
// aside, traced, and reported by Recover and Collect.
func (rt *Runtime) recoverDead(ctx context.Context) {
	for _, name := range rt.journalNames() {
		if inFlight(name) {
			_ = rt.recoverOne(ctx, name, "")
		}
	}
}

// journalNames lists the journal, which only holds what is in flight or failed.
func (rt *Runtime) journalNames() []string {
	dir, err := os.Open(rt.journalDir())
	if err != nil {
		return nil // not made yet
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return names
}

func (rt *Runtime) recoverOne(ctx context.Context, name, held string) error {
	l, err := tryLockFile(filepath.Join(rt.journalDir(), name), false, 0)
	if errors.Is(err, errBusy) || errors.Is(err, fs.ErrNotExist) {
		return nil // in flight, or done
	}
	if err != nil {
		return err
	}
	err = rt.recoverLocked(ctx, l, held)
	if err != nil {
		l.release()
		if errors.Is(err, errBusy) {
			return nil // its network is being collected, and so is this
		}
		return err
	}
	return l.remove()
}

// recoverLocked undoes the intent in a container's file, if there is one, and leaves
// the file empty; an intent that cannot be undone is set aside. An error means that
// it is in the file still: with errBusy, because its network is being collected.
func (rt *Runtime) recoverLocked(ctx context.Context, l *lock, held string) error {
	in, last, err := readIntent(l.file)
	if err != nil && !errors.Is(err, errNoIntent) {
		return err
	}
	if err := removeFile(rt.scratchOf(l)); err != nil {
		return err
	}
	if in == nil {
		return l.file.Truncate(0)
	}
	err = rt.undo(ctx, in, last, held)
	switch {
	case err == nil:
		return l.file.Truncate(0)
	case errors.Is(err, errBusy), ctx.Err() != nil:
		return err
	}
	return rt.setAside(l, in.attachment())
}

// undo detaches what an intent was about, and removes its record. The container's
// lock is held.
func (rt *Runtime) undo(ctx context.Context, in *intent, last *cni.Result, held string) error {
	if in.Network.Name != held {
		l, err := tryLockFile(rt.networkFile(in.Network.Name), true, os.O_CREATE)
		if err != nil {
			return err
		}
		defer l.remove()
	}
	if r, err := rt.record(in.attachment()); err == nil && r != nil && r.Result != nil {
		last = r.Result
	}
	op := rt.operation(in.Network, in.container())
	op.steps.undo = true
	if err := op.delAll(ctx, last); err != nil {
		return err
	}
	return rt.removeRecord(in.attachment())
}

// setAside moves the intent out of the container's file, so that it does not stand
// in the way of the container's other attachments.
func (rt *Runtime) setAside(l *lock, a cni.Attachment) error {
	data, err := os.ReadFile(l.path)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := writeFile(rt.failedFile(a), l.path+".new", data); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return l.file.Truncate(0)
}

// recoverFailed tries again to undo an intent that was set aside, as the network was
// configured then, and if that fails for a mistake in there, as it is configured now. There
// may be no intent. The container's lock is held, and so is the network's, unless n is nil.
func (rt *Runtime) recoverFailed(ctx context.Context, file string, n *Network) error {
	held := nameOf(n)
	in, last, err := readFailed(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, errNoIntent):
		return removeFile(file)
	case err != nil:
		return err
	}
	err = rt.undo(ctx, in, last, held)
	if mistaken(err) && in.Network.Name == held && n.hasAll(in.Network.Plugins) {
		now := *in
		now.Network = n
		if rt.undo(ctx, &now, last, held) == nil {
			err = nil
		}
	}
	if err != nil {
		return cni.Errorf(cni.CodeOf(err), "undo what is in %s: %w", file, err).
			WithDetails("try again when the cause is gone; to give up what it may have left, remove the file")
	}
	return removeFile(file)
}

// mistaken reports whether err says, in all its parts, that a configuration is wrong: then
// nothing was done by it, and another one may undo the rest.
func mistaken(err error) bool {
	switch e := err.(type) {
	case *cni.Error:
		switch e.Code {
		case cni.CodeIncompatibleVersion, cni.CodeUnsupportedField, cni.CodeDecoding, cni.CodeInvalidConfig:
			return true
		}
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(part error) bool { return !mistaken(part) })
	case interface{ Unwrap() error }:
		return mistaken(e.Unwrap())
	}
	return false
}

// hasAll reports whether every one of the plugins stands in the network's chain too, by
// type. What one left that does not, the chain cannot undo.
func (n *Network) hasAll(plugins []PluginConfig) bool {
	has := func(p PluginConfig) bool {
		return slices.ContainsFunc(n.Plugins, func(other PluginConfig) bool { return other.Type == p.Type })
	}
	return !slices.ContainsFunc(plugins, func(p PluginConfig) bool { return !has(p) })
}

func readFailed(file string) (*intent, *cni.Result, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	return parseIntent(data)
}

// retry is recoverFailed for who does not hold the container's lock. What is in
// flight, and what is of another network than n, is left for another time.
func (rt *Runtime) retry(ctx context.Context, file string, n *Network) error {
	held := nameOf(n)
	in, _, err := readFailed(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && held != "" && in.Network.Name != held:
		return nil
	case err != nil && !errors.Is(err, errNoIntent):
		return err
	}
	container, _, _ := strings.Cut(filepath.Base(file), ".")
	l, err := tryLockFile(filepath.Join(rt.journalDir(), container), false, os.O_CREATE)
	if errors.Is(err, errBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	err = rt.recoverLocked(ctx, l, held)
	if err == nil {
		defer l.remove()
		err = rt.recoverFailed(ctx, file, n)
	} else {
		l.release()
	}
	if errors.Is(err, errBusy) {
		return nil
	}
	return err
}
