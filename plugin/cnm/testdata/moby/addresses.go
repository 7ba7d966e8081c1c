package main

import (
	"net"

	"github.com/docker/docker/libnetwork/ipamapi"
	"github.com/docker/docker/libnetwork/ipams/defaultipam"
	"github.com/docker/go-plugins-helpers/ipam"
)

// addresses are the IPAM driver in the library's words.
type addresses struct{ *defaultipam.Allocator }

func (a *addresses) GetCapabilities() (*ipam.CapabilitiesResponse, error) {
	return &ipam.CapabilitiesResponse{}, nil
}

func (a *addresses) GetDefaultAddressSpaces() (*ipam.AddressSpacesResponse, error) {
	local, global, err := a.Allocator.GetDefaultAddressSpaces()
	return &ipam.AddressSpacesResponse{LocalDefaultAddressSpace: local, GlobalDefaultAddressSpace: global}, err
}

func (a *addresses) RequestPool(r *ipam.RequestPoolRequest) (*ipam.RequestPoolResponse, error) {
	got, err := a.Allocator.RequestPool(ipamapi.PoolRequest{AddressSpace: r.AddressSpace, Pool: r.Pool, SubPool: r.SubPool, Options: r.Options, V6: r.V6})
	if err != nil {
		return nil, err
	}
	return &ipam.RequestPoolResponse{PoolID: got.PoolID, Pool: got.Pool.String(), Data: got.Meta}, nil
}

func (a *addresses) ReleasePool(r *ipam.ReleasePoolRequest) error {
	return a.Allocator.ReleasePool(r.PoolID)
}

func (a *addresses) RequestAddress(r *ipam.RequestAddressRequest) (*ipam.RequestAddressResponse, error) {
	got, data, err := a.Allocator.RequestAddress(r.PoolID, net.ParseIP(r.Address), r.Options)
	if err != nil {
		return nil, err
	}
	return &ipam.RequestAddressResponse{Address: got.String(), Data: data}, nil
}

func (a *addresses) ReleaseAddress(r *ipam.ReleaseAddressRequest) error {
	return a.Allocator.ReleaseAddress(r.PoolID, net.ParseIP(r.Address))
}
