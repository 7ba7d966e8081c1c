package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/state"
)

// A Lease is an address that an engine was given by an IPAM.
type Lease struct {
	Pool    cnm.PoolID
	Network string // whose book it stands in
	Address netip.Addr
	Gateway bool
	Since   time.Time
}

// A HeldPool is a pool that an engine was given by an IPAM.
type HeldPool struct {
	ID    cnm.PoolID
	Count int // how often; 0: only addresses of it are in use
	Since time.Time
}

// Held returns the addresses that engines were given and did not give back. One that no
// engine knows of is stale once it is older than the time that a call may take.
func (p *IPAM) Held() ([]Lease, error) {
	books, err := p.books()
	errs := []error{err}
	var all []Lease
	for _, book := range books {
		leases, err := state.List[lease](p.addresses(book))
		errs = append(errs, err)
		for _, l := range leases {
			all = append(all, Lease{l.Pool, book, l.Address, l.Gateway, l.Since})
		}
	}
	return all, errors.Join(errs...)
}

// Free gives back an address that Held returned, however many networks have it. One that
// was given to someone else since is left alone.
func (p *IPAM) Free(ctx context.Context, l Lease) error {
	unlessAnother := func(now *lease) bool { return now.Since.Equal(l.Since) }
	return p.release(ctx, l.Network, l.Address, unlessAnother)
}

// HeldPools returns the pools that engines were given and did not give back.
func (p *IPAM) HeldPools() ([]HeldPool, error) {
	pools, err := state.List[pool](p.file("pools"))
	var all []HeldPool
	for _, have := range pools {
		all = append(all, HeldPool{have.ID, have.Count, have.Since})
	}
	return all, err
}

// FreePool makes the pool free, however often it was given, as soon as no address of it is
// in use. One that was given anew since is left alone.
func (p *IPAM) FreePool(ctx context.Context, h HeldPool) error {
	unlock, err := p.lock(ctx, p.dir())
	if err != nil {
		return err
	}
	defer unlock()
	have, err := state.Read[pool](p.poolFile(h.ID))
	if err != nil || have == nil || have.Count != h.Count || !have.Since.Equal(h.Since) {
		return err
	}
	have.Count = 0
	if err := state.Write(p.poolFile(h.ID), have); err != nil {
		return err
	}
	return p.forget(have)
}

// Restore undoes what a driver that died had begun, and leases again what was leased
// before a reboot. It is to be called before anything is asked; later, it also tries
// again what could not be given back. It goes on over errors: an address that a pod has got
// meanwhile is one.
func (p *IPAM) Restore(ctx context.Context) error {
	begun, err := state.List[pending](p.file("pending"))
	errs := []error{err}
	if len(begun) > 0 { // of a plugin's call that was cut short the runtime knows
		errs = append(errs, p.Desk.Runtime.Recover(ctx))
	}
	for _, b := range begun {
		if _, flying := p.flying.Load(b.ID); !flying {
			errs = append(errs, p.undoBegun(ctx, b))
		}
	}
	books, err := p.books()
	errs = append(errs, err)
	for _, book := range books {
		leases, err := state.List[lease](p.addresses(book))
		errs = append(errs, err)
		for _, l := range leases {
			errs = append(errs, p.restore(ctx, book, l))
		}
	}
	return errors.Join(errs...)
}

// restore leases the address again if it is handed out, and not leased.
func (p *IPAM) restore(ctx context.Context, book string, l *lease) error {
	if holds, err := p.Desk.Holds(book, l.ID); err != nil || holds {
		return err
	}
	name, err := parsePool(l.Pool)
	if err != nil {
		return err
	}
	from, err := p.source(name)
	if err != nil {
		return err
	}
	unlock, err := p.lock(ctx, p.addresses(book))
	if err != nil {
		return err
	}
	defer unlock()
	if now, err := state.Read[lease](p.addressFile(book, l.Address)); err != nil || now == nil || now.ID != l.ID {
		return err // given back meanwhile
	}
	if err := p.renew(ctx, from, l); err != nil {
		return fmt.Errorf("address %s, which Docker has since %s, cannot be leased again: %w", l.Address, l.Since.Format(time.DateTime), err)
	}
	return nil
}

// undoBegun frees what a dead driver was about to lease or to give back. No engine has
// heard of the first, and none wants the second.
func (p *IPAM) undoBegun(ctx context.Context, b *pending) error {
	unlock, err := p.lock(ctx, p.addresses(b.Book))
	if err != nil {
		return err
	}
	defer unlock()
	leases, err := state.List[lease](p.addresses(b.Book))
	if err != nil {
		return err
	}
	for _, l := range leases {
		switch {
		case l.ID != b.ID:
		case l.Address != b.Address && l.Since.Before(b.Since):
			return p.end(b.ID) // it has mended an older one, whose it is
		default:
			err = state.Remove(p.addressFile(b.Book, l.Address))
		}
	}
	return errors.Join(err, p.undo(ctx, b.Book, b.ID))
}

// A pending is a lease that is being taken or given back.
type pending struct {
	ID      string     `json:"id"`
	Book    string     `json:"book"`
	Since   time.Time  `json:"since"`            // of the lease, if it is being taken
	Address netip.Addr `json:"address,omitzero"` // that is being given back
}

// begin writes down that the lease is worked on; done says that no call does any longer.
func (p *IPAM) begin(b pending) (done func(), err error) {
	p.flying.Store(b.ID, nil)
	done = func() { p.flying.Delete(b.ID) }
	if err := state.Write(p.file("pending", b.ID), b); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// end says that the work on the lease is done.
func (p *IPAM) end(id string) error { return state.Remove(p.file("pending", id)) }

// undo frees the lease. If that fails it stays pending.
func (p *IPAM) undo(ctx context.Context, book, id string) error {
	if err := p.Desk.Free(context.WithoutCancel(ctx), book, id); err != nil {
		return err
	}
	return p.end(id)
}

// books lists the networks of which addresses were handed out.
func (p *IPAM) books() ([]string, error) {
	entries, err := os.ReadDir(p.file("addresses"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var books []string
	for _, e := range entries {
		if e.IsDir() {
			books = append(books, e.Name())
		}
	}
	return books, err
}
