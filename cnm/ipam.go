package cnm

import (
	"context"
	"net"
	"net/netip"
)

// An IPAM driver says which subnets and addresses are free.
type IPAM interface {
	IPAMCapabilities(ctx context.Context) (IPAMCapabilities, error)

	// RequestPool reserves a subnet. The same request gives the same pool, counted: it
	// is free when it was released as often.
	RequestPool(ctx context.Context, r *PoolRequest) (*Pool, error)
	ReleasePool(ctx context.Context, id PoolID) error

	// RequestAddress reserves an address of a pool; ReleaseAddress frees it.
	RequestAddress(ctx context.Context, r *AddressRequest) (netip.Prefix, error)
	ReleaseAddress(ctx context.Context, pool PoolID, addr netip.Addr) error
}

// IPAMCapabilities are of an IPAM driver.
type IPAMCapabilities struct {
	LocalSpace  string // the address space for networks of one host
	GlobalSpace string // for those of many

	RequiresMAC    bool // requests for an address are to have the MAC
	RequiresReplay bool // an engine that starts is to ask again for all that is in use
}

// A PoolRequest asks for a subnet.
type PoolRequest struct {
	Space   string
	Subnet  netip.Prefix      // --subnet; invalid: any
	Range   netip.Prefix      // --ip-range: where addresses are to be taken from; invalid: all of the subnet
	Options map[string]string // each --ipam-opt KEY=VALUE
	IPv6    bool
}

// A Pool is a subnet that is reserved.
type Pool struct {
	ID      PoolID
	Subnet  netip.Prefix
	Gateway netip.Prefix // that the driver wants; invalid: any. It is not reserved by this
}

// An AddressRequest asks for an address.
type AddressRequest struct {
	Pool    PoolID
	Address netip.Addr // this one; invalid: any
	Gateway bool       // it is to be the network's gateway
	MAC     net.HardwareAddr
	Name    string            // of the container; engines from 29 on
	Options map[string]string // what is left of the request's
}
