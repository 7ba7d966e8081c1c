package drivers

import (
	"encoding/json"
	"errors"
	"net/netip"

	"github.com/seamnet/seam/conformance"
)

func poolChecks() []check {
	return []check{
		{conformance.Check{ID: "protocol/pool", Force: conformance.Must, Source: ipamDoc + ", RequestPool",
			Says: "RequestPool without a pool answers with a subnet of the family that is asked for, without bits beyond its length, and an ID."}, addresses, checkPool},
		{conformance.Check{ID: "protocol/pool-asked", Force: conformance.Must, Source: ipamDoc + ", RequestPool",
			Says: "A pool that is asked for by its subnet is that subnet, or an error."}, addresses, checkPoolAsked},
		{conformance.Check{ID: "protocol/pool-again", Force: conformance.Should, Source: ipamDoc + ", RequestPool, which says must; Docker's own driver refuses since version 27",
			Says: "The same request for a subnet gives the same pool with the same ID, counted: released once, it is still in use."}, addresses, checkPoolAgain},
		{conformance.Check{ID: "protocol/pools-apart", Force: conformance.Must, Source: ipamDoc + ", GetDefaultAddressSpaces",
			Says: "Pools of one address space are the same or do not overlap."}, addresses, checkPoolsApart},
		{conformance.Check{ID: "protocol/pools-others", Force: conformance.Should, Source: practising + "an engine asks again, and keeps what it got, while the host has a route to the subnet",
			Says: "Each request without a pool gives another one, and when there are no more, an error."}, addresses, checkPoolsOthers},
		{conformance.Check{ID: "protocol/pool-released", Force: conformance.Must, Source: ipamDoc + ", ReleasePool",
			Says: "A subnet that was released can be had again."}, addresses, checkPoolReleased},
		{conformance.Check{ID: "protocol/pool-release-again", Force: conformance.Should, Source: practising + "engines ignore errors of what takes away",
			Says: "To release a pool again, or what is none, harms no other pool."}, addresses, checkPoolReleaseAgain},
		{conformance.Check{ID: "protocol/subpool", Force: conformance.Must, Source: ipamDoc + ", RequestPool",
			Says: "With a SubPool addresses are of that range, and have the length of the pool."}, addresses, checkSubPool},
		{conformance.Check{ID: "protocol/subpool-alone", Force: conformance.Should, Source: ipamDoc + ", RequestPool",
			Says: "A SubPool without a Pool is refused."}, addresses, checkSubPoolAlone},
		{conformance.Check{ID: "protocol/ipam-restart", Force: conformance.Must, Source: ipamDoc + ", Datastore Requirements",
			Says: "After a driver was killed and started again, and what it wants repeated was, IDs of pools count, and addresses that are in use are given to nobody else."}, addresses | command, checkIPAMRestart},
	}
}

// wantPool requests the target's pool, or ends the check.
func (e *engine) wantPool() *pool {
	r, err := e.poolRequest(false)
	if err != nil {
		e.Fatalf("%v", err)
	}
	return e.wantThis(r)
}

func (e *engine) wantThis(r poolRequest) *pool {
	p, err := e.requestPool(r)
	if err != nil {
		e.Fatalf("%v", err)
	}
	return p
}

// named returns a request for a subnet that the driver has: the one that it gave when it
// was asked for any.
func (e *engine) named() poolRequest {
	p := e.wantPool()
	if err := e.releasePool(p); err != nil {
		e.Fatalf("%v", err)
	}
	r, err := e.poolRequest(false)
	e.Must(err)
	r.Pool = p.Subnet.String()
	return r
}

func checkPool(e *engine) {
	for _, v6 := range []bool{false, true} {
		r, err := e.poolRequest(v6)
		if err != nil {
			e.Fatalf("%v", err)
		}
		a := e.call("IpamDriver.RequestPool", r)
		if err := a.refusal(); err != nil {
			if v6 {
				e.Logf("no pool for IPv6: %v", err)
			} else {
				e.Errorf("%v", err)
			}
			continue
		}
		var got poolAnswer
		subnet, err := netip.Prefix{}, json.Unmarshal(a.Body, &got)
		if err == nil {
			subnet, err = netip.ParsePrefix(got.Pool)
		}
		switch {
		case err != nil:
			e.Errorf("Pool: %v; %v", err, a)
		case subnet != subnet.Masked() || subnet.Addr().Is6() != v6:
			e.Errorf("V6 is %v: want a subnet of that family and nothing beyond its length; %v", v6, a)
		case got.PoolID == "":
			e.Errorf("PoolID is empty; %v", a)
		}
		e.ignored(e.releasePool(&pool{ID: got.PoolID}))
	}
}

func checkPoolAsked(e *engine) {
	r := e.named()
	p := e.wantThis(r)
	if p.Subnet.String() != r.Pool {
		e.Errorf("asked for %s it gave %s", r.Pool, p.Subnet)
	}
	e.ignored(e.releasePool(p))
}

func checkPoolAgain(e *engine) {
	r := e.named()
	first := e.wantThis(r)
	a, err := e.anyAddress(first)
	if err != nil {
		e.Fatalf("%v", err)
	}
	second, err := e.requestPool(r)
	if err != nil {
		e.Fatalf("the second time: %v", err)
	}
	if second.ID != first.ID || second.Subnet != first.Subnet {
		e.Errorf("%s is %q at first, and then %q, %s", first.Subnet, first.ID, second.ID, second.Subnet)
	}
	if err := e.releasePool(second); err != nil {
		e.Errorf("%v", err)
	}
	if _, err := e.requestAddress(first, a.Addr(), nil); err == nil {
		e.Errorf("released once of twice, the pool has forgotten that %s is in use", a)
	}
	if b, err := e.anyAddress(first); err != nil || b == a {
		e.Errorf("released once of twice, another address of the pool is %v: %v", b, err)
	}
}

func checkPoolsApart(e *engine) {
	r, err := e.poolRequest(false)
	if err != nil {
		e.Fatalf("%v", err)
	}
	pools := []*pool{e.wantThis(r)}
	r.Pool = ""
	for range 4 {
		p, err := e.requestPool(r)
		if err != nil { // there are no more
			break
		}
		for _, other := range pools {
			if other.Subnet.Overlaps(p.Subnet) && other.ID != p.ID {
				e.Errorf("%s, %q, overlaps %s, %q", p.Subnet, p.ID, other.Subnet, other.ID)
			}
		}
		pools = append(pools, p)
	}
	// Half of a pool that is in use is not to be had, either.
	r.Pool = netip.PrefixFrom(pools[0].Subnet.Addr(), pools[0].Subnet.Bits()+1).String()
	if p, err := e.requestPool(r); err == nil && p.ID != pools[0].ID {
		if a, errA := e.anyAddress(pools[0]); errA == nil {
			if _, err := e.requestAddress(p, a.Addr(), nil); err == nil {
				e.Errorf("%s, %q, overlaps %s, %q, and both gave %s", p.Subnet, p.ID, pools[0].Subnet, pools[0].ID, a.Addr())
			}
		}
	}
}

// alone skips a check that could take something from others who use the driver.
func (e *engine) alone() {
	if e.here {
		e.Skipf("could harm others who use the driver: needs the command that starts one")
	}
}

// mostPools is how many are asked for: a driver that has more has enough.
const mostPools = 600

func checkPoolsOthers(e *engine) {
	r, err := e.poolRequest(false)
	if err != nil {
		e.Fatalf("%v", err)
	}
	e.alone()
	r.Pool = ""
	seen := map[netip.Prefix]bool{}
	for range mostPools {
		p, err := e.requestPool(r)
		if err != nil {
			e.Logf("after %d pools: %v", len(seen), err)
			break
		}
		if seen[p.Subnet] {
			e.Fatalf("pool %s was given twice", p.Subnet)
		}
		seen[p.Subnet] = true
	}
	if len(seen) == 0 {
		e.Skipf("the driver has no pools of its own")
	}
}

func checkPoolReleased(e *engine) {
	r := e.named()
	for range 3 {
		p := e.wantThis(r)
		a, err := e.requestAddress(p, p.Subnet.Addr().Next().Next(), nil)
		if err != nil {
			e.Fatalf("%v", err)
		}
		if err := errors.Join(e.releaseAddress(p, a), e.releasePool(p)); err != nil {
			e.Errorf("%v", err)
		}
	}
}

func checkPoolReleaseAgain(e *engine) {
	e.alone()
	r := e.named()
	released := e.wantThis(r)
	e.ignored(e.releasePool(released))
	r.Pool = "10.98.7.0/24"
	other, err := e.requestPool(r)
	if err != nil {
		e.Skipf("there is no second pool: %v", err)
	}
	a, err := e.anyAddress(other)
	if err != nil {
		e.Fatalf("%v", err)
	}
	e.ignored(e.releasePool(released))
	e.ignored(e.releasePool(&pool{ID: "of nobody"}))
	if b, err := e.anyAddress(other); err != nil || a == b {
		e.Errorf("a pool that was not released gave %s before, and now %s: %v", a, b, err)
	}
}

func checkSubPool(e *engine) {
	r := e.named()
	subnet := netip.MustParsePrefix(r.Pool)
	if subnet.Bits() > 28 {
		e.Skipf("pool %s is too small to be divided", subnet)
	}
	// the second quarter
	quarter := subnet.Addr().AsSlice()
	bit := subnet.Bits() + 1
	quarter[bit/8] |= 0x80 >> (bit % 8)
	start, _ := netip.AddrFromSlice(quarter)
	within := netip.PrefixFrom(start, subnet.Bits()+2)
	r.SubPool = within.String()
	p := e.wantThis(r)
	if p.Subnet != subnet {
		e.Errorf("asked for addresses of %s out of %s, it answered Pool %s", within, subnet, p.Subnet)
	}
	for range 4 {
		a, err := e.anyAddress(p)
		if err != nil {
			e.Fatalf("%v", err)
		}
		if !within.Contains(a.Addr()) || a.Bits() != subnet.Bits() {
			e.Errorf("asked for addresses of %s out of %s, it gave %s", within, subnet, a)
		}
	}
}

func checkSubPoolAlone(e *engine) {
	r, err := e.poolRequest(false)
	if err != nil {
		e.Fatalf("%v", err)
	}
	r.Pool, r.SubPool = "", "10.98.7.0/26"
	if p, err := e.requestPool(r); err == nil {
		e.Errorf("want an error; it gave %s", p.Subnet)
	}
}

// replay asks again for what is in use, if the driver wants that when an engine starts.
func (e *engine) replay(r poolRequest, used ...netip.Prefix) {
	var c struct{ RequiresRequestReplay bool }
	if err := e.do("IpamDriver.GetCapabilities", nil, &c); err != nil || !c.RequiresRequestReplay {
		return
	}
	p, err := e.requestPool(r)
	if err != nil {
		e.Fatalf("repeated: %v", err)
	}
	for _, a := range used {
		if _, err := e.requestAddress(p, a.Addr(), nil); err != nil {
			e.Errorf("repeated: %v", err)
		}
	}
}

func checkIPAMRestart(e *engine) {
	r := e.named()
	p := e.wantThis(r)
	a, err := e.anyAddress(p)
	if err != nil {
		e.Fatalf("%v", err)
	}
	e.restart()
	e.replay(r, a)
	if _, err := e.requestAddress(p, a.Addr(), nil); err == nil {
		e.Errorf("%s was given a second time", a)
	}
	b, err := e.anyAddress(p)
	if err != nil || a == b {
		e.Errorf("another address of pool %q: %v, %v", p.ID, b, err)
	}
	e.restart()
	e.replay(r, a, b)
	if err := errors.Join(e.releaseAddress(p, a), e.releaseAddress(p, b)); err != nil {
		e.Errorf("%v", err)
	}
	if _, err := e.requestAddress(p, a.Addr(), nil); err != nil {
		e.Errorf("an address that was released: %v", err)
	}
}
