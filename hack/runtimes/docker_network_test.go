package runtimes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
)

// prodNetwork is a conflist as the kubelet's runtime may have it.
const prodNetwork = `{"cniVersion": "1.0.0", "name": "prod", "plugins": [
	{"type": "bridge", "bridge": "prod0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "capabilities": {"mac": true, "ips": true},
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.71.0.0/24"}]]}},
	{"type": "portmap", "capabilities": {"portMappings": true}},
	{"type": "bandwidth", "capabilities": {"bandwidth": true}}]}`

const prodSubnet = "10.71.0.0/24"

// dualNetwork is one of both families.
const dualNetwork = `{"cniVersion": "1.1.0", "name": "dual", "plugins": [
	{"type": "bridge", "bridge": "dual0", "isDefaultGateway": true, "ipMasq": true, "capabilities": {"mac": true, "ips": true},
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.72.0.0/24"}], [{"subnet": "fd00:72::/64"}]]}},
	{"type": "portmap", "capabilities": {"portMappings": true}}]}`

// backBridge has a way out, too.
const backBridge = `{"cniVersion": "1.0.0", "name": "back", "plugins": [
	{"type": "bridge", "bridge": "back0", "isDefaultGateway": true, "ipMasq": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.80.0.0/24"}]]}}]}`

// sideNetwork is of another plugin, without a default route.
const sideNetwork = `{"cniVersion": "1.0.0", "name": "side", "plugins": [
	{"type": "bridge", "bridge": "side0", "isGateway": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.73.0.0/24"}]]}}]}`

// create makes a network of Seam's driver. An argument that begins with "ipam " asks for
// the driver's own addresses, as they are in that network.
func (d *docker) create(name string, args ...string) {
	d.Helper()
	all := []string{"network", "create", "--driver", d.driverName}
	d.docker(append(append(all, args...), name)...)
}

// onFile are the options of a Docker network that is one of the host's.
func onFile(name string) []string { return []string{"--opt", "seam.network=" + name} }

// itsAddresses asks for addresses of the chain's own IPAM, ahead of the interface. The
// subnet is the chain's, which must be said where the host has a route to it already.
func (d *docker) itsAddresses(name, subnet string, args ...string) []string {
	all := append(onFile(name), "--ipam-driver", d.driverName, "--ipam-opt", "seam.network="+name, "--subnet", subnet)
	return append(all, args...)
}

// noAddresses asks for whatever the chain gives.
func noAddresses(name string) []string { return append(onFile(name), "--ipam-driver", "null") }

// sub runs part of a test under a name of its own. It must not start or end daemons.
func (d *docker) sub(name string, part func(d *docker)) {
	d.Helper()
	d.Run(name, func(t *testing.T) {
		n, part2 := *d.node, *d
		n.T = t
		part2.node = &n
		defer func() {
			if t.Failed() { // the parts after this one need not fail, too
				part2.sweep()
			}
		}()
		part(&part2)
	})
}

// sweep removes all containers and networks.
func (d *docker) sweep() {
	d.Helper()
	for id := range strings.FieldsSeq(d.docker("ps", "--all", "--quiet")) {
		d.remove(id)
	}
	for id := range strings.FieldsSeq(d.docker("network", "ls", "--quiet", "--filter", "type=custom")) {
		d.docker("network", "rm", id)
	}
}

// place returns where the container's sockets are.
func (d *docker) place(container string) place {
	d.Helper()
	path := fmt.Sprintf("/proc/%s/ns/net", d.docker("inspect", "--format", "{{.State.Pid}}", container))
	ns, err := netns.Open(path)
	d.must(err)
	d.Cleanup(func() { ns.Close() })
	return &netnstest.Pod{NS: ns, Path: path}
}

// listed returns what "seam ls" says of a container on a network of the host, and fails
// unless it does so once.
func (d *docker) listed(network, chain, container string) attachment {
	d.Helper()
	return d.attached(chain, d.on(network, container).EndpointID)
}

// stands fails unless "docker inspect", the container's own interface and "seam ls" say
// the same of it, and the gateway is that.
func (d *docker) stands(network, chain, container, gateway string) standing {
	d.Helper()
	s := d.on(network, container)
	if s.IPAddress == "" || s.MacAddress == "" || s.Gateway != gateway {
		d.Errorf("docker inspect %s: %+v, want address, MAC and gateway %q", container, s, gateway)
	}
	a := d.listed(network, chain, container)
	if a.addr() != s.IPAddress {
		d.Errorf("seam ls: %+v, docker inspect: %+v", a, s)
	}
	inside := d.inside(container, "ip", "addr")
	d.has(container+": ip addr", inside, fmt.Sprintf("inet %s/%d ", s.IPAddress, s.IPPrefixLen), "ether "+s.MacAddress)
	if gateway != "" {
		d.has(container+": ip route", d.inside(container, "ip", "route"), "default via "+gateway+" ")
	} else if got := d.inside(container, "ip", "route"); strings.Contains(got, "default") {
		d.Errorf("%s: ip route: %s, want no default route", container, got)
	}
	return s
}
