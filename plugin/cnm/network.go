package cnm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/cnm/wire"
	"github.com/seamnet/seam/state"
)

// A wish is a network as the configuration wants it.
type wish struct {
	Name     string            `json:"name"` // CNI's
	Driver   string            `json:"driver"`
	Options  map[string]string `json:"options,omitempty"`
	Internal bool              `json:"internal,omitempty"`

	IPAM        string            `json:"ipamDriver,omitempty"`
	IPAMOptions map[string]string `json:"ipamOptions,omitempty"`

	Subnets  []netip.Prefix        `json:"subnets,omitempty"`
	Gateways []netip.Addr          `json:"gateways,omitempty"`
	Ranges   []netip.Prefix        `json:"ipRanges,omitempty"`
	Aux      map[string]netip.Addr `json:"auxAddresses,omitempty"`
	IPv6     bool                  `json:"ipv6,omitempty"`
}

// id is derived, so that whoever lost all records asks for the same network again.
func (w *wish) id() cnm.NetworkID {
	return cnm.NetworkID(cni.Tag(w.Driver + "/" + w.Name).Hash(64))
}

func (w *wish) same(other *wish) bool {
	a, aErr := json.Marshal(w)
	b, bErr := json.Marshal(other)
	return aErr == nil && bErr == nil && bytes.Equal(a, b)
}

// A network is one at a driver: the record of it.
type network struct {
	Wish  wish          `json:"wish"`
	ID    cnm.NetworkID `json:"id"`
	Dirs  []string      `json:"pluginDirs,omitempty"`
	Pools []pool        `json:"pools,omitempty"`
	Made  stage         `json:"made,omitempty"` // by CreateNetwork
	Told  bool          `json:"told,omitempty"` // what the driver refused to remove

	book *book
}

func (n *network) write() error { return state.Write(n.book.networkFile(), n) }

func (n *network) driver() (*wire.Client, error) { return find(n.Wish.Driver, n.Dirs) }

// ipam returns nil without an IPAM driver.
func (n *network) ipam() (*wire.Client, error) {
	if n.Wish.IPAM == "" {
		return nil, nil
	}
	return find(n.Wish.IPAM, n.Dirs)
}

// ensure returns the network that is wished for, which it makes if it is not there. Who
// calls it holds the book's lock. Of one that is there, others is how many endpoints it
// has: it is made anew if the wish has become another and there are none.
func (b *book) ensure(ctx context.Context, w *wish, dirs []string, given []cni.IP) (*network, error) {
	n, err := b.network()
	if errors.Is(err, state.ErrUnreadable) {
		n, err = &network{Wish: *w, ID: w.id(), Dirs: dirs, Made: begun, book: b}, nil
	}
	if err != nil {
		return nil, err
	}
	if n != nil && n.Made == done && n.Wish.same(w) {
		return n, nil
	}
	if n != nil {
		if err := n.makeWay(ctx, w); err != nil {
			return nil, err
		}
	}
	n = &network{Wish: *w, ID: w.id(), Dirs: dirs, book: b}
	return n, n.make(ctx, given)
}

// makeWay removes a network that is not as it is wished for, or was never completed.
func (n *network) makeWay(ctx context.Context, w *wish) error {
	all, err := n.book.endpoints()
	if err != nil {
		return err
	}
	if n.Made == done && len(all) > 0 {
		return cni.Errorf(cni.CodeInvalidConfig, "network %q: its configuration was changed, and %d containers are attached to it as it was at driver %s", w.Name, len(all), n.Wish.Driver).
			WithDetails("a Docker network cannot be changed: detach them first, or give the changed network another name")
	}
	return n.remove(ctx)
}

// make makes the network. given is what CNI's IPAM gave the first attachment.
func (n *network) make(ctx context.Context, given []cni.IP) error {
	d, err := n.driver()
	if err != nil {
		return err
	}
	if err := ready(ctx, d, n.Wish.Driver); err != nil {
		return err
	}
	if err := n.reserve(ctx, given); err != nil {
		return err
	}
	n.Made = begun
	if err := n.write(); err != nil {
		return err
	}
	if err := d.CreateNetwork(ctx, n.request()); err != nil {
		return fmt.Errorf("network %q: %w", n.Wish.Name, err)
	}
	n.Made = done
	return n.write()
}

// request is the network as the driver is asked for it.
func (n *network) request() *cnm.Network {
	request := &cnm.Network{ID: n.ID, Options: n.Wish.Options, Internal: n.Wish.Internal, NoIPv4: true}
	for _, p := range n.Pools {
		request.Pools = append(request.Pools, cnm.AddressPool{Space: p.Space, Subnet: p.Subnet, Gateway: p.Gateway, Aux: p.Aux})
		if p.Subnet.Addr().Is4() {
			request.NoIPv4 = false
		} else {
			request.IPv6 = true
		}
	}
	return request
}

// remove removes the network, in an engine's order, and its record. Who calls it holds the
// book's lock.
func (n *network) remove(ctx context.Context) error {
	f := &farewell{told: n.Told}
	if err := n.release(ctx, f); err != nil {
		return err
	}
	if n.Made != "" && len(f.silent) == 0 {
		d, err := n.driver()
		if err == nil {
			err = d.DeleteNetwork(ctx, n.ID)
		}
		if f.heard(err, n.Made) {
			n.Made = ""
		}
	}
	if err := f.err(n.book.networkFile()); err != nil {
		n.Told = n.Told || len(f.silent) == 0
		return errors.Join(fmt.Errorf("network %q: %w", n.Wish.Name, err), n.write())
	}
	return n.book.remove()
}
