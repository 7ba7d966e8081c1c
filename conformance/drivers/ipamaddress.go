package drivers

import (
	"net/netip"

	"github.com/seamnet/seam/conformance"
)

func addressChecks() []check {
	return []check{
		{conformance.Check{ID: "protocol/address", Force: conformance.Must, Source: ipamDoc + ", RequestAddress",
			Says: "Addresses are of the pool, have its length, and no two are the same."}, addresses, checkAddress},
		{conformance.Check{ID: "protocol/address-asked", Force: conformance.Must, Source: ipamDoc + ", RequestAddress",
			Says: "An address that is asked for is that one, or an error."}, addresses, checkAddressAsked},
		{conformance.Check{ID: "protocol/address-taken", Force: conformance.Must, Source: ipamDoc + ", RequestAddress",
			Says: "An address that is in use, or not of the pool, is refused."}, addresses, checkAddressTaken},
		{conformance.Check{ID: "protocol/address-released", Force: conformance.Must, Source: ipamDoc + ", ReleaseAddress",
			Says: "An address that was released can be had again."}, addresses, checkAddressReleased},
		{conformance.Check{ID: "protocol/address-release-again", Force: conformance.Should, Source: practising + "engines ignore errors of what takes away",
			Says: "To release an address again does not free one that is in use."}, addresses, checkAddressReleaseAgain},
		{conformance.Check{ID: "protocol/gateway", Force: conformance.Must, Source: ipamDoc + ", IPAM Configuration and flow",
			Says: "An address that is requested as a network's gateway is of the pool, and no container gets it."}, addresses, checkGateway},
		{conformance.Check{ID: "protocol/exhausted", Force: conformance.Must, Source: ipamDoc + ", RequestAddress",
			Says: "A pool of which all addresses are in use answers with an error, and gives the next that is released."}, addresses, checkExhausted},
		{conformance.Check{ID: "protocol/address-usable", Force: conformance.Should, Source: practising + "RFC 919: hosts do not take a subnet's broadcast address",
			Says: "The subnet's own address and its broadcast address are given to nobody who did not ask for them."}, addresses, checkUsable},
		{conformance.Check{ID: "protocol/address-concurrent", Force: conformance.Must, Source: practising + "calls for several containers come at the same time",
			Says: "Of sixteen addresses that are requested at the same time no two are the same."}, addresses, checkAddressConcurrent},
	}
}

// wantAddress requests any, or ends the check.
func (e *engine) wantAddress(p *pool) netip.Prefix {
	a, err := e.anyAddress(p)
	if err != nil {
		e.Fatalf("%v", err)
	}
	return a
}

func checkAddress(e *engine) {
	p := e.wantPool()
	seen := map[netip.Prefix]bool{}
	for range 20 {
		a := e.wantAddress(p)
		if !p.Subnet.Contains(a.Addr()) || a.Bits() != p.Subnet.Bits() {
			e.Errorf("of pool %s it gave %s", p.Subnet, a)
		}
		if seen[a] {
			e.Errorf("it gave %s twice", a)
		}
		seen[a] = true
	}
}

// free returns an address of the pool that is in use no more: one that the driver can give,
// and would not give next by itself.
func (e *engine) free(p *pool) netip.Prefix {
	var all [3]netip.Prefix
	for i := range all {
		all[i] = e.wantAddress(p)
	}
	for _, a := range all[1:] {
		if err := e.releaseAddress(p, a); err != nil {
			e.Errorf("%v", err)
		}
	}
	return all[2]
}

func checkAddressAsked(e *engine) {
	p := e.wantPool()
	want := e.free(p)
	got, err := e.requestAddress(p, want.Addr(), nil)
	if err != nil || got != want {
		e.Errorf("asked for %s it gave %s: %v", want, got, err)
	}
}

func checkAddressTaken(e *engine) {
	p := e.wantPool()
	a := e.wantAddress(p)
	for _, want := range []netip.Addr{a.Addr(), netip.MustParseAddr("203.0.113.7")} {
		if got, err := e.requestAddress(p, want, nil); err == nil {
			e.Errorf("asked for %s, of pool %s where %s is in use, it gave %s", want, p.Subnet, a, got)
		}
	}
}

func checkAddressReleased(e *engine) {
	p := e.wantPool()
	for range 3 {
		a := e.wantAddress(p)
		if err := e.releaseAddress(p, a); err != nil {
			e.Errorf("%v", err)
		}
		if _, err := e.requestAddress(p, a.Addr(), nil); err != nil {
			e.Errorf("released and requested again: %v", err)
		}
	}
}

func checkAddressReleaseAgain(e *engine) {
	e.alone()
	p := e.wantPool()
	kept, first := e.wantAddress(p), e.wantAddress(p)
	e.ignored(e.releaseAddress(p, first))
	e.ignored(e.releaseAddress(p, first))
	e.ignored(e.releaseAddress(p, netip.PrefixFrom(netip.MustParseAddr("203.0.113.7"), 24)))
	seen := map[netip.Prefix]bool{kept: true}
	for range 4 {
		a := e.wantAddress(p)
		if seen[a] {
			e.Errorf("it gave %s twice", a)
		}
		seen[a] = true
	}
}

func checkGateway(e *engine) {
	p, err := e.pool(false)
	if e.target.OtherIPAM {
		e.Skipf("networks have other addresses")
	}
	if err != nil {
		e.Fatalf("%v", err)
	}
	if !p.Subnet.Contains(p.Gateway.Addr()) || p.Gateway.Bits() != p.Subnet.Bits() {
		e.Errorf("of pool %s the gateway is %s", p.Subnet, p.Gateway)
	}
	for range 8 {
		if a := e.wantAddress(p); a == p.Gateway {
			e.Errorf("a container got the gateway's address %s", a)
		}
	}
}

// small returns a pool of few addresses, or skips the check.
func (e *engine) small() *pool {
	r := e.named()
	whole := r.Pool
	r.Pool = "10.98.7.0/29"
	p, err := e.requestPool(r)
	if err == nil {
		return p
	}
	why := err
	r.Pool = whole
	r.SubPool = netip.PrefixFrom(netip.MustParsePrefix(r.Pool).Addr(), 29).String()
	if p, err = e.requestPool(r); err != nil {
		e.Skipf("there is no small pool: %v; %v", why, err)
	}
	return p
}

// exhaust takes all addresses of a small pool.
func (e *engine) exhaust(p *pool) []netip.Prefix {
	var all []netip.Prefix
	for range 9 {
		a, err := e.anyAddress(p)
		if err != nil {
			return all
		}
		all = append(all, a)
	}
	return all
}

func checkExhausted(e *engine) {
	p := e.small()
	all := e.exhaust(p)
	if len(all) == 0 || len(all) > 8 {
		e.Fatalf("of eight addresses it gave %d: %v", len(all), all)
	}
	back := all[len(all)-1]
	if err := e.releaseAddress(p, back); err != nil {
		e.Errorf("%v", err)
	}
	if got, err := e.anyAddress(p); err != nil || got != back {
		e.Errorf("%s alone is free, and it gave %s: %v", back, got, err)
	}
}

func checkUsable(e *engine) {
	p := e.small()
	for _, a := range e.exhaust(p) {
		switch a.Addr().As4()[3] {
		case 0:
			e.Errorf("%s is the subnet's own address", a)
		case 7, 255:
			if a.Bits() == 29 || a.Addr().As4()[3] == 255 && a.Bits() <= 24 {
				e.Errorf("%s is the subnet's broadcast address", a)
			}
		}
	}
}

func checkAddressConcurrent(e *engine) {
	p := e.wantPool()
	all := make([]netip.Prefix, sixteen)
	err := eachOf(sixteen, func(i int) (err error) {
		all[i], err = e.anyAddress(p)
		return err
	})
	if err != nil {
		e.Fatalf("%v", err)
	}
	seen := map[netip.Prefix]bool{}
	for _, a := range all {
		if seen[a] {
			e.Errorf("it gave %s twice", a)
		}
		seen[a] = true
	}
	if err := eachOf(sixteen, func(i int) error { return e.releaseAddress(p, all[i]) }); err != nil {
		e.Errorf("%v", err)
	}
}
