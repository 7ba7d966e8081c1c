package hostdevice

import (
	"context"
	"net"
	"path/filepath"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
)

// A loan is what is to be known of a device until it is back: to whom it was lent, and
// what it was like.
type loan struct {
	Tag   cni.Tag `json:"tag"`
	NetNS string  `json:"netns"`

	Name      string           `json:"name"`
	Device    string           `json:"device,omitempty"` // its folder in sysfs
	Physical  bool             `json:"physical,omitempty"`
	Alias     string           `json:"alias,omitempty"`
	MAC       string           `json:"mac,omitempty"`
	MTU       int              `json:"mtu"`
	Up        bool             `json:"up"`
	Addresses []link.SavedAddr `json:"addresses,omitempty"`
}

// change returns what makes l, which is down, as it was, but for its names.
func (n *loan) change(l link.Link) link.Change {
	c := link.Change{Up: n.Up}
	if mac, err := net.ParseMAC(n.MAC); err == nil && l.MAC.String() != n.MAC {
		c.MAC = mac
	}
	if l.MTU != n.MTU {
		c.MTU = n.MTU
	}
	return c
}

func (n *loan) mark() string { return plugin.Mark(n.Tag) }

// atHome reports whether the device, which bears no mark, is on the host under its own name:
// it never left, or someone brought it back by hand.
func (n *loan) atHome(host *link.Handle, sys sysfs) bool {
	l, err := host.ByName(n.Name)
	return err == nil && sys.deviceOf(l.Name) == n.Device
}

// A book is the folder that holds the loans, each in a file that has the name of its mark.
type book struct{ dir string }

func bookOf(h *plugin.Host) *book { return &book{h.State("host-device")} }

// lock makes all processes that lend or return go one after another.
func (b *book) lock(ctx context.Context) (unlock func(), err error) { return state.Lock(ctx, b.dir) }

func (b *book) path(mark string) string { return filepath.Join(b.dir, mark+".json") }

// read returns nil if nothing is written of it.
func (b *book) read(mark string) (*loan, error) { return state.Read[loan](b.path(mark)) }

func (b *book) write(n *loan) error { return state.Write(b.path(n.mark()), n) }

func (b *book) remove(mark string) error { return state.Remove(b.path(mark)) }

// list returns all loans, and errors for those that cannot be read.
func (b *book) list() ([]*loan, error) { return state.List[loan](b.dir) }
