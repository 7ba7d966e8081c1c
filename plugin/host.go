package plugin

import (
	"errors"
	"path/filepath"
	"sync"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// Dirs are the folders that hold what must outlive a call.
type Dirs struct {
	Leases string // of host-local, when its configuration names none
	State  string // of what dies with the kernel's state: on a tmpfs

	// Drivers holds what cnm has at Docker's drivers, who keep it over a reboot.
	Drivers string
}

// DefaultDirs are the system's: the reference plugins' leases, and /run.
var DefaultDirs = Dirs{Leases: "/var/lib/cni/networks", State: "/run/seam", Drivers: "/var/lib/cni/cnm"}

// A Host is what plugins work on: the links and the firewall of the network
// namespace it was made in, and the folders. Its sockets are opened when first
// needed and serve all plugins; Close closes them.
type Host struct {
	Dirs Dirs

	mu    sync.Mutex
	links *link.Handle
	table *nft.Table
}

// NewHost returns the host of the current network namespace.
func NewHost(dirs Dirs) *Host { return &Host{Dirs: dirs} }

// Links returns the host's links.
func (h *Host) Links() (*link.Handle, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.links == nil {
		links, err := link.Open()
		if err != nil {
			return nil, err
		}
		h.links = links
	}
	return h.links, nil
}

// Table returns Seam's firewall table on the host.
func (h *Host) Table() (*nft.Table, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.table == nil {
		table, err := nft.Open(filepath.Join(h.Dirs.State, "nft"))
		if err != nil {
			return nil, err
		}
		h.table = table
	}
	return h.table, nil
}

// Repair puts back what others removed from the host's firewall: Seam's table, whole,
// and the forwarding of attachments' traffic. Containers are not touched.
func (h *Host) Repair() error {
	table, err := h.Table()
	if err != nil {
		return err
	}
	links, err := h.Links()
	if err != nil {
		return err
	}
	ours, err := links.Tagged(aliasPrefix)
	errs := []error{table.Repair(), err}
	seen := make(map[int]bool)
	for _, l := range ours {
		if l.Kind != "veth" {
			continue // nothing is forwarded over it
		}
		forwarding := l.Index
		if l.Master != 0 { // a bridge forwards, its ports do not
			forwarding = l.Master
		}
		if !seen[forwarding] {
			errs = append(errs, h.admit(links, table, forwarding))
		}
		seen[forwarding] = true
	}
	return errors.Join(errs...)
}

func (h *Host) admit(links *link.Handle, table *nft.Table, index int) error {
	l, err := links.ByIndex(index)
	if err != nil {
		return err
	}
	return table.AdmitForward(l.Name)
}

// Close closes the sockets.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	if h.links != nil {
		errs = append(errs, h.links.Close())
	}
	if h.table != nil {
		errs = append(errs, h.table.Close())
	}
	h.links, h.table = nil, nil
	return errors.Join(errs...)
}
