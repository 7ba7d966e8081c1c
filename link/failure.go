package link

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// failure names what was done to what, and translates the kernel's errno: the one
// place where they are known.
func failure(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[netlink.LinkNotFoundError](err); ok {
		return fmt.Errorf("%s %s: %w", op, subject, notThere)
	}
	switch {
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ESRCH), errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%s %s: %w", op, subject, missing{err})
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s %s: not supported by this kernel: %w", op, subject, err)
	}
	return fmt.Errorf("%s %s: %w", op, subject, err)
}

// A NotThere says what is missing, or how, and matches fs.ErrNotExist without speaking of
// files.
type NotThere string

func (n NotThere) Error() string        { return string(n) }
func (n NotThere) Is(target error) bool { return target == fs.ErrNotExist }

const notThere NotThere = "is not there"

// A missing error is the kernel's, and matches fs.ErrNotExist.
type missing struct{ error }

func (m missing) Is(target error) bool { return target == fs.ErrNotExist }
func (m missing) Unwrap() error        { return m.error }

// A refusal is the kernel's, with its reason in words.
type refusal struct {
	errno  unix.Errno
	reason string
}

func (r refusal) Error() string { return r.errno.Error() + ": " + r.reason }
func (r refusal) Unwrap() error { return r.errno }

// sized is a link to be made, for errors: its MTU is the one number about it that kernels
// refuse.
func sized(name string, mtu int) string {
	if mtu == 0 {
		return name
	}
	return fmt.Sprintf("%s, mtu %d", name, mtu)
}

// Missing reports whether err says that what was named does not exist.
func Missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
