package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/ahead"
	"github.com/seamnet/seam/state"
)

// A lease is an address that was handed out.
type lease struct {
	ID      string     `json:"id"` // of the reservation
	Pool    cnm.PoolID `json:"pool"`
	Address netip.Addr `json:"address"`
	Gateway bool       `json:"gateway,omitempty"` // of a network
	Since   time.Time  `json:"since"`
	Count   int        `json:"count"` // more than one: it is the gateway of that many networks
}

// A source is where the addresses of a pool come from.
type source struct {
	poolName
	network *seam.Network
	offer   *ahead.Offer
}

// RequestAddress leases an address of the pool. The gateway that a network of the host's
// has is returned without a lease, as its IPAM plugin gives it to nobody; another that is
// asked for is leased like any address, once for all of Docker's networks that have it.
func (p *IPAM) RequestAddress(ctx context.Context, r *cnm.AddressRequest) (netip.Prefix, error) {
	name, err := parsePool(r.Pool)
	if err != nil {
		return netip.Prefix{}, err
	}
	from, err := p.source(name)
	if err != nil {
		return netip.Prefix{}, err
	}
	want := r.Address.Unmap()
	if r.Gateway {
		if a, free := from.gateway(want); free {
			return from.prefix(a), nil
		}
	}
	var a netip.Addr
	switch {
	case want.IsValid():
		a, err = p.leaseThis(ctx, from, want, r)
	case r.Gateway:
		a, err = p.leaseGateway(ctx, from, r)
	default:
		a, err = p.leaseAny(ctx, from, r)
	}
	return from.prefix(a), err
}

// source finds out where a pool's addresses come from: from the network's file as it is
// now or, without one that can be read, as it was when the pool was handed out.
func (p *IPAM) source(name poolName) (*source, error) {
	from := &source{poolName: name}
	var err error
	if name.Network == "" {
		from.network, err = p.ownNetwork(name)
	} else if from.network, err = seam.Load(p.ConfDir, name.Network); err != nil {
		var have *pool
		if have, _ = state.Read[pool](p.poolFile(name.ID())); have != nil {
			from.network, err = seam.Parse(have.Config, "")
		}
	}
	if err != nil {
		return nil, err
	}
	offers, err := ahead.Offers(from.network)
	if err != nil {
		return nil, err
	}
	for i := range offers {
		if offers[i].Subnet == name.Subnet {
			from.offer = &offers[i]
			return from, nil
		}
	}
	return nil, fmt.Errorf("network %s no longer gives addresses of %s: its file %s was changed; create the Docker network anew", name.Network, name.Subnet, from.network.File)
}

func (s *source) prefix(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, s.Subnet.Bits())
}

// gateway returns the address for a network's gateway if that needs no lease; want is
// the one that is asked for, if any.
func (s *source) gateway(want netip.Addr) (netip.Addr, bool) {
	own := s.offer.Gateway
	if s.Network == "" || want.IsValid() && want != own {
		return netip.Addr{}, false
	}
	if !own.IsValid() { // static's may have none, and an engine must be told one
		own = s.Subnet.Addr().Next()
	}
	return own, true
}

// leaseGateway leases an address for the gateway of a pool of the driver's own: the
// first one if it is free, as people expect it.
func (p *IPAM) leaseGateway(ctx context.Context, from *source, r *cnm.AddressRequest) (netip.Addr, error) {
	first := from.Subnet.Addr().Next()
	have, err := state.Read[lease](p.addressFile(from.book(), first))
	if err != nil {
		return netip.Addr{}, err
	}
	if have == nil {
		if a, err := p.leaseThis(ctx, from, first, r); err == nil {
			return a, nil
		}
	}
	return p.leaseAny(ctx, from, r)
}

// leaseThis leases an address that is asked for by name.
func (p *IPAM) leaseThis(ctx context.Context, from *source, want netip.Addr, r *cnm.AddressRequest) (netip.Addr, error) {
	if !from.Subnet.Contains(want) {
		return netip.Addr{}, fmt.Errorf("address %s is outside of %s", want, from.Subnet)
	}
	unlock, err := p.lock(ctx, p.addresses(from.book()))
	if err != nil {
		return netip.Addr{}, err
	}
	defer unlock()
	have, err := state.Read[lease](p.addressFile(from.book(), want))
	switch {
	case err != nil:
		return netip.Addr{}, err
	case have == nil:
		return p.take(ctx, from, want, r)
	case !have.Gateway || !r.Gateway:
		return netip.Addr{}, fmt.Errorf("address %s of %s is in use by Docker since %s: see docker network inspect",
			want, from.place(), have.Since.Format(time.DateTime))
	}
	have.Count++
	return want, state.Write(p.addressFile(from.book(), want), have)
}

// place names where a pool's addresses are from, for people.
func (s *source) place() string {
	if s.Network == "" {
		return "subnet " + s.Subnet.String()
	}
	return "network " + s.Network
}

// leaseAny leases the next address.
func (p *IPAM) leaseAny(ctx context.Context, from *source, r *cnm.AddressRequest) (netip.Addr, error) {
	if from.offer.Fixed {
		return p.leaseFixed(ctx, from, r)
	}
	for {
		a, err := p.take(ctx, from, netip.Addr{}, r)
		if !errors.Is(err, errLost) {
			return a, err
		}
		// The lease mends the one that was lost, and the next is for this request.
	}
}

// leaseFixed leases the next address of a plugin that keeps no book: this driver's files
// are it.
func (p *IPAM) leaseFixed(ctx context.Context, from *source, r *cnm.AddressRequest) (netip.Addr, error) {
	unlock, err := p.lock(ctx, p.addresses(from.book()))
	if err != nil {
		return netip.Addr{}, err
	}
	defer unlock()
	for _, one := range from.offer.Ranges {
		if from.Range.IsValid() && !from.Range.Contains(one.First) {
			continue
		}
		have, err := state.Read[lease](p.addressFile(from.book(), one.First))
		if err != nil {
			return netip.Addr{}, err
		}
		if have == nil {
			return p.take(ctx, from, one.First, r)
		}
	}
	return netip.Addr{}, fmt.Errorf("no free address: network %s gives %d of %s, and Docker has all", from.Network, len(from.offer.Ranges), from.Subnet)
}

// errLost says that the next address was one that was handed out already, and whose lease
// was lost: by a collection that did not know of it.
var errLost = errors.New("handed out already")

// take leases the address, or the next one, and writes down whose it is. What is begun is
// written down before, so that Restore undoes it if the driver dies.
func (p *IPAM) take(ctx context.Context, from *source, want netip.Addr, r *cnm.AddressRequest) (netip.Addr, error) {
	l := &lease{ID: p.newID(), Pool: r.Pool, Gateway: r.Gateway, Since: p.now(), Count: 1}
	done, err := p.begin(pending{ID: l.ID, Book: from.book(), Since: l.Since})
	if err != nil {
		return netip.Addr{}, err
	}
	defer done()
	if l.Address, err = p.reserve(ctx, from, l.ID, want, name(r)); err != nil {
		return netip.Addr{}, errors.Join(err, p.end(l.ID))
	}
	lost, err := p.enter(from.book(), l)
	if err != nil {
		return netip.Addr{}, errors.Join(err, p.undo(ctx, from.book(), l.ID))
	}
	if err = p.end(l.ID); lost {
		err = errors.Join(errLost, err)
	}
	return l.Address, err
}

// enter writes down whose the leased address is. If it is another's the lease becomes
// that one's.
func (p *IPAM) enter(book string, l *lease) (lost bool, err error) {
	file := p.addressFile(book, l.Address)
	had, err := state.Read[lease](file)
	if err != nil {
		return false, err
	}
	if had != nil {
		had.ID, l = l.ID, had
	}
	return had != nil, state.Write(file, l)
}

// reserve asks the IPAM plugin.
func (p *IPAM) reserve(ctx context.Context, from *source, id string, want netip.Addr, name string) (netip.Addr, error) {
	request := ahead.Request{Subnet: from.Subnet, Range: from.Range, Name: name}
	if want.IsValid() {
		request.Addresses = []netip.Addr{want}
	}
	result, err := p.Desk.Take(ctx, from.network, id, request)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, ip := range result.IPs {
		if a := ip.Address.Addr(); from.Subnet.Contains(a) && (!want.IsValid() || a == want) {
			return a, nil
		}
	}
	err = cni.Errorf(cni.CodeInternal, "network %s: ipam gave %v where an address of %s was asked for", from.network.Name, result.IPs, from.Subnet)
	return netip.Addr{}, errors.Join(err, p.Desk.Free(context.WithoutCancel(ctx), from.book(), id))
}

// renew leases the address again if the lease does not count any more: after a reboot.
func (p *IPAM) renew(ctx context.Context, from *source, l *lease) error {
	holds, err := p.Desk.Holds(from.book(), l.ID)
	if err != nil || holds {
		return err
	}
	_, err = p.reserve(ctx, from, l.ID, l.Address, ahead.DefaultName)
	return err
}

// name says to people whose an address is.
func name(r *cnm.AddressRequest) string {
	switch {
	case r.Gateway:
		return "gateway reserved for Docker"
	case r.Name != "":
		return r.Name + ": " + ahead.DefaultName
	}
	return ahead.DefaultName
}

// ReleaseAddress gives the address back. That it is not held is no error.
func (p *IPAM) ReleaseAddress(ctx context.Context, id cnm.PoolID, a netip.Addr) error {
	name, err := parsePool(id)
	if err != nil {
		return err
	}
	return p.release(ctx, name.book(), a.Unmap(), func(l *lease) bool {
		l.Count--
		return l.Count <= 0
	})
}

// release gives the address back if the lease is to end.
func (p *IPAM) release(ctx context.Context, book string, a netip.Addr, ends func(*lease) bool) error {
	unlock, err := p.lock(ctx, p.addresses(book))
	if err != nil {
		return err
	}
	defer unlock()
	file := p.addressFile(book, a)
	l, err := state.Read[lease](file)
	if err != nil || l == nil {
		return err
	}
	if !ends(l) {
		return state.Write(file, l)
	}
	done, err := p.begin(pending{ID: l.ID, Book: book, Since: p.now(), Address: a})
	if err != nil {
		return err
	}
	defer done()
	// First the file: as soon as the lease is free another call may get the address.
	if err := state.Remove(file); err != nil {
		return err
	}
	if err := p.undo(ctx, book, l.ID); err != nil {
		return err
	}
	return p.left(ctx, l.Pool)
}

// left forgets a pool whose last address was given back after the pool itself.
func (p *IPAM) left(ctx context.Context, id cnm.PoolID) error {
	have, err := state.Read[pool](p.poolFile(id))
	if err != nil || have == nil || have.Count > 0 {
		return err
	}
	unlock, err := p.lock(ctx, p.dir())
	if err != nil {
		return err
	}
	defer unlock()
	if have, err = state.Read[pool](p.poolFile(id)); err != nil || have == nil {
		return err
	}
	return p.forget(have)
}
