package runtimes

import (
	"strings"
	"testing"
)

// TestDockerWishes: what Docker has no word for, said by a network's option, by an option
// of the connection and by a label.
func TestDockerWishes(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		before := d.footprint()
		const wish = "seam.bandwidth=ingress=8M,egress=4M"
		for name, run := range map[string][]string{
			"option": webArgs("web", "", "--network", `name=prod,"driver-opt=`+wish+`"`),
			"label":  webArgs("web", "prod", "--label", wish),
		} {
			d.sub(name, func(d *docker) {
				d.create("prod", d.itsAddresses("prod", prodSubnet)...)
				d.docker(run...)
				d.limited()
				d.docker("restart", "web")
				d.limited()
				d.remove("web")
				d.docker("network", "rm", "prod")
				if set := d.run("tc", "qdisc"); strings.Contains(set, "tbf") {
					d.Errorf("the limits have outlived the container:\n%s", set)
				}
			})
		}
		d.create("prod", d.itsAddresses("prod", prodSubnet)...)
		d.web("web", "none")
		d.docker("network", "disconnect", "none", "web")
		d.docker("network", "connect", "--driver-opt", `"`+wish+`"`, "prod", "web")
		d.limited()
		d.remove("web")
		d.docker("network", "rm", "prod")
		d.same(before)
	})
}

// limited fails unless the kernel holds the rates that were asked for.
func (d *docker) limited() {
	d.Helper()
	d.has("tc qdisc", d.run("tc", "qdisc"), "rate 8Mbit", "rate 4Mbit")
	d.sound()
}

// TestDockerPlainNetworkOptions: the common keys of a network that is in no file.
func TestDockerPlainNetworkOptions(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork) // with the firewall's static rules, which stay
		before := d.footprint()
		d.create("plain", "--opt", "com.docker.network.driver.mtu=1400", "--opt", "com.docker.network.bridge.name=plain0", "--subnet", "10.75.0.0/24")
		d.web("web", "plain")
		d.has("ip link", d.inside("web", "ip", "link", "show", "eth0"), "mtu 1400")
		d.has("ip link", d.run("ip", "link", "show", "plain0"), "mtu 1400")
		d.remove("web")
		d.docker("network", "rm", "plain")
		d.same(before)
	})
}
