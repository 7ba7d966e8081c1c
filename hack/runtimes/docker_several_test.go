package runtimes

import (
	"strings"
	"testing"
)

// TestDockerSeveral: a container on several networks, of Seam's and Docker's own
// drivers: live, and from its start.
func TestDockerSeveral(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		d.network(sideNetwork)
		d.listenOutside()
		before := d.footprint()
		d.create("prod", d.itsAddresses("prod", prodSubnet)...)
		d.create("side", noAddresses("side")...)
		d.docker("network", "create", "--subnet", "10.70.0.0/24", "zone")
		d.connectedLive()
		d.connectedFirst()
		d.remove("web", "db")
		d.docker("network", "rm", "prod", "side", "zone")
		d.same(before)
	})
}

// connectedLive gives a running container more networks, and takes them away.
func (d *docker) connectedLive() {
	d.Helper()
	d.web("web", "prod", "--network-alias", "www")
	d.web("db", "zone")
	alone := d.footprint()
	for range 2 {
		d.docker("network", "connect", "--alias", "data", "prod", "db")
		d.docker("network", "connect", "side", "db")
		d.docker("network", "connect", "side", "web")
		d.docker("network", "connect", "zone", "web")
		d.asks("db", "www", "web asked by "+d.on("prod", "db").IPAddress)
		d.asks("web", "data", "db asked by "+d.on("prod", "web").IPAddress)
		for _, network := range []string{"prod", "side", "zone"} {
			d.asks("db", d.on(network, "web").IPAddress, "web asked by "+d.on(network, "db").IPAddress)
		}
		d.asks("web", outsideAddr, "outside asked by "+nodeAddr) // prod knows a way, side does not
		d.sound()
		for _, container := range []string{"web", "db"} {
			d.docker("network", "disconnect", "side", container)
		}
		d.docker("network", "disconnect", "prod", "db")
		d.docker("network", "disconnect", "zone", "web")
		d.same(alone)
	}
	d.docker("network", "connect", "prod", "db")
	d.docker("network", "connect", "side", "db")
	d.docker("network", "connect", "side", "web")
	d.reach("side", "web", "db")
}

// connectedFirst starts containers again that have several networks.
func (d *docker) connectedFirst() {
	d.Helper()
	d.docker("restart", "web", "db")
	for _, network := range []string{"prod", "side"} {
		d.asks("db", d.on(network, "web").IPAddress, "web asked by "+d.on(network, "db").IPAddress)
	}
	d.asks("db", "www", "web asked by "+d.on("prod", "db").IPAddress)
	d.asks("db", outsideAddr, "outside asked by "+nodeAddr)
	d.sound()
}

// TestDockerGateway: of several networks with a way out the user chooses one.
func TestDockerGateway(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		d.network(backBridge)
		before := d.footprint()
		d.create("prod", d.itsAddresses("prod", prodSubnet)...)
		d.create("back", noAddresses("back")...)
		route := func() string { return strings.TrimSpace(d.inside("web", "ip", "route")) }
		if d.engine.atLeast(28) {
			for _, chosen := range []string{"prod", "back"} {
				d.web("web", "", "--network", "name=prod", "--network", "name=back")
				d.remove("web")
				other := map[string]string{"prod": "back", "back": "prod"}[chosen]
				d.web("web", "", "--network", "name="+other+",gw-priority=0", "--network", "name="+chosen+",gw-priority=1")
				d.has("web on both, "+chosen+" chosen: ip route", route(), "default via "+d.on(chosen, "web").Gateway+" ")
				if n := strings.Count(route(), "default"); n != 1 {
					d.Errorf("web: %d default routes\n%s", n, route())
				}
				d.docker("network", "disconnect", chosen, "web")
				d.has("web on "+other+" alone: ip route", route(), "default via "+d.on(other, "web").Gateway+" ")
				d.docker("network", "connect", "--gw-priority", "1", chosen, "web")
				d.has("web, "+chosen+" again: ip route", route(), "default via "+d.on(chosen, "web").Gateway+" ")
				d.remove("web")
			}
		} else { // the first by name
			d.web("web", "prod")
			d.docker("network", "connect", "back", "web")
			d.has("web on both: ip route", route(), "default via "+d.on("back", "web").Gateway+" ")
			d.docker("network", "disconnect", "back", "web")
			d.has("web on prod: ip route", route(), "default via "+d.on("prod", "web").Gateway+" ")
			d.remove("web")
		}
		d.docker("network", "rm", "prod", "back")
		d.same(before)
	})
}

// TestDockerDualStack: IPv6 beside IPv4, in each way of addresses.
func TestDockerDualStack(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(dualNetwork)
		subnets := []string{"--ipv6", "--subnet", "10.72.0.0/24", "--gateway", "10.72.0.1", "--subnet", "fd00:72::/64", "--gateway", "fd00:72::1"}
		for name, create := range map[string][]string{
			"docker": append(onFile("dual"), subnets...), "ahead": d.itsAddresses("dual", "10.72.0.0/24", "--ipv6", "--subnet", "fd00:72::/64"), "null": noAddresses("dual"),
		} {
			d.sub(name, func(d *docker) {
				before := d.footprint()
				d.create("dual", create...)
				d.web("web", "dual", "--publish", "18080:80")
				d.web("db", "dual")
				web, db := d.stands("dual", "dual", "web", "10.72.0.1"), d.stands("dual", "dual", "db", "10.72.0.1")
				if web.GlobalIPv6Address == "" || web.IPv6Gateway != "fd00:72::1" {
					d.Errorf("docker inspect web: %+v, want an IPv6 address and gateway fd00:72::1", web)
				}
				d.asks("db", "["+web.GlobalIPv6Address+"]", "web asked by "+db.GlobalIPv6Address)
				d.answers(nil, "["+web.GlobalIPv6Address+"]:80", "web asked by fd00:72::1")
				d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
				d.has("ip -6 route", d.inside("web", "ip", "-6", "route"), "default via fd00:72::1")
				d.reach("dual", "web", "db")
				d.sound()
				d.remove("web", "db")
				d.docker("network", "rm", "dual")
				d.same(before)
			})
		}
	})
}

// TestDockerInternal: a network without a way out.
func TestDockerInternal(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		d.listenOutside()
		before := d.footprint()
		d.create("prod", append(noAddresses("prod"), "--internal")...)
		d.create("plain", "--internal")
		for _, network := range []string{"prod", "plain"} {
			web, db := "web-"+network, "db-"+network
			d.web(web, network)
			d.web(db, network)
			d.reach(network, web, db)
			if route := d.inside(web, "ip", "route"); strings.Contains(route, "default") {
				d.Errorf("%s: ip route: %s, want no default route", web, route)
			}
			if got, err := d.tryDocker("exec", web, "wget", "-qO-", url(outsideAddr)); err == nil {
				d.Errorf("%s asks outside: %q, want no way there", web, got)
			}
			d.sound()
			d.remove(web, db)
		}
		d.docker("network", "rm", "prod", "plain")
		d.same(before)
	})
}
