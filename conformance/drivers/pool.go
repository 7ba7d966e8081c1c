package drivers

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
)

// A pool is a subnet that addresses of a network come from.
type pool struct {
	ID      string // empty: the suite gives the addresses, as Docker's own IPAM driver does
	Space   string // the address space, which tells a network driver whose the pool is
	Subnet  netip.Prefix
	Gateway netip.Prefix // requested; invalid: none
	last    netip.Addr   // that the suite gave

	held     map[netip.Prefix]bool // addresses that were requested and not released
	released bool
}

// A poolRequest is what IpamDriver.RequestPool is asked.
type poolRequest struct {
	AddressSpace  string
	Pool, SubPool string
	Options       map[string]string
	V6            bool
}

type poolAnswer struct {
	PoolID, Pool string
	Data         map[string]string
}

// space returns the address space for networks of one host.
func (e *engine) space() (string, error) {
	var s struct{ LocalDefaultAddressSpace string }
	err := e.do("IpamDriver.GetDefaultAddressSpaces", nil, &s)
	return s.LocalDefaultAddressSpace, err
}

// poolRequest returns the request for the target's pool.
func (e *engine) poolRequest(v6 bool) (poolRequest, error) {
	space, err := e.space()
	r := poolRequest{AddressSpace: space, Options: e.target.IPAMOptions, V6: v6}
	if r.Options == nil {
		r.Options = map[string]string{}
	}
	if s := e.target.Subnet; s.IsValid() && s.Addr().Is6() == v6 {
		r.Pool = s.String()
	}
	return r, err
}

// requestPool asks for a pool. On a host that others use it is released when the check ends,
// with what is in use of it, if it was not before: not twice, as it may be others' too.
func (e *engine) requestPool(r poolRequest) (*pool, error) {
	var a poolAnswer
	if err := e.do("IpamDriver.RequestPool", r, &a); err != nil {
		return nil, err
	}
	subnet, err := netip.ParsePrefix(a.Pool)
	if err != nil || a.PoolID == "" {
		return nil, fmt.Errorf("IpamDriver.RequestPool: answered Pool %q, PoolID %q: %w", a.Pool, a.PoolID, err)
	}
	p := &pool{ID: a.PoolID, Space: r.AddressSpace, Subnet: subnet.Masked(), held: map[netip.Prefix]bool{}}
	if e.here {
		e.cleanup(func() { e.letGo(p) })
	}
	return p, nil
}

// letGo releases what is still held.
func (e *engine) letGo(p *pool) {
	for a := range maps.Clone(p.held) {
		_ = e.releaseAddress(p, a)
	}
	if !p.released {
		_ = e.releasePool(p)
	}
}

func (e *engine) releasePool(p *pool) error {
	if p.ID == "" {
		return nil
	}
	p.released = true
	return e.do("IpamDriver.ReleasePool", map[string]string{"PoolID": p.ID}, nil)
}

// gives reports whether the driver's own IPAM driver gives networks their addresses.
func (e *engine) gives() bool { return e.is(ipamKind) && !e.target.OtherIPAM }

// pool returns a pool for a network, with its gateway.
func (e *engine) pool(v6 bool) (p *pool, err error) {
	if e.gives() {
		r, err := e.poolRequest(v6)
		if err != nil {
			return nil, err
		}
		if p, err = e.requestPool(r); err != nil {
			return nil, err
		}
	} else {
		p = e.ownPool(v6)
	}
	p.Gateway, err = e.requestAddress(p, netip.Addr{}, map[string]string{"RequestAddressType": "com.docker.network.gateway"})
	return p, err
}

// ownPool returns one that the suite has.
func (e *engine) ownPool(v6 bool) *pool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.subnets++
	subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, byte(e.subnets - 1), 0}), 24)
	if v6 {
		subnet = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x99, 7: byte(e.subnets)}), 64)
	} else if s := e.target.Subnet; s.IsValid() && s.Addr().Is4() {
		subnet = s
	}
	return &pool{Space: "LocalDefault", Subnet: subnet, last: subnet.Addr()}
}

// requestAddress asks for an address; invalid: any.
func (e *engine) requestAddress(p *pool, want netip.Addr, options map[string]string) (netip.Prefix, error) {
	if p.ID == "" {
		e.mu.Lock()
		defer e.mu.Unlock()
		p.last = p.last.Next()
		return netip.PrefixFrom(p.last, p.Subnet.Bits()), nil
	}
	if options == nil {
		options = map[string]string{}
	}
	request := map[string]any{"PoolID": p.ID, "Address": "", "Options": options}
	if want.IsValid() {
		request["Address"] = want.String()
	}
	var a struct{ Address string }
	if err := e.do("IpamDriver.RequestAddress", request, &a); err != nil {
		return netip.Prefix{}, err
	}
	got, err := netip.ParsePrefix(a.Address)
	if err != nil {
		return got, fmt.Errorf("IpamDriver.RequestAddress: answered Address %q, which is no address with the length of its subnet", a.Address)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p.held[got] = true
	return got, nil
}

// anyAddress asks for an address as for a container.
func (e *engine) anyAddress(p *pool) (netip.Prefix, error) {
	return e.requestAddress(p, netip.Addr{}, nil)
}

func (e *engine) releaseAddress(p *pool, a netip.Prefix) error {
	if p.ID == "" || !a.IsValid() {
		return nil
	}
	e.mu.Lock()
	delete(p.held, a)
	e.mu.Unlock()
	return e.do("IpamDriver.ReleaseAddress", map[string]string{"PoolID": p.ID, "Address": a.Addr().String()}, nil)
}

// giveBack releases what a network had.
func (e *engine) giveBack(pools []*pool) error {
	var errs []error
	for _, p := range pools {
		errs = append(errs, e.releaseAddress(p, p.Gateway), e.releasePool(p))
	}
	return errors.Join(errs...)
}
