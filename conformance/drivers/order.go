package drivers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/seamnet/seam/conformance"
)

func orderChecks() []check {
	return []check{
		{conformance.Check{ID: "protocol/order", Force: conformance.Must, Source: remoteDoc + ", Protocol",
			Says: "The calls of a container's life, with what engines of 28 and newer send and in their order, succeed: the sandbox lives when Join is called."}, networks, func(e *engine) { life(e, modern) }},
		{conformance.Check{ID: "protocol/order-before-28", Force: conformance.Must, Source: remoteDoc + ", Join; the engines before 28 make the sandbox after Join",
			Says: "The calls of a container's life succeed when the sandbox's path does not exist yet as Join is called."}, networks, func(e *engine) { life(e, old) }},
		{conformance.Check{ID: "protocol/interface", Force: conformance.Must, Source: remoteDoc + ", Create endpoint",
			Says: "CreateEndpoint answers no value for a field of Interface that came filled."}, networks, checkInterface},
		{conformance.Check{ID: "protocol/interface-chosen", Force: conformance.Must, Source: remoteDoc + ", Create endpoint",
			Says: "What CreateEndpoint chooses of an interface that came without is an address with the length of its subnet, and a MAC address of six bytes that is no group's."}, networks, checkChosen},
		{conformance.Check{ID: "protocol/join", Force: conformance.Must, Source: remoteDoc + ", Join",
			Says: "Join answers with names of a link and of what it is to be called, or none, with gateways that are addresses, and with routes that have a next hop exactly if their type is 0."}, networks, checkJoin},
		{conformance.Check{ID: "protocol/info", Force: conformance.Must, Source: remoteDoc + ", Endpoint operational info",
			Says: "EndpointOperInfo answers with an object Value, which may be empty."}, networks, checkInfo},
		{conformance.Check{ID: "protocol/discovery", Force: conformance.Should, Source: remoteDoc + ", DiscoverNew Notification",
			Says: "News of a cluster's nodes are taken without an error, or the methods do not exist."}, networks, checkDiscovery},
		{conformance.Check{ID: "protocol/deletes-again", Force: conformance.Should, Source: practising + "engines ignore errors of what takes away, and call Leave twice",
			Says: "Leave, DeleteEndpoint and DeleteNetwork that come again, or for what nobody made, are answered at once and harm no other endpoint."}, networks, checkDeletesAgain},
		{conformance.Check{ID: "protocol/deletes-idempotent", Force: conformance.Open, Source: practising + "an error is a line in the engine's log, and no more",
			Says: "Leave, DeleteEndpoint and DeleteNetwork that come again, or for what nobody made, are answered without an error."}, networks, checkDeletesIdempotent},
		{conformance.Check{ID: "protocol/no-leave", Force: conformance.Should, Source: practising + "after an error of Join some engines go straight to DeleteEndpoint",
			Says: "DeleteEndpoint removes an endpoint that was not taken out of its sandbox, and its address can be used again."}, networks, checkNoLeave},
		{conformance.Check{ID: "protocol/concurrent", Force: conformance.Must, Source: practising + "calls for several containers come at the same time",
			Says: "Sixteen containers that start and stop at the same time all get a link of their own."}, networks, checkConcurrent},
		{conformance.Check{ID: "protocol/engine-restart", Force: conformance.Must, Source: practising + "an engine that starts repeats the handshake, and neither CreateNetwork nor CreateEndpoint nor Join",
			Says: "After a new handshake networks and endpoints are what they were."}, networks, checkEngineRestart},
		{conformance.Check{ID: "protocol/engine-killed", Force: conformance.Should, Source: practising + "a killed engine calls Leave and DeleteEndpoint when it starts again, and the containers are no more",
			Says: "Leave and DeleteEndpoint of an endpoint whose sandbox is gone end it, and its address can be used again."}, networks, checkEngineKilled},
		{conformance.Check{ID: "protocol/driver-restart", Force: conformance.Should, Source: practising + "engines do not notice that a driver was started again, and repeat nothing",
			Says: "A driver that is killed and started again has its networks and endpoints: the next call succeeds."}, networks | command, checkDriverRestart},
	}
}

func life(e *engine, o order) {
	n := e.network()
	n.finish(n.endpoint(o))
}

func checkInterface(e *engine) {
	n := e.network()
	p, err := n.prepare()
	if err != nil {
		e.Fatalf("%v", err)
	}
	p.Asked.MacAddress = "02:42:0a:63:00:07"
	if err := p.create(); err != nil {
		e.Fatalf("%v", err)
	}
	if c := p.Chosen; c != nil && *c != (iface{}) {
		e.Errorf("asked for with %+v it answered %+v, which an engine refuses", p.Asked, *c)
	}
	n.finish(p)
}

// checkChosen leaves the MAC address open, and without an IPAM driver the address.
func checkChosen(e *engine) {
	n := e.network()
	p, err := n.prepare()
	if err == nil {
		err = p.create()
	}
	if err != nil {
		e.Fatalf("%v", err)
	}
	e.valid(p.Chosen)
	n.finish(p)

	null := &network{e: e, ID: newID(), Pools: []*pool{{Subnet: netip.MustParsePrefix("0.0.0.0/0")}}}
	if err := e.do("NetworkDriver.CreateNetwork", null.request(), nil); err != nil {
		e.Logf("no network without an IPAM driver: %v", err)
		return
	}
	e.cleanup(func() { _ = null.remove() })
	p = &endpoint{n: null, ID: newID()}
	e.cleanup(func() { _ = p.stop() })
	if err := p.create(); err != nil {
		e.Logf("no endpoint without an IPAM driver: %v", err)
		return
	}
	e.valid(p.Chosen)
}

func (e *engine) valid(i *iface) {
	if i == nil {
		return
	}
	for _, text := range []string{i.Address, i.AddressIPv6} {
		if a, err := netip.ParsePrefix(text); text != "" && (err != nil || a.Addr().Is6() != (text == i.AddressIPv6)) {
			e.Errorf("address %q is none of its family with the length of its subnet", text)
		}
	}
	if mac, err := net.ParseMAC(i.MacAddress); i.MacAddress != "" && (err != nil || len(mac) != 6 || mac[0]&1 == 1) {
		e.Errorf("MacAddress %q is none of an interface", i.MacAddress)
	}
}

func checkJoin(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	j := p.Joined
	if l := j.InterfaceName; l != nil && l.SrcName != "" && l.DstPrefix == "" && l.DstName == "" {
		e.Errorf("link %s is to be moved, but DstPrefix is empty", l.SrcName)
	}
	for i, text := range []string{j.Gateway, j.GatewayIPv6} {
		if a, err := netip.ParseAddr(text); text != "" && (err != nil || a.Is6() != (i == 1)) {
			e.Errorf("gateway %q is no address of its family", text)
		}
	}
	for _, r := range j.StaticRoutes {
		_, err := netip.ParsePrefix(r.Destination)
		_, hopErr := netip.ParseAddr(r.NextHop)
		switch {
		case err != nil:
			e.Errorf("static route %+v: destination: %v", r, err)
		case r.RouteType == byNextHop && hopErr != nil:
			e.Errorf("static route %+v: is of the type with a next hop, and has none", r)
		case r.RouteType == connected && r.NextHop != "", r.RouteType != byNextHop && r.RouteType != connected:
			e.Errorf("static route %+v: want type 0 and a next hop, or type 1 and none", r)
		}
	}
	n.finish(p)
}

func checkInfo(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	a := e.call("NetworkDriver.EndpointOperInfo", p.ref())
	var info struct{ Value map[string]any }
	if err := errors.Join(a.refusal(), json.Unmarshal(a.Body, &info)); err != nil {
		e.Errorf("%v", err)
	} else if info.Value == nil {
		e.Errorf("Value is missing; %v", a)
	}
	n.finish(p)
}

func checkDiscovery(e *engine) {
	for _, verb := range []string{"DiscoverNew", "DiscoverDelete"} {
		node := map[string]any{"DiscoveryType": 1, "DiscoveryData": map[string]any{"Address": "192.0.2.7", "Self": true}}
		if err := e.optional("NetworkDriver."+verb, node); err != nil {
			e.Errorf("%v", err)
		}
	}
}

// deletesAgain takes away what was taken away, and what nobody made, while another endpoint
// is there; it returns the errors.
func deletesAgain(e *engine) (n *network, other *endpoint, refused error) {
	n = e.network()
	other, gone := n.endpoint(modern), n.endpoint(modern)
	if err := gone.stop(); err != nil {
		e.Errorf("the first time: %v", err)
	}
	nobody := &endpoint{n: &network{e: e, ID: newID()}, ID: newID()}
	never := &endpoint{n: n, ID: newID()}
	again := func(method string, p *endpoint) {
		start := time.Now()
		refused = errors.Join(refused, e.do("NetworkDriver."+method, p.ref(), nil))
		if took := time.Since(start); took > time.Second {
			e.Errorf("%s took %v", method, took)
		}
	}
	for _, p := range []*endpoint{gone, never, nobody} {
		again("Leave", p)
		again("DeleteEndpoint", p)
	}
	again("DeleteNetwork", nobody)
	return n, other, refused
}

func checkDeletesAgain(e *engine) {
	n, other, _ := deletesAgain(e)
	if err := other.soundness(); err != nil {
		e.Errorf("an endpoint that was not deleted: %v", err)
	}
	n.finish(other, n.endpoint(modern))
}

func checkDeletesIdempotent(e *engine) {
	n, other, refused := deletesAgain(e)
	if refused != nil {
		e.Errorf("%v", refused)
	}
	n.finish(other)
	if err := e.do("NetworkDriver.DeleteNetwork", map[string]string{"NetworkID": n.ID}, nil); err != nil {
		e.Errorf("%v", err)
	}
}

// recreate makes an endpoint with the addresses of another, which is no more.
func (p *endpoint) recreate() (*endpoint, error) {
	next := &endpoint{n: p.n, ID: newID(), Addresses: p.Addresses, Asked: p.Asked}
	next.has.addresses = true
	if p.n.e.here {
		p.n.e.cleanup(func() { _ = next.stop() })
	}
	if err := next.create(); err != nil {
		return next, fmt.Errorf("with the same addresses: %w", err)
	}
	return next, next.join(modern)
}

func checkNoLeave(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	p.has.joined, p.has.addresses = false, false
	e.ignored(p.bringBack())
	if err := p.remove(); err != nil {
		e.Errorf("%v", err)
	}
	next, err := p.recreate()
	if err != nil {
		e.Errorf("%v", err)
	}
	n.finish(next)
}

// ignored notes an error that an engine ignores.
func (e *engine) ignored(err error) {
	if err != nil {
		e.Logf("ignored: %v", err)
	}
}

// sixteen is how many containers start at the same time.
const sixteen = 16

func checkConcurrent(e *engine) {
	n := e.network()
	all := make([]*endpoint, sixteen)
	err := eachOf(sixteen, func(i int) (err error) {
		all[i], err = n.tryEndpoint(modern)
		return err
	})
	if err != nil {
		e.Fatalf("starting: %v", err)
	}
	links := map[string]int{}
	for _, p := range all {
		if l := p.Joined.InterfaceName; l != nil && l.SrcName != "" {
			links[l.SrcName]++
		}
	}
	for name, count := range links {
		if count > 1 {
			e.Errorf("link %s was named for %d endpoints", name, count)
		}
	}
	if err := eachOf(sixteen, func(i int) error { return all[i].stop() }); err != nil {
		e.Errorf("stopping: %v", err)
	}
	n.finish()
}

func checkEngineRestart(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	e.activate()
	for _, kind := range e.prefixes() {
		if err := e.optional(kind+".GetCapabilities", nil); err != nil {
			e.Errorf("%v", err)
		}
	}
	if err := p.soundness(); err != nil {
		e.Errorf("%v", err)
	}
	next, err := n.tryEndpoint(modern)
	if err != nil {
		e.Errorf("a new endpoint: %v", err)
	}
	n.finish(p, next)
}

// startsAgain is less than an engine takes to start. The kernel needs a part of it to take away
// what was in a namespace.
const startsAgain = 500 * time.Millisecond

func checkEngineKilled(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	p.Sandbox.remove()
	time.Sleep(startsAgain)
	p.has.addresses = false
	e.ignored(p.leave())
	e.ignored(p.remove())
	next, err := p.recreate()
	if err != nil {
		e.Errorf("a container that starts again: %v", err)
	}
	n.finish(next)
}

// checkDriverRestart takes all addresses before: whether pools outlive the driver is another
// question.
func checkDriverRestart(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	next, err := n.prepare()
	if err != nil {
		e.Fatalf("%v", err)
	}
	e.restart()
	if err := e.do("NetworkDriver.EndpointOperInfo", p.ref(), nil); err != nil {
		e.Errorf("%v", err)
	}
	if err := errors.Join(next.create(), next.join(modern)); err != nil {
		e.Fatalf("a new endpoint on the network: %v", err)
	}
	e.restart()
	if err := next.soundness(); err != nil {
		e.Errorf("%v", err)
	}
	for _, p := range []*endpoint{p, next} {
		if err := errors.Join(p.leave(), p.forget()); err != nil {
			e.Errorf("%v", err)
		}
	}
	if err := e.do("NetworkDriver.DeleteNetwork", map[string]string{"NetworkID": n.ID}, nil); err != nil {
		e.Errorf("%v", err)
	}
}
