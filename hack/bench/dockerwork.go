package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// The networks that containers are on, as the page tells them.
const (
	noNetwork     = "none"
	defaultBridge = "default bridge" // docker0, which is there without being made
	ownBridge     = "Docker's bridge"
	seamBridge    = "Seam"
	seamChain     = "Seam, a host's network"
)

// compared are the networks that are like each other: made by people, with DNS.
var compared = []string{ownBridge, seamBridge, seamChain}

var everyNetwork = append([]string{noNetwork, defaultBridge}, compared...)

// dockerNames are the networks' as Docker knows them.
var dockerNames = map[string]string{
	noNetwork: "none", defaultBridge: "bridge", ownBridge: "docker-own", seamBridge: "seam-own", seamChain: "seam-host",
}

// publishedPorts is how many ports a container publishes that publishes any.
const publishedPorts = 2

// ground is a network on which a container stands that is connected to others.
const ground = "ground"

// networks makes them.
func (n *node) networks(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(confDir, networkName+".conflist"), conflist(nerdctl), 0o600); err != nil {
		return err
	}
	for _, network := range []map[string]any{
		{"Name": ground, "Driver": "bridge"},
		{"Name": dockerNames[ownBridge], "Driver": "bridge"},
		{"Name": dockerNames[seamBridge], "Driver": "seam"},
		{"Name": dockerNames[seamChain], "Driver": "seam", "Options": map[string]string{"seam.network": networkName},
			"IPAM": map[string]any{"Driver": "seam"}},
	} {
		if err := n.api.call(ctx, http.MethodPost, "/networks/create", network, nil); err != nil {
			return fmt.Errorf("%w\n%s", err, n.tail("seamd"))
		}
	}
	return nil
}

// What is measured of a container.
const (
	stepRun        = "run to removal" // of a container that ends at once, as docker run --rm
	stepCreate     = "create"
	stepStart      = "start"
	stepEnd        = "end and removal"
	stepConnect    = "network connect"
	stepDisconnect = "network disconnect"
	stepCrowdUp    = "create and start, each's share of all at once"
	stepCrowdDown  = "remove, each's share of all at once"
	stepCommand    = "docker run --rm"
)

// A DockerCell is a place of the tables.
type DockerCell struct {
	Engine  string
	Proxy   bool // the engine's userland proxy is on
	Network string
	Ports   int // published
	Step    string
}

// A DockerSample is what something took, each time.
type DockerSample struct {
	DockerCell
	Took []time.Duration
}

// A DockerCall is how long the driver took for the calls of a method.
type DockerCall struct {
	Engine string
	Crowd  bool // with many containers at once
	Method string
	Took   []time.Duration
}

func (n *node) took(network string, ports int, step string, took ...time.Duration) {
	n.report.Samples = append(n.report.Samples, DockerSample{DockerCell{n.Engine.Name, n.Proxy, network, ports, step}, took})
}

// noContainers begins the error of a machine that does not let engines start any.
const noContainers = "this machine runs no containers"

// measure carries out the plan. Without the proxy only published ports are measured,
// which alone it is for.
func (n *node) measure(ctx context.Context) error {
	for _, network := range everyNetwork {
		err := n.examine(ctx, network)
		if err != nil && network == noNetwork {
			return fmt.Errorf("%s: %w", noContainers, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w\nseamd:\n%s\ndockerd:\n%s", network, err, n.tail("seamd"), n.tail("dockerd"))
		}
	}
	parts := n.parts(ctx)
	if !n.Proxy {
		return n.turns(parts[published])
	}
	if _, err := n.log.lines(); err != nil { // of what warmed up
		return err
	}
	for _, part := range parts[:crowded] {
		if err := n.turns(part); err != nil {
			return err
		}
	}
	if err := n.calls(false); err != nil {
		return err
	}
	if err := n.turns(parts[crowded]); err != nil {
		return err
	}
	return n.calls(true)
}

// A dockerPart is one thing that is measured with each of several networks.
type dockerPart struct {
	what     string
	rounds   int
	networks []string
	do       func(network string) error
}

// The places of parts that are spoken of.
const (
	published = 0
	crowded   = 4
)

func (n *node) parts(ctx context.Context) []dockerPart {
	p := n.Plan
	withNone := append([]string{noNetwork}, compared...)
	return []dockerPart{
		{"a container with published ports", p.Commands, compared, func(network string) error { return n.run(ctx, network, publishedPorts) }},
		{"a container", p.Rounds, everyNetwork, func(network string) error { return n.run(ctx, network, 0) }},
		{"connect and disconnect", p.Rounds, compared, func(network string) error { return n.pairs(ctx, network) }},
		{"docker run", p.Commands, withNone, func(network string) error { return n.command(ctx, network) }},
		{fmt.Sprintf("%d containers at once", p.Crowd), p.Crowds, withNone, func(network string) error { return n.crowd(ctx, network) }},
	}
}

// turns lets the networks take turns, so that whatever else the machine does hits all.
func (n *node) turns(part dockerPart) error {
	for round := range part.rounds {
		n.say("%s: round %d of %d", part.what, round+1, part.rounds)
		for i := range part.networks {
			network := part.networks[(i+round)%len(part.networks)]
			if err := quiet(); err != nil {
				return err
			}
			if err := part.do(network); err != nil {
				return fmt.Errorf("%s: %s: %w", part.what, network, err)
			}
		}
	}
	return nil
}

func container(network string, command ...string) map[string]any {
	return map[string]any{"Image": dockerImage, "Cmd": command, "HostConfig": map[string]any{"NetworkMode": network}}
}

// examine runs a container that looks whether it has a way out, which also warms up.
func (n *node) examine(ctx context.Context, network string) error {
	want := "ip route | /bin/grep -q default"
	if network == noNetwork {
		want = "! " + want
	}
	conf := container(dockerNames[network], "sh", "-c", want)
	code, _, err := n.through(ctx, conf)
	if err == nil && code != 0 {
		err = errors.New("a container's routes are not what they should be")
	}
	return err
}

// through runs a container to its removal, and returns when it was created, started and
// removed, after it was begun.
func (n *node) through(ctx context.Context, conf map[string]any) (code int, laps [3]time.Duration, err error) {
	conf["HostConfig"].(map[string]any)["AutoRemove"] = true
	begin := time.Now()
	id, err := n.api.create(ctx, conf)
	if err != nil {
		return 0, laps, err
	}
	end, err := n.api.await(ctx, id)
	if err != nil {
		return 0, laps, err
	}
	laps[0] = time.Since(begin)
	if err := n.api.start(ctx, id); err != nil {
		return 0, laps, err
	}
	laps[1] = time.Since(begin)
	code, err = end()
	laps[2] = time.Since(begin)
	return code, laps, err
}

// run measures a container that ends at once.
func (n *node) run(ctx context.Context, network string, ports int) error {
	conf := container(dockerNames[network], "true")
	exposed, bound := map[string]any{}, map[string]any{}
	for i := range ports {
		port := fmt.Sprintf("%d/tcp", podPorts[i])
		exposed[port], bound[port] = struct{}{}, []map[string]string{{"HostPort": strconv.Itoa(8000 + int(podPorts[i]))}}
	}
	conf["ExposedPorts"], conf["HostConfig"].(map[string]any)["PortBindings"] = exposed, bound
	code, laps, err := n.through(ctx, conf)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	if err != nil {
		return err
	}
	n.took(network, ports, stepCreate, laps[0])
	n.took(network, ports, stepStart, laps[1]-laps[0])
	n.took(network, ports, stepEnd, laps[2]-laps[1])
	n.took(network, ports, stepRun, laps[2])
	return nil
}

// up starts a container that stays.
func (n *node) up(ctx context.Context, network string) (id string, err error) {
	if id, err = n.api.create(ctx, container(network, "sleep", "100000")); err == nil {
		err = n.api.start(ctx, id)
	}
	return id, err
}

// pairs connects a container to the network and disconnects it.
func (n *node) pairs(ctx context.Context, network string) error {
	id, err := n.up(ctx, ground)
	if err != nil {
		return err
	}
	for range n.Plan.Pairs {
		for _, op := range []struct {
			step string
			do   func(ctx context.Context, network, id string) error
		}{{stepConnect, n.api.connect}, {stepDisconnect, n.api.disconnect}} {
			if err := quiet(); err != nil {
				return err
			}
			begin := time.Now()
			if err := op.do(ctx, dockerNames[network], id); err != nil {
				return err
			}
			n.took(network, 0, op.step, time.Since(begin))
		}
	}
	return n.api.remove(ctx, id)
}

// command measures the command that people type.
func (n *node) command(ctx context.Context, network string) error {
	cmd := exec.CommandContext(ctx, n.Engine.Client, "--host", "unix://"+n.socket(), "run", "--rm", "--network", dockerNames[network], dockerImage, "true")
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker run: %w: %s", err, out)
	}
	n.took(network, 0, stepCommand, time.Since(begin))
	return nil
}

// crowd starts many containers at once, and then removes them at once.
func (n *node) crowd(ctx context.Context, network string) error {
	ids := make([]string, n.Plan.Crowd)
	for _, pass := range []struct {
		step string
		do   func(i int) error
	}{
		{stepCrowdUp, func(i int) (err error) {
			ids[i], err = n.up(ctx, dockerNames[network])
			return err
		}},
		{stepCrowdDown, func(i int) error { return n.api.remove(ctx, ids[i]) }},
	} {
		begin := time.Now()
		if err := each(len(ids), pass.do); err != nil {
			return err
		}
		n.took(network, 0, pass.step, time.Since(begin)/time.Duration(len(ids)))
	}
	return nil
}

// each does it for all numbers below count at once.
func each(count int, do func(i int) error) error {
	errs := make([]error, count)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}
