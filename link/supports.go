package link

import (
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Supports reports whether the kernel knows links of that kind. It asks for one under a
// name that no link can have, so that nothing is made.
func (h *Handle) Supports(kind string) (bool, error) {
	err := h.add(kind, Base{Name: "."}, func(*nl.RtAttr) {})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	case err == nil:
		return true, h.Delete(".")
	}
	return true, nil
}
