package ahead

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sync"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
)

// IfName is the interface of all attachments that are reservations. It is never made.
const IfName = "reserved"

// ContainerPrefix begins the container IDs of reservations.
const ContainerPrefix = "docker-"

// DefaultName is what a reservation's record calls it.
const DefaultName = "address reserved for Docker"

// A Desk is where addresses are asked for and given back. Its methods may be called
// concurrently; it is not to be copied.
type Desk struct {
	Runtime *seam.Runtime
	NetNS   string // path of a namespace that is the desk's alone; made when missing. It is to stay: without it all that is reserved counts as stale

	mu sync.Mutex // while the namespace is made
}

// A Request says which addresses are wanted. The zero value is what a container would
// get.
type Request struct {
	Addresses []netip.Addr // these
	Subnet    netip.Prefix // only from this one of the network's subnets; invalid: from all
	Range     netip.Prefix // of Subnet, where an address is to be taken from that Addresses does not name; invalid: anywhere
	Name      string       // of the record, for people; empty: DefaultName
}

// CanAsk reports whether addresses of the network can be asked for ahead, or why they
// cannot.
func (d *Desk) CanAsk(n *seam.Network) (ok bool, why string) {
	_, err := asked(n)
	if err != nil {
		return false, err.Error()
	}
	return true, ""
}

// Take reserves addresses of the network, and returns what its IPAM plugin says: a
// result without interfaces. id is the reservation's, by which Free knows it; letters, digits,
// '_', '.' and '-'. One that there is already is an error with cni.CodeExists. After any
// error nothing is reserved.
//
// The error of an address that someone has says who, if that can be told.
func (d *Desk) Take(ctx context.Context, n *seam.Network, id string, want Request) (*cni.Result, error) {
	alone, err := Alone(n)
	if err == nil && (len(want.Addresses) > 0 || want.Subnet.IsValid() || want.Range.IsValid()) {
		alone, err = narrow(alone, want)
	}
	if err != nil {
		return nil, err
	}
	c, err := d.container(alone, id, want)
	if err != nil {
		return nil, err
	}
	result, err := d.Runtime.Attach(ctx, alone, c)
	if err != nil {
		return nil, d.withHolder(n, want.Addresses, err)
	}
	if len(result.IPs) == 0 {
		err = fmt.Errorf("network %s: ipam %s: gave no address", n.Name, alone.Plugins[0].Type)
		return nil, errors.Join(err, d.Free(context.WithoutCancel(ctx), n.Name, id))
	}
	return result, nil
}

// container returns the reservation as one to attach.
func (d *Desk) container(n *seam.Network, id string, want Request) (seam.Container, error) {
	a := attachment(n.Name, id)
	c := seam.Container{ID: a.ContainerID, IfName: a.IfName, NetNS: d.NetNS, Name: want.Name}
	if c.Name == "" {
		c.Name = DefaultName
	}
	w := seam.Wishes{}
	if n.Plugins[0].Type != static { // whose addresses stand in its configuration
		for _, a := range want.Addresses {
			w.IPs = append(w.IPs, a.String())
		}
	}
	var err error
	if c.Args, c.Capabilities, err = w.Express(n); err != nil {
		return c, err
	}
	return c, d.furnish()
}

// furnish makes the namespace if it is not there.
func (d *Desk) furnish() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	ns, err := netns.Open(d.NetNS)
	if errors.Is(err, fs.ErrNotExist) {
		// After a reboot the file may be there with nothing mounted on it.
		if err := netns.Remove(d.NetNS); err != nil {
			return fmt.Errorf("namespace of reservations: %w", err)
		}
		ns, err = netns.NewAt(d.NetNS)
	}
	if err != nil {
		return fmt.Errorf("namespace of reservations: %w", err)
	}
	return ns.Close()
}

// Free gives back what is reserved by that ID. It needs no more than the reservation's
// record: the network's file may be gone. To free what is not reserved is no error.
func (d *Desk) Free(ctx context.Context, network, id string) error {
	r, err := d.Runtime.Attached(attachment(network, id))
	if err != nil || r == nil {
		return err
	}
	n, err := r.Recorded()
	if err != nil {
		return err
	}
	c := seam.Container{ID: r.ContainerID, IfName: r.IfName}
	if r.Alive() {
		c.NetNS = r.NetNS
	}
	return d.Runtime.Detach(ctx, n, c)
}

// Holds reports whether something is reserved by that ID, and counts as in use: after a
// reboot nothing does.
func (d *Desk) Holds(network, id string) (bool, error) {
	r, err := d.Runtime.Attached(attachment(network, id))
	return err == nil && r != nil && r.Alive(), err
}

func attachment(network, id string) cni.Attachment {
	return cni.Attachment{Network: network, ContainerID: ContainerPrefix + id, IfName: IfName}
}

// withHolder adds to an error about addresses that were asked for who has them. It
// lists the attachments: only what failed asks.
func (d *Desk) withHolder(n *seam.Network, wanted []netip.Addr, err error) error {
	if len(wanted) == 0 {
		return err
	}
	records, _ := d.Runtime.Attachments() // those that can be read
	for _, r := range records {
		if r.Network != n.Name || r.Result == nil {
			continue
		}
		for _, ip := range r.Result.IPs {
			if slices.Contains(wanted, ip.Address.Addr()) {
				return fmt.Errorf("address %s of network %s is in use by %s since %s: %w",
					ip.Address.Addr(), n.Name, who(&r), r.Created.Format("2006-01-02 15:04"), err)
			}
		}
	}
	return err
}

// who names the container of a record.
func who(r *seam.Record) string {
	id := "container " + r.ContainerID
	if r.Name == "" {
		return id
	}
	return r.Name + " (" + id + ")"
}
