package drivers

import (
	"fmt"
	"time"

	"github.com/seamnet/seam/conformance"
)

func speedChecks() []check {
	return []check{
		{conformance.Check{ID: "speed/calls", Force: conformance.Open, Source: practising + "the start of a container waits for each call",
			Says: "How long each call of a container's life takes, one at a time."}, networks, checkSpeed},
		{conformance.Check{ID: "speed/concurrent", Force: conformance.Open, Source: practising + "calls for several containers come at the same time",
			Says: "How long a container's start and stop take while sixteen do that at the same time."}, networks, checkSpeedConcurrent},
	}
}

const (
	speedRounds = 20
	concurrent  = ", 16 at a time"
)

// timed carries out a step and keeps its time.
func (e *engine) timed(series string, step func() error) {
	start := time.Now()
	err := step()
	e.Time(series, time.Since(start))
	if err != nil {
		e.Fatalf("%s: %v", series, err)
	}
}

func checkSpeed(e *engine) {
	var n *network
	e.timed("network create", func() (err error) {
		n, err = e.tryNetwork(false)
		return err
	})
	for range speedRounds {
		var p *endpoint
		e.timed("RequestAddress", func() (err error) {
			p, err = n.prepare()
			return err
		})
		e.timed("CreateEndpoint", func() error { return p.create() })
		p.Sandbox, p.has.joined = &sandbox{Key: sandboxKey()}, true
		e.Must(p.Sandbox.open())
		e.cleanup(p.Sandbox.remove)
		e.timed("Join", func() error {
			return e.do("NetworkDriver.Join", p.with("SandboxKey", p.Sandbox.Key), &p.Joined)
		})
		if err := p.furnish(); err != nil {
			e.Fatalf("%v", err)
		}
		e.timed("Leave", func() error { return e.do("NetworkDriver.Leave", p.ref(), nil) })
		p.has.joined = false
		if err := p.bringBack(); err != nil {
			e.Fatalf("%v", err)
		}
		e.timed("DeleteEndpoint", p.forget)
		e.timed("ReleaseAddress", p.remove)
	}
	e.timed("network rm", n.remove)
}

func checkSpeedConcurrent(e *engine) {
	n := e.network()
	err := eachOf(sixteen, func(int) error {
		start := time.Now()
		p, err := n.tryEndpoint(modern)
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		e.Time("start"+concurrent, time.Since(start))
		start = time.Now()
		defer func() { e.Time("stop"+concurrent, time.Since(start)) }()
		return p.stop()
	})
	if err != nil {
		e.Errorf("%v", err)
	}
	n.finish()
}
