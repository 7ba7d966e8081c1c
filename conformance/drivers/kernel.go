package drivers

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/link"
)

func kernelChecks() []check {
	return []check{
		{conformance.Check{ID: "kernel/link", Force: conformance.Must, Source: remoteDoc + ", Join",
			Says: "The link that Join names is on the host when it answers; if it names none, the sandbox has the interface or has it before the container needs it."}, networks, checkLink},
		{conformance.Check{ID: "kernel/sandbox", Force: conformance.Must, Source: remoteDoc + ", Join",
			Says: "In a sandbox that lives when Join is called, an engine can name the interface, give it MAC and addresses and the routes of the answer, and it is up and running then."}, networks, func(e *engine) { checkSandbox(e, modern) }},
		{conformance.Check{ID: "kernel/sandbox-before-28", Force: conformance.Must, Source: remoteDoc + ", Join; the engines before 28 make the sandbox after Join",
			Says: "In a sandbox that is made after Join an engine can do the same, and the interface is up and running then."}, networks, func(e *engine) { checkSandbox(e, old) }},
		{conformance.Check{ID: "kernel/mac", Force: conformance.Must, Source: remoteDoc + ", Create endpoint",
			Says: "The link has the MAC address that was asked for or chosen in CreateEndpoint when it is handed over, or takes it from the engine."}, networks, checkMAC},
		{conformance.Check{ID: "kernel/gateway", Force: conformance.Must, Source: practising + "an engine adds the default route after the addresses, and the container does not start if that fails",
			Says: "A gateway that Join answers is reached over the interface: by its subnet, or a route of the answer."}, networks, checkGatewayInside},
		{conformance.Check{ID: "kernel/ipv6", Force: conformance.Should, Source: remoteDoc + ", Create network",
			Says: "On a network of both families the interface takes an address of each."}, networks, checkIPv6},
		{conformance.Check{ID: "kernel/second", Force: conformance.Should, Source: practising + "a container may be on several networks",
			Says: "A second interface, of another network, can be moved into the same sandbox."}, networks, checkSecond},
		{conformance.Check{ID: "kernel/deleted", Force: conformance.Must, Source: practising + "nobody else knows what the driver made",
			Says: "After Leave and DeleteEndpoint the link that Join named is no more on the host, nor in the sandbox."}, networks, checkDeleted},
		{conformance.Check{ID: "kernel/again", Force: conformance.Must, Source: practising + "docker restart makes a new endpoint in a new sandbox, with the address that the container had",
			Says: "An address that was in use a moment before can be used by another endpoint."}, networks, checkAgain},
	}
}

// settleTime is what links have until they run.
const settleTime = 3 * time.Second

// soundness reports whether the interface is as an engine left it.
func (p *endpoint) soundness() error {
	if p.Name == "" {
		return p.furnished()
	}
	in := p.Sandbox.links
	l, err := in.ByName(p.Name)
	for deadline := time.Now().Add(settleTime); err == nil && !l.Running && time.Now().Before(deadline); l, err = in.ByName(p.Name) {
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	if !l.Running {
		return fmt.Errorf("interface %s is up %v, and does not run: its other end is down or gone", p.Name, l.Up)
	}
	has, err := in.Addrs(l)
	if err != nil {
		return err
	}
	for _, a := range p.addresses() {
		if !slices.ContainsFunc(has, func(h link.Addr) bool { return h.Prefix == a }) {
			return fmt.Errorf("interface %s has not the address %s: %v", p.Name, a, has)
		}
	}
	return nil
}

func checkLink(e *engine) {
	n := e.network()
	p, err := n.prepare()
	if err == nil {
		err = p.create()
	}
	if err == nil {
		err = p.callJoin(modern)
	}
	if err != nil {
		e.Fatalf("%v", err)
	}
	if j := p.Joined.InterfaceName; j == nil || j.SrcName == "" {
		e.Logf("Join names no link to move")
	} else if _, err := e.links.ByName(j.SrcName); err != nil {
		e.Errorf("Join named %q: %v", j.SrcName, err)
	}
	n.finish(p)
}

func checkSandbox(e *engine, o order) {
	n := e.network()
	p := n.endpoint(o)
	if err := p.soundness(); err != nil {
		e.Errorf("%v", err)
	}
	n.finish(p)
}

func checkMAC(e *engine) {
	n := e.network()
	for _, asked := range []string{"", "02:42:0a:63:00:07"} {
		p, err := n.prepare()
		if err != nil {
			e.Fatalf("%v", err)
		}
		p.Asked.MacAddress = asked
		if err := errors.Join(p.create(), p.join(modern)); err != nil {
			e.Fatalf("MAC address %q: %v", asked, err)
		}
		mac, err := p.mac()
		if err != nil {
			e.Errorf("%v", err)
		}
		if p.Name != "" && mac != nil {
			l, err := p.Sandbox.links.ByName(p.Name)
			if err != nil || l.MAC.String() != mac.String() {
				e.Errorf("want MAC address %s; it is %s: %v", mac, l.MAC, err)
			}
		}
		if err := p.stop(); err != nil {
			e.Errorf("%v", err)
		}
	}
	n.finish()
}

func checkGatewayInside(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	if p.Joined.Gateway == "" {
		e.Logf("Join answers no gateway")
	}
	for _, text := range []string{p.Joined.Gateway, p.Joined.GatewayIPv6} {
		gw, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		reached := gw.IsLinkLocalUnicast()
		for _, a := range p.addresses() {
			reached = reached || a.Masked().Contains(gw)
			if a.Addr() == gw {
				e.Errorf("the gateway %s is the endpoint itself", gw)
			}
		}
		for _, r := range p.Joined.StaticRoutes {
			dst, err := netip.ParsePrefix(r.Destination)
			reached = reached || err == nil && r.RouteType == connected && dst.Contains(gw)
		}
		if !reached {
			e.Errorf("the gateway %s is in no subnet of %v, and no route of the answer leads to it", gw, p.addresses())
		}
	}
	n.finish(p)
}

func checkIPv6(e *engine) {
	n, err := e.tryNetwork(true)
	if err != nil {
		e.Skipf("no network of both families: %v", err)
	}
	p := n.endpoint(modern)
	if err := p.soundness(); err != nil {
		e.Errorf("%v", err)
	}
	if !p.address(true).IsValid() {
		e.Errorf("the endpoint has no IPv6 address: %v", p.addresses())
	}
	n.finish(p)
}

func checkSecond(e *engine) {
	first := e.network()
	second, err := e.tryNetwork(false)
	if err != nil {
		first.finish()
		e.Skipf("no second network with the same options: %v", err)
	}
	a := first.endpoint(modern)
	b, err := second.prepare()
	if err == nil {
		err = b.create()
	}
	if err == nil {
		b.Sandbox, b.has.joined = a.Sandbox, true
		err = e.do("NetworkDriver.Join", b.with("SandboxKey", a.Sandbox.Key), &b.Joined)
	}
	if err != nil {
		e.Fatalf("%v", err)
	}
	b.Joined.Gateway, b.Joined.GatewayIPv6 = "", "" // one network has the default route
	if err := b.furnish(); err != nil {
		e.Errorf("%v", err)
	}
	if err := errors.Join(a.soundness(), b.soundness()); err != nil {
		e.Errorf("%v", err)
	}
	if err := b.leave(); err != nil {
		e.Errorf("%v", err)
	}
	b.Sandbox = nil // which lives on
	second.finish(b)
	if err := a.soundness(); err != nil {
		e.Errorf("when the second was gone: %v", err)
	}
	first.finish(a)
}

func checkDeleted(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	name := p.Joined.InterfaceName
	inside := p.Name
	if err := p.leave(); err != nil {
		e.Errorf("%v", err)
	}
	if err := p.forget(); err != nil {
		e.Errorf("%v", err)
	}
	if name != nil && name.SrcName != "" {
		if err := e.notThere(name.SrcName); err != nil {
			e.Errorf("%v", err)
		}
	}
	if inside != "" {
		if _, err := p.Sandbox.links.ByName(inside); err == nil {
			e.Errorf("interface %s is still in the sandbox", inside)
		}
	} else if err := p.furnished(); err == nil && len(p.addresses()) > 0 {
		e.Errorf("the sandbox still has the interface with %v", p.addresses())
	}
	n.finish(p)
}

func checkAgain(e *engine) {
	n := e.network()
	p := n.endpoint(modern)
	for range 3 {
		p.has.addresses = false // the next has them
		if err := p.stop(); err != nil {
			e.Errorf("%v", err)
		}
		next, err := p.recreate()
		if err != nil {
			e.Fatalf("%v", err)
		}
		if err := next.soundness(); err != nil {
			e.Errorf("%v", err)
		}
		p = next
	}
	n.finish(p)
}
