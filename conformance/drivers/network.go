package drivers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/seamnet/seam/conformance"
)

func networkChecks() []check {
	return []check{
		{conformance.Check{ID: "network/endpoints", Force: conformance.Must, Source: practising + "it is what a network is for",
			Says: "Two endpoints of a network reach each other, both ways."}, networks, func(e *engine) { checkEndpoints(e, modern) }},
		{conformance.Check{ID: "network/endpoints-before-28", Force: conformance.Must, Source: practising + "it is what a network is for",
			Says: "Two endpoints whose sandboxes were made after Join reach each other."}, networks, func(e *engine) { checkEndpoints(e, old) }},
		{conformance.Check{ID: "network/ipv6", Force: conformance.Should, Source: practising + "it is what a network is for",
			Says: "Two endpoints of a network of both families reach each other by IPv6."}, networks, checkEndpoints6},
		{conformance.Check{ID: "network/large", Force: conformance.Must, Source: practising + "frames as large as the interface's MTU are to arrive",
			Says: "A megabyte passes from one endpoint to the other and back, and so does a datagram as large as the interface's MTU."}, networks, checkLarge},
		{conformance.Check{ID: "network/many", Force: conformance.Must, Source: practising + "it is what a network is for",
			Says: "Of eight endpoints that were made at the same time each is reached from the first."}, networks, checkMany},
		{conformance.Check{ID: "network/host", Force: conformance.Open, Source: practising + "drivers such as macvlan keep the host out",
			Says: "The host reaches an endpoint."}, networks, checkHost},
		{conformance.Check{ID: "network/outside", Force: conformance.Open, Source: practising + "networks of some drivers are their own",
			Says: "An endpoint reaches another host, which knows no way back to the network."}, networks, checkOutside},
		{conformance.Check{ID: "network/ports", Force: conformance.Open, Source: practising + "if Join answers a gateway, publishing is the driver's own work; not all drivers do it",
			Says: "A port of the host that is published is reached from another host until the endpoint leaves."}, networks, checkPorts},
		{conformance.Check{ID: "network/others", Force: conformance.Must, Source: practising + "containers come and go",
			Says: "Two endpoints go on reaching each other while others are made and removed."}, networks, checkOthers},
		{conformance.Check{ID: "network/driver-killed", Force: conformance.Must, Source: practising + "a driver is replaced while containers run",
			Says: "Two endpoints go on reaching each other while the driver is dead, and when it was started again."}, networks | command, checkDriverKilled},
	}
}

// pair returns two endpoints, each with an echo at its address.
func (e *engine) pair(n *network, o order, v6 bool) [2]*endpoint {
	var two [2]*endpoint
	for i := range two {
		two[i] = n.endpoint(o)
		e.listens(two[i], v6)
	}
	return two
}

func (e *engine) listens(p *endpoint, v6 bool) {
	a := p.address(v6)
	if !a.IsValid() {
		e.Fatalf("an endpoint has no address of the family: %v", p.addresses())
	}
	if err := errors.Join(p.soundness(), e.echo(p.Sandbox.ns, a)); err != nil {
		e.Fatalf("%v", err)
	}
}

// talk reports whether each of the two reaches the other.
func (e *engine) talk(two [2]*endpoint, v6 bool, size int) error {
	for i, from := range two {
		to := two[1-i].address(v6)
		if err := e.reach(from.Sandbox.ns, to, size); err != nil {
			return fmt.Errorf("from %s to %s: %w", from.address(v6), to, err)
		}
	}
	return nil
}

// few is so little that it is in one frame.
const few = 100

func checkEndpoints(e *engine, o order) {
	n := e.network()
	two := e.pair(n, o, false)
	if err := e.talk(two, false, few); err != nil {
		e.Errorf("%v", err)
	}
	n.finish(two[:]...)
}

func checkEndpoints6(e *engine) {
	n, err := e.tryNetwork(true)
	if err != nil {
		e.Skipf("no network of both families: %v", err)
	}
	two := e.pair(n, modern, true)
	if err := e.talk(two, true, few); err != nil {
		e.Errorf("%v", err)
	}
	n.finish(two[:]...)
}

func checkLarge(e *engine) {
	n := e.network()
	two := e.pair(n, modern, false)
	if err := e.talk(two, false, 1<<20); err != nil {
		e.Errorf("%v", err)
	}
	for i, from := range two {
		if err := e.largest(from, two[1-i]); err != nil {
			e.Errorf("%v", err)
			break
		}
	}
	n.finish(two[:]...)
}

// largest sends a datagram that fills a frame. The kernel cuts what goes by TCP, and may join
// it on the way.
func (e *engine) largest(from, to *endpoint) error {
	const headers = 20 + 8 // of IPv4 and UDP
	if from.Name == "" {
		return nil // the driver made the interface, and which it is is not known
	}
	l, err := from.Sandbox.links.ByName(from.Name)
	if err != nil {
		return err
	}
	if err := e.datagram(from.Sandbox.ns, to.Sandbox.ns, to.address(false), l.MTU-headers); err != nil {
		return fmt.Errorf("from %s to %s: %w", from.address(false), to.address(false), err)
	}
	return nil
}

func checkMany(e *engine) {
	n := e.network()
	all := make([]*endpoint, sixteen/2)
	err := eachOf(len(all), func(i int) (err error) {
		all[i], err = n.tryEndpoint(modern)
		return err
	})
	if err != nil {
		e.Fatalf("%v", err)
	}
	for _, p := range all[1:] {
		e.listens(p, false)
		if err := e.reach(all[0].Sandbox.ns, p.address(false), few); err != nil {
			e.Errorf("from %s to %s: %v", all[0].address(false), p.address(false), err)
			break // each takes its time
		}
	}
	n.finish(all...)
}

func checkHost(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	e.listens(p, false)
	if err := e.reach(nil, p.address(false), few); err != nil {
		e.Errorf("from the host to %s: %v", p.address(false), err)
	}
	n.finish(p)
}

func checkOutside(e *engine) {
	if e.outside == nil {
		e.Skipf("needs a host of the suite's own, and the command that starts the driver on it")
	}
	n := e.network()
	p := n.endpoint(modern)
	if p.Joined.Gateway == "" {
		n.finish(p)
		e.Skipf("Join answers no gateway: the engine makes the way out")
	}
	e.Must(e.echo(e.outside.ns, outsideAddrs[0].Addr()))
	if err := e.reach(p.Sandbox.ns, outsideAddrs[0].Addr(), few); err != nil {
		e.Errorf("from %s to %s: %v", p.address(false), outsideAddrs[0].Addr(), err)
	}
	n.finish(p)
}

// hostPort is published, for echoPort.
const hostPort = 18007

func checkPorts(e *engine) {
	if e.outside == nil {
		e.Skipf("needs a host of the suite's own, and the command that starts the driver on it")
	}
	n := e.network()
	p, err := n.prepare()
	if err != nil {
		e.Fatalf("%v", err)
	}
	const tcp = 6
	p.Ports = []binding{{Proto: tcp, Port: echoPort, HostPort: hostPort, HostPortEnd: hostPort}}
	if err := errors.Join(p.create(), p.join(modern)); err != nil {
		e.Fatalf("an endpoint with a published port: %v", err)
	}
	if p.Joined.Gateway == "" && !p.Joined.DisableGatewayService {
		e.Logf("Join answers no gateway: the engine publishes ports")
		n.finish(p)
		return
	}
	e.listens(p, false)
	published := netip.AddrPortFrom(hostAddrs[0].Addr(), hostPort)
	if err := e.reachPort(e.outside.ns, published, few); err != nil {
		e.Errorf("from another host to %s: %v", published, err)
	}
	if err := p.leave(); err != nil {
		e.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(e.Context(), reachTime/10)
	defer cancel()
	if exchange(ctx, e.outside.ns, published, few) == nil {
		e.Errorf("%s is still reached", published)
	}
	n.finish(p)
}

func checkOthers(e *engine) {
	n := e.network()
	two := e.pair(n, modern, false)
	for range 3 {
		if err := n.endpoint(modern).stop(); err != nil {
			e.Errorf("%v", err)
		}
		if err := e.talk(two, false, few); err != nil {
			e.Errorf("after another endpoint had gone: %v", err)
			break
		}
	}
	n.finish(two[:]...)
}

func checkDriverKilled(e *engine) {
	n := e.network()
	two := e.pair(n, modern, false)
	e.kill()
	if err := e.talk(two, false, few); err != nil {
		e.Errorf("while the driver is dead: %v", err)
	}
	e.start()
	e.goesOn("a new start")
	if err := e.talk(two, false, few); err != nil {
		e.Errorf("when it was started again: %v", err)
	}
}
