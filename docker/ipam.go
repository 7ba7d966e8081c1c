package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/ahead"
	"github.com/seamnet/seam/state"
)

// An IPAM is the driver's other half: with "--ipam-driver seam" an engine asks it for
// subnets and addresses.
//
// With "--ipam-opt seam.network=prod" these are those of the network prod of the host: an
// address that Docker is given is a lease in the same book as those of pods, and no
// pod is given it. Without, a pool is the driver's own, with a book of its own.
//
// All that was given out is on disk, and an engine that starts is not to ask again for what
// it has: it would do so in the words of a new request, and an address that is in use
// must not be given to another container because its engine might only be repeating itself.
//
// # Files
//
//	StateDir/pools/pools/HASH        a pool that was handed out
//	StateDir/pools/addresses/N/A     an address A that was handed out, of the book N
//	StateDir/pools/pending/ID        a lease that is being taken or given back
//	StateDir/pools/leases/N          the book of a pool of the driver's own, in host-local's form
type IPAM struct {
	Name     string      // of the driver
	Desk     *ahead.Desk // where addresses are leased
	ConfDir  string      // of the networks' files
	StateDir string      // the driver's

	// Pools are made of the subnets of these, by length /24 and /64. Invalid: DefaultPool4
	// and DefaultPool6.
	Base4, Base6 netip.Prefix

	Routes func() ([]netip.Prefix, error) // of the host, which pools are to leave alone; nil: those of the calling process's namespace
	Now    func() time.Time               // nil: time.Now
	NewID  func() string                  // of a lease, letters and digits, never the same twice; nil: random

	flying  sync.Map // IDs of leases on which a call works
	refused refusals
	asked   poolAsking
}

// DefaultPool4 and DefaultPool6 are what pools are made of that nobody chose a subnet
// for. Containers of two hosts can have the same addresses then; where hosts are to reach one
// another's containers, each needs a base of its own.
func DefaultPool4() netip.Prefix { return netip.MustParsePrefix("10.210.0.0/16") }

// DefaultPool6 is DefaultPool4 for IPv6.
func DefaultPool6() netip.Prefix { return netip.MustParsePrefix("fd73:6561:6d00::/48") }

// Option of docker network create --ipam-opt.
const ipamNetwork = "seam.network"

// Owns reports whether an address space is this IPAM driver's, so that the addresses of a
// network's pools are leased already.
func (p *IPAM) Owns(space string) bool { return space == p.space() }

func (p *IPAM) space() string { return p.Name + ".local" }

// IPAMCapabilities returns the name of the address space, which no other driver has. It is
// the same for networks of all scopes: engines from 28 on pass no judgement on a pool of the
// global one, and else would refuse a network's because the host has its route already. An
// engine has nothing to say that is not known (see IPAM).
func (p *IPAM) IPAMCapabilities(context.Context) (cnm.IPAMCapabilities, error) {
	return cnm.IPAMCapabilities{LocalSpace: p.space(), GlobalSpace: p.space()}, nil
}

func (p *IPAM) dir() string                  { return filepath.Join(p.StateDir, "pools") }
func (p *IPAM) file(name ...string) string   { return filepath.Join(p.dir(), filepath.Join(name...)) }
func (p *IPAM) addresses(book string) string { return p.file("addresses", book) }

// addressFile ends in a suffix, as one of IPv4 would end in one otherwise.
func (p *IPAM) addressFile(book string, a netip.Addr) string {
	return filepath.Join(p.addresses(book), a.String()+".json")
}

func (p *IPAM) lock(ctx context.Context, dir string) (unlock func(), err error) {
	return state.Lock(ctx, dir)
}

func (p *IPAM) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

func (p *IPAM) newID() string {
	if p.NewID != nil {
		return p.NewID()
	}
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
