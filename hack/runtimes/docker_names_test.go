package runtimes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A gate is between the driver and the engine that it asks. Closed, it takes questions and
// does not pass them on: the engine seems to have no time.
type gate struct {
	closed atomic.Bool
	work   sync.WaitGroup
}

// gate starts one, which the driver is to ask.
func (d *docker) gate() *gate {
	d.Helper()
	g := &gate{}
	socket := filepath.Join(d.dir, "gate.sock")
	listener, err := net.Listen("unix", socket)
	d.must(err)
	d.driverFlags = append(d.driverFlags, "--engine", "unix://"+socket)
	g.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			g.work.Go(func() { g.pass(conn, d.socket()) })
		}
	})
	d.Cleanup(func() {
		listener.Close()
		g.work.Wait()
	})
	return g
}

// pass carries one connection's questions over, until the driver closes it.
func (g *gate) pass(conn net.Conn, socket string) {
	defer conn.Close()
	engine, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	g.work.Go(func() {
		defer conn.Close()
		_, _ = io.Copy(conn, engine) // until either is closed
	})
	defer engine.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if g.closed.Load() {
			continue
		}
		if _, err := engine.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// called waits until "seam ls" and "seam show" know the container on the chain by the name.
func (d *docker) called(name, chain, endpointID string) {
	d.Helper()
	d.patiently(func() error {
		var listing struct {
			Attachments []struct{ Network, ContainerID, Name string }
		}
		out, err := d.try(built("seam"), "ls", "--json")
		if err = errors.Join(err, json.Unmarshal([]byte(out), &listing)); err != nil {
			return err
		}
		var got []string
		for _, a := range listing.Attachments {
			if a.Network == chain && a.ContainerID == endpointID {
				got = append(got, a.Name)
			}
		}
		if len(got) != 1 || got[0] != name {
			return fmt.Errorf("seam ls: endpoint %s on %s is called %q, want %s", endpointID, chain, got, name)
		}
		out, err = d.try(built("seam"), "show", name)
		if err == nil && !strings.Contains(out, endpointID) {
			err = fmt.Errorf("seam show %s: no %s in\n%s", name, endpointID, out)
		}
		return err
	})
}

// logged waits until the driver has said all of the words in one line.
func (d *docker) logged(words ...string) {
	d.Helper()
	d.patiently(func() error {
		for line := range strings.Lines(contents(d.driverLog())) {
			missing := false
			for _, word := range words {
				missing = missing || !strings.Contains(line, word)
			}
			if !missing {
				return nil
			}
		}
		return fmt.Errorf("the driver's log has no line with %q", words)
	})
}

// TestDockerNames: attachments bear the names of containers, those that the engine could not
// say in time and those that were changed, too.
func TestDockerNames(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.driverFlags = []string{"--collect-every", "200ms"}
		g := d.gate()
		d.withSeamd()
		d.network(prodNetwork)
		before := d.footprint()
		d.create("shop", d.itsAddresses("prod", prodSubnet)...)
		d.web("web", "shop")
		d.called("web", "prod", d.on("shop", "web").EndpointID)
		d.docker("rename", "web", "kiosk")
		d.called("kiosk", "prod", d.on("shop", "kiosk").EndpointID)

		g.closed.Store(true)
		d.web("db", "shop", "--label", "seam.bandwidth=ingress=8M,egress=4M")
		d.web("cache", "shop", "--label", "seam.bandwidth.shop=ingress=8M,egress=4M", "--label", "app=cache")
		d.logged("does not say whose", "labels are not heeded")
		d.reach("shop", "db", "cache")
		d.called("kiosk", "prod", d.on("shop", "kiosk").EndpointID)
		d.unlimited()
		g.closed.Store(false)
		for name, label := range map[string]string{"db": "seam.bandwidth", "cache": "seam.bandwidth.shop"} {
			d.called(name, "prod", d.on("shop", name).EndpointID)
			d.logged("labels are not heeded", "container="+name, "labels=["+label+"]")
		}
		d.patiently(func() error { // an engine that was silent is left alone for a while
			d.docker("restart", "db")
			return d.shapes()
		})
		d.called("db", "prod", d.on("shop", "db").EndpointID)
		d.sound()
		d.remove("kiosk", "db", "cache")
		d.docker("network", "rm", "shop")
		d.same(before)
	})
}

// TestDockerLabels: labels for one of a container's networks, by either of its names, and for
// all of them.
func TestDockerLabels(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		before := d.footprint()
		d.create("shop", d.itsAddresses("prod", prodSubnet)...)
		for _, key := range []string{"seam.bandwidth", "seam.bandwidth.prod", "seam.bandwidth.shop"} {
			d.web("web", "shop", "--label", key+"=ingress=8M,egress=4M")
			d.limited()
			d.remove("web")
		}
		d.web("web", "shop", "--label", "seam.bandwidth.other=ingress=8M", "--label", "seam.bandwith=ingress=8M", "--label", "seam.ip=10.71.0.9")
		d.unlimited()
		d.logged("seam.bandwith", "unknown", "container=web")
		d.logged("label seam.ip: passed over", "container=web")
		d.remove("web")
		d.docker("network", "rm", "shop")
		d.same(before)
	})
}

// shapes is an error unless the kernel holds the rates that the labels ask for.
func (d *docker) shapes() error {
	set, err := d.try("tc", "qdisc")
	if err == nil && !(strings.Contains(set, "rate 8Mbit") && strings.Contains(set, "rate 4Mbit")) {
		err = fmt.Errorf("the limits are not set:\n%s", set)
	}
	return err
}

// unlimited fails if the kernel holds a rate.
func (d *docker) unlimited() {
	d.Helper()
	if set := d.run("tc", "qdisc"); strings.Contains(set, "tbf") {
		d.Errorf("limits that nobody asked for:\n%s", set)
	}
}
