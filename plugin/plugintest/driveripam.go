package plugintest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/seamnet/seam/cnm"
)

func (d *Driver) IPAMCapabilities(context.Context) (cnm.IPAMCapabilities, error) {
	return cnm.IPAMCapabilities{LocalSpace: d.Name + "Local", GlobalSpace: d.Name + "Global", RequiresMAC: d.MAC}, nil
}

// RequestPool gives 10.99.0.0/24, or fd00:99::/64, where nothing certain is asked for.
func (d *Driver) RequestPool(_ context.Context, r *cnm.PoolRequest) (*cnm.Pool, error) {
	var pool *cnm.Pool
	err := d.do("RequestPool", func() error {
		subnet := r.Subnet
		if !subnet.IsValid() {
			subnet = netip.MustParsePrefix("10.99.0.0/24")
			if r.IPv6 {
				subnet = netip.MustParsePrefix("fd00:99::/64")
			}
		}
		p := &driverPool{subnet: subnet, within: subnet, taken: map[netip.Addr]bool{}}
		if r.Range.IsValid() {
			p.within = r.Range
		}
		id := cnm.PoolID(fmt.Sprintf("%s/%s/%s", r.Space, p.subnet, p.within))
		if d.pools[id] == nil {
			d.pools[id] = p
		}
		d.pools[id].count++
		pool = &cnm.Pool{ID: id, Subnet: subnet}
		return nil
	})
	return pool, err
}

func (d *Driver) ReleasePool(_ context.Context, id cnm.PoolID) error {
	return d.do("ReleasePool", func() error {
		p := d.pools[id]
		if p == nil {
			return errors.New("no such pool")
		}
		if p.count--; p.count > 0 {
			return nil
		}
		delete(d.pools, id)
		if len(p.taken) > 0 {
			return fmt.Errorf("addresses %v were still in use", p.taken)
		}
		return nil
	})
}

func (d *Driver) RequestAddress(_ context.Context, r *cnm.AddressRequest) (netip.Prefix, error) {
	var got netip.Prefix
	verb := "RequestAddress"
	if r.Gateway {
		verb += " gateway"
	}
	err := d.do(verb, func() error {
		p := d.pools[r.Pool]
		switch {
		case p == nil:
			return errors.New("no such pool")
		case d.MAC && r.MAC == nil && !r.Gateway && !r.Address.IsValid():
			return errors.New("no MAC address was told")
		}
		a := r.Address
		if !a.IsValid() {
			for a = p.within.Masked().Addr().Next(); p.taken[a]; a = a.Next() {
			}
		}
		if p.taken[a] || !p.subnet.Contains(a) {
			return fmt.Errorf("address %s is taken, or in no pool", a)
		}
		p.taken[a] = true
		got = netip.PrefixFrom(a, p.subnet.Bits())
		return nil
	})
	return got, err
}

func (d *Driver) ReleaseAddress(_ context.Context, id cnm.PoolID, a netip.Addr) error {
	return d.do("ReleaseAddress", func() error {
		p := d.pools[id]
		if p == nil || !p.taken[a] {
			return errors.New("no such address")
		}
		delete(p.taken, a)
		return nil
	})
}
