package runtimes

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestDockerAddresses: who gives addresses on a network of the host: Docker, the
// network's own plugin ahead of the interface, or that with the interface.
func TestDockerAddresses(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		d.listenOutside()
		subnet := []string{"--subnet", "10.71.0.0/24", "--gateway", "10.71.0.1"}
		for _, way := range []struct {
			name   string
			create []string
			static bool // --ip is possible
		}{
			{"docker", append(onFile("prod"), subnet...), true},
			{"ahead", d.itsAddresses("prod", prodSubnet), true},
			{"null", noAddresses("prod"), false},
		} {
			d.sub(way.name, func(d *docker) {
				before := d.footprint()
				d.create("prod", way.create...)
				d.found()
				if way.static {
					d.chosen()
				}
				d.remove("web", "db")
				d.docker("network", "rm", "prod")
				d.same(before)
			})
		}
	})
}

// found: addresses that nobody asked for.
func (d *docker) found() {
	d.Helper()
	d.web("web", "prod")
	d.web("db", "prod", "--mac-address", "02:00:00:00:00:77")
	web := d.stands("prod", "prod", "web", "10.71.0.1")
	db := d.stands("prod", "prod", "db", "10.71.0.1")
	if db.MacAddress != "02:00:00:00:00:77" {
		d.Errorf("docker inspect db: %+v, want the MAC that was asked for", db)
	}
	subnet := netip.MustParsePrefix("10.71.0.0/24")
	for _, s := range []standing{web, db} {
		if addr, err := netip.ParseAddr(s.IPAddress); err != nil || !subnet.Contains(addr) || s.IPPrefixLen != 24 {
			d.Errorf("docker inspect: %+v, want an address of %v", s, subnet)
		}
	}
	d.reach("prod", "web", "db")
	d.answers(nil, web.IPAddress+":80", "web asked by 10.71.0.1")
	d.asks("web", outsideAddr, "outside asked by "+nodeAddr)
	d.sound()
	d.docker("restart", "db")
	d.stands("prod", "prod", "db", "10.71.0.1")
	d.reach("prod", "web", "db")
}

// chosen: an address that was asked for, and that nobody else gets.
func (d *docker) chosen() {
	d.Helper()
	d.web("fixed", "prod", "--ip", "10.71.0.77")
	if got := d.stands("prod", "prod", "fixed", "10.71.0.1").IPAddress; got != "10.71.0.77" {
		d.Errorf("docker inspect fixed: %s, want 10.71.0.77", got)
	}
	d.refuses([]string{"ddress"}, webArgs("twice", "prod", "--ip", "10.71.0.77")...)
	d.remove("twice")
	d.reach("prod", "fixed", "web")
	d.remove("fixed")
	d.web("fixed", "prod", "--ip", "10.71.0.77")
	d.remove("fixed")
}

// TestDockerAuxAddresses: addresses that a network's creator keeps for other machines
// are given to no container.
func TestDockerAuxAddresses(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		aux := []string{"--subnet", "10.71.0.0/24", "--gateway", "10.71.0.1", "--aux-address", "printer=10.71.0.2", "--aux-address", "nas=10.71.0.3"}
		for name, create := range map[string][]string{
			"docker": append(onFile("prod"), aux...), "ahead": d.itsAddresses("prod", prodSubnet, aux[2:]...),
		} {
			d.sub(name, func(d *docker) {
				before := d.footprint()
				d.create("prod", create...)
				d.web("web", "prod")
				d.web("db", "prod")
				var addrs []string
				for _, container := range []string{"web", "db"} {
					addrs = append(addrs, d.on("prod", container).IPAddress)
				}
				if slices.Contains(addrs, "10.71.0.2") || slices.Contains(addrs, "10.71.0.3") {
					d.Errorf("containers have %v, 10.71.0.2 and 10.71.0.3 are taken", addrs)
				}
				d.reach("prod", "web", "db")
				d.remove("web", "db")
				d.docker("network", "rm", "prod")
				d.same(before)
			})
		}
	})
}

// TestDockerOwnChain: networks that are in no file of the host's: none at all asked
// for, or given with the option.
func TestDockerOwnChain(t *testing.T) {
	const ptp = `{"cniVersion": "1.0.0", "name": "inline", "plugins": [
		{"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.74.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}`
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork) // with the firewall's static rules, which stay
		d.listenOutside()
		d.create("inline", "--opt", "seam.conflist="+ptp, "--ipam-driver", "null")
		d.docker("run", "--rm", "--network", "inline", image, "true") // the lock of host-local's leases stays
		d.docker("network", "rm", "inline")
		before := d.footprint()
		d.create("plain")
		d.create("subnet", "--subnet", "10.75.0.0/24", "--ip-range", "10.75.0.128/25", "--gateway", "10.75.0.254")
		d.create("inline", "--opt", "seam.conflist="+ptp, "--ipam-driver", "null")
		for _, network := range []string{"plain", "subnet", "inline"} {
			web, db := "web-"+network, "db-"+network
			var publish []string
			if network != "inline" { // whose chain has no portmap
				publish = []string{"--publish", "18080:80"}
			}
			d.web(web, network, publish...)
			d.web(db, network)
			d.reach(network, web, db)
			s := d.on(network, web)
			d.has(web+": ip route", d.inside(web, "ip", "route"), "default via "+s.Gateway)
			d.answers(nil, s.IPAddress+":80", web+" asked by "+s.Gateway)
			d.asks(web, outsideAddr, "outside asked by "+nodeAddr)
			if publish != nil {
				d.answers(d.outside, nodeAddr+":18080", web+" asked by "+outsideAddr)
			}
			d.sound()
			d.remove(web)
		}
		if got := d.on("subnet", "db-subnet"); !strings.HasPrefix(got.IPAddress, "10.75.0.1") || got.Gateway != "10.75.0.254" {
			d.Errorf("docker inspect: %+v, want an address of 10.75.0.128/25, gateway 10.75.0.254", got)
		}
		d.remove("db-plain", "db-subnet", "db-inline")
		d.docker("network", "rm", "plain", "subnet", "inline")
		d.same(before)
	})
}

// TestDockerPoolInUse: an engine that is given a subnet which the host has a route to
// asks for another, without end: it must be told what to say.
func TestDockerPoolInUse(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		before := d.footprint()
		create := append([]string{"network", "create", "--driver", d.driverName, "--ipam-driver", d.driverName, "--ipam-opt", "seam.network=prod"}, onFile("prod")...)
		if out, err := d.tryDocker(append(create, "prod")...); err == nil {
			d.docker("network", "rm", strings.TrimSpace(out))
		} else {
			d.has("docker network create", err.Error(), "10.71.0.0/24", "--subnet")
		}
		d.same(before)
	})
}

// TestDockerMistakes: what is wrong is told when the network is made, or the container,
// and leaves nothing.
func TestDockerMistakes(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		before := d.footprint()
		driver := []string{"network", "create", "--driver", d.driverName}
		for _, mistake := range []struct{ args, words []string }{
			{[]string{"--opt", "seam.network=nowhere", "net"}, []string{"nowhere"}},
			{[]string{"--opt", "seam.netwrok=prod", "net"}, []string{"seam.netwrok"}},
			{[]string{"--opt", "seam.conflist={", "net"}, []string{"seam.conflist"}},
			{[]string{"--opt", `seam.conflist={"cniVersion":"1.0.0","name":"x","plugins":[{"type":"nosuch"}]}`, "net"}, []string{"nosuch"}},
			{[]string{"--opt", "seam.network=prod", "--ipam-driver", d.driverName, "--ipam-opt", "seam.network=nowhere", "net"}, []string{"nowhere"}},
		} {
			d.refuses(mistake.words, append(slices.Clone(driver), mistake.args...)...)
			d.same(before)
		}
		d.create("prod", noAddresses("prod")...)
		d.refuses([]string{"seam.bandwidht"}, webArgs("web", "", "--network", "name=prod,driver-opt=seam.bandwidht=1M")...)
		d.remove("web")
		d.docker("network", "rm", "prod")
		d.same(before)
	})
}
