package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// linkedIn runs Seam's plugins in this process, as a program that links Seam does:
// with the journal, the locks, the cache and the leases that belong to it.
type linkedIn struct {
	host    Host
	plugins cni.Registry
	network *seam.Network
	parts   *parts

	likeFloor bool // pods get the addresses that the floor gives them
}

func newLinkedIn(h Host, p *parts) (*linkedIn, error) {
	network, err := seam.Parse(conflist(h.Chain), "")
	if err != nil {
		return nil, err
	}
	return &linkedIn{host: h, plugins: all.Registry(plugin.NewHost(plugin.DefaultDirs)), network: network, parts: p}, nil
}

func (in *linkedIn) add(ctx context.Context, p *pod) error {
	return in.run("ADD", p, func(rt *seam.Runtime, c seam.Container) error {
		_, err := rt.Attach(ctx, in.network, c)
		return err
	})
}

func (in *linkedIn) del(ctx context.Context, p *pod) error {
	return in.run("DEL", p, func(rt *seam.Runtime, c seam.Container) error {
		return rt.Detach(ctx, in.network, c)
	})
}

func (in *linkedIn) run(verb string, p *pod, operation func(*seam.Runtime, seam.Container) error) error {
	c := seam.Container{ID: p.id(), IfName: podIfName, NetNS: p.path, Capabilities: make(map[string]json.RawMessage)}
	for name, value := range in.host.capabilities(p) {
		b, err := json.Marshal(value)
		if err != nil {
			return err
		}
		c.Capabilities[name] = b
	}
	if in.likeFloor {
		c.Args = cni.Args{{Key: "IP", Value: p.addr().String()}}
	}
	var steps []seam.Step
	rt := &seam.Runtime{Plugins: in.plugins, Trace: func(s seam.Step) { steps = append(steps, s) }}
	start := time.Now()
	err := operation(rt, c)
	in.note(verb, steps, time.Since(start))
	return err
}

// note splits an operation by who took the time: each plugin without its delegates,
// and what is left, which is the runtime. A step comes after those of its delegates.
func (in *linkedIn) note(verb string, steps []seam.Step, total time.Duration) {
	var delegates time.Duration
	rest := total
	for _, s := range steps {
		if s.Depth > 0 {
			in.parts.note(verb, s.Plugin, s.Duration)
			delegates += s.Duration
			continue
		}
		in.parts.note(verb, s.Plugin, s.Duration-delegates)
		rest -= s.Duration
		delegates = 0
	}
	in.parts.note(verb, "the runtime: locks, journal, cache", rest)
}
