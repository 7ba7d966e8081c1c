package cnm

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/cnm/wire"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
)

// An endpoint is an attachment at its driver: the record of it, which is written before each
// step, so that whoever comes after a kill knows what there may be.
type endpoint struct {
	Tag   cni.Tag `json:"tag"`
	NetNS string  `json:"netns"`
	Name  string  `json:"ifname"`

	Leases     []lease `json:"leases,omitempty"`
	Created    stage   `json:"created,omitempty"`
	Joined     stage   `json:"joined,omitempty"`
	Link       string  `json:"link,omitempty"` // what the driver calls it on the host
	Programmed bool    `json:"programmed,omitempty"`
	Told       bool    `json:"told,omitempty"` // what the driver refused to remove

	ID   cnm.EndpointID `json:"-"` // the file's name
	book *book
}

// A lease is an address that an IPAM driver was asked for.
type lease struct {
	Pool    cnm.PoolID `json:"pool"`
	Address netip.Addr `json:"address"`
}

func endpointID(t cni.Tag) cnm.EndpointID { return cnm.EndpointID(t.Hash(64)) }

func (e *endpoint) file() string { return e.book.endpointFile(e.ID) }

func (e *endpoint) write() error { return state.Write(e.file(), e) }

// An attaching is an ADD on its way.
type attaching struct {
	*plugin.Call
	conf *Config
	net  *network
	end  *endpoint

	driver *wire.Client
	join   *cnm.Join
	iface  cnm.Interface // as it will be
	joined *cnm.Joined
}

// begin makes the network if it is not there, and notes the endpoint, so that the network
// stays.
func (a *attaching) begin(ctx context.Context) (err error) {
	b := bookOf(a.Host(), a.Network)
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if a.net, err = b.ensure(ctx, a.conf.wish(a.Request), a.conf.PluginDirs, a.Result.IPs); err != nil {
		return err
	}
	a.end = &endpoint{Tag: a.Tag(), NetNS: a.NetNS, Name: a.IfName, ID: endpointID(a.Tag()), book: b}
	a.driver, err = a.net.driver()
	return errors.Join(err, a.end.write())
}

// address sets what the driver is told of the interface: its MAC address, if one is asked
// for, and its addresses, of CNI's IPAM, of an IPAM driver, or those that are asked for.
func (a *attaching) address(ctx context.Context) (err error) {
	if a.iface.MAC, err = a.conf.hardware(a.Request); err != nil {
		return err
	}
	if a.conf.IPAM.Type != "" {
		for _, ip := range a.Result.IPs {
			a.iface.Addresses = append(a.iface.Addresses, ip.Address)
		}
		return onePerFamily("ipam", a.iface.Addresses)
	}
	asked, err := a.conf.asked(a.Request)
	if err != nil {
		return err
	}
	if a.net.Wish.IPAM != "" {
		return a.lease(ctx, asked)
	}
	for _, p := range asked {
		if !p.IsValid() {
			return cni.Errorf(cni.CodeInvalidConfig, "cnm: address %s: without an IPAM driver it needs its subnet's length, as in %s/24", p.Addr(), p.Addr())
		}
	}
	a.iface.Addresses = asked
	return nil
}

// lease asks the IPAM driver for an address of each pool.
func (a *attaching) lease(ctx context.Context, asked []netip.Prefix) error {
	ipam, err := a.net.ipam()
	if err != nil {
		return err
	}
	can, err := ipam.IPAMCapabilities(ctx)
	if err != nil {
		return err
	}
	if can.RequiresMAC && a.iface.MAC == nil {
		a.iface.MAC = ownMAC(a.Tag())
	}
	for _, p := range asked {
		if !slices.ContainsFunc(a.net.Pools, func(in pool) bool { return in.Subnet.Contains(p.Addr()) }) {
			return cni.Errorf(cni.CodeInvalidConfig, "cnm: address %s: is in no subnet of the network", p.Addr())
		}
	}
	for _, in := range a.net.Pools {
		r := &cnm.AddressRequest{Pool: in.ID, Name: podName(a.Request)}
		if can.RequiresMAC {
			r.MAC = a.iface.MAC
		}
		r.Address = of(in.Subnet.Addr(), asked).Addr()
		if r.Address.IsValid() {
			a.end.Leases = append(a.end.Leases, lease{in.ID, r.Address})
			if err := a.end.write(); err != nil {
				return err
			}
		}
		got, err := ipam.RequestAddress(ctx, r)
		if err != nil {
			return err
		}
		if !r.Address.IsValid() {
			a.end.Leases = append(a.end.Leases, lease{in.ID, got.Addr()})
			if err := a.end.write(); err != nil {
				return err
			}
		}
		a.iface.Addresses = append(a.iface.Addresses, got)
	}
	return nil
}

// podName is what people call the container.
func podName(r *cni.Request) string {
	if name := r.Args.Get("K8S_POD_NAME"); name != "" {
		return name
	}
	return r.ContainerID
}

// ownMAC is for IPAM drivers that give addresses by it: locally administered, and the
// attachment's own.
func ownMAC(t cni.Tag) net.HardwareAddr {
	digits, _ := hex.DecodeString(t.Hash(12)) // they are hexadecimal
	digits[0] = digits[0]&^1 | 2
	return digits
}

// create makes the endpoint and joins the namespace.
func (a *attaching) create(ctx context.Context) error {
	ports, err := a.conf.ports()
	if err != nil {
		return err
	}
	a.end.Created = begun
	if err := a.end.write(); err != nil {
		return err
	}
	chosen, err := a.driver.CreateEndpoint(ctx, &cnm.Endpoint{
		Network: a.net.ID, ID: a.end.ID, Interface: a.iface, Ports: ports, Exposed: exposed(ports),
		DNS: a.conf.servers(), Name: a.IfName, Options: a.conf.driverOpts(),
	})
	if err != nil {
		return err
	}
	a.end.Created, a.end.Joined = done, begun
	if err := errors.Join(a.choose(chosen), a.end.write()); err != nil {
		return err
	}
	a.join = &cnm.Join{Network: a.net.ID, Endpoint: a.end.ID, Sandbox: a.NetNS, Ports: ports, Exposed: exposed(ports)}
	if a.joined, err = a.driver.Join(ctx, a.join); err != nil {
		return err
	}
	a.end.Joined = done
	if a.joined.Link != nil {
		a.end.Link = a.joined.Link.Name
	}
	return a.end.write()
}

// choose takes over what the driver chose. It may not change what it was told.
func (a *attaching) choose(chosen *cnm.Interface) error {
	if chosen == nil {
		return nil
	}
	for _, p := range chosen.Addresses {
		switch is := of(p.Addr(), a.iface.Addresses); {
		case !is.IsValid():
			a.iface.Addresses = append(a.iface.Addresses, p)
		case is != p:
			return fmt.Errorf("driver %s: chose address %s in the place of %s", a.conf.Driver, p, is)
		}
	}
	if chosen.MAC != nil && a.iface.MAC != nil && !bytes.Equal(chosen.MAC, a.iface.MAC) {
		return fmt.Errorf("driver %s: chose MAC address %s in the place of %s", a.conf.Driver, chosen.MAC, a.iface.MAC)
	}
	if chosen.MAC != nil {
		a.iface.MAC = chosen.MAC
	}
	return nil
}

// program tells the driver that the endpoint leads out, which is when it publishes ports.
func (a *attaching) program(ctx context.Context) error {
	if len(a.gateways()) == 0 {
		return nil
	}
	a.end.Programmed = true
	if err := a.end.write(); err != nil {
		return err
	}
	return a.driver.Program(ctx, a.join)
}

// gateways returns none on a network without a way out.
func (a *attaching) gateways() []netip.Addr {
	if a.net.Wish.Internal {
		return nil
	}
	return a.joined.Gateways
}

// remove takes the endpoint away, as an engine does, and its record. Whatever the driver
// does not answer stays noted.
func (e *endpoint) remove(ctx context.Context, host *link.Handle) error {
	f := &farewell{told: e.Told}
	n, err := e.book.network()
	if err != nil && !errors.Is(err, state.ErrUnreadable) {
		return err
	}
	if n == nil { // it was removed by hand, or cannot be read: nobody knows the driver any more
		return errors.Join(e.takeBack(host), state.Remove(e.file()))
	}
	errs := []error{e.leave(ctx, n, host, f)}
	if e.Created == "" { // else someone else would get the address of one that is there
		errs = append(errs, e.release(ctx, n, f))
	}
	errs = append(errs, f.err(e.file()))
	if err := errors.Join(errs...); err != nil {
		e.Told = e.Told || len(f.silent) == 0 && len(f.refused) > 0
		return errors.Join(fmt.Errorf("endpoint of %s: %w", e.Tag, err), e.write())
	}
	return state.Remove(e.file())
}

// leave undoes Program, Join and CreateEndpoint. Between the last two, what was moved to the
// namespace goes back to the host: drivers look for it there.
func (e *endpoint) leave(ctx context.Context, n *network, host *link.Handle, f *farewell) error {
	if e.Created == "" {
		return nil
	}
	d, err := n.driver()
	if err == nil && e.Programmed {
		err = d.Revoke(ctx, n.ID, e.ID)
		e.Programmed = unanswered(err)
	}
	if !unanswered(err) && e.Joined != "" {
		err = d.Leave(ctx, n.ID, e.ID)
	}
	if unanswered(err) {
		f.heard(err, done)
		return nil
	}
	// Of Leave, a refusal counts for nothing if the endpoint can be deleted.
	if e.Joined != "" {
		if err := e.takeBack(host); err != nil {
			return err
		}
	}
	if f.heard(d.DeleteEndpoint(ctx, n.ID, e.ID), e.Created) {
		e.Created, e.Joined, e.Link = "", "", ""
	}
	return e.write()
}

// release gives the addresses back.
func (e *endpoint) release(ctx context.Context, n *network, f *farewell) error {
	if len(e.Leases) == 0 {
		return nil
	}
	ipam, err := n.ipam()
	if err != nil || ipam == nil {
		f.heard(err, done)
		return nil
	}
	e.Leases = slices.DeleteFunc(e.Leases, func(l lease) bool {
		return f.heard(ipam.ReleaseAddress(ctx, l.Pool, l.Address), done)
	})
	return e.write()
}
