package runtimes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// foreignNetwork has plugins that are not Seam's: one that wraps another and keeps a list
// of its calls, and one that gives the container a second interface. What tuning and sbr
// set is inside the container, where no engine carries it.
const foreignNetwork = `{"cniVersion": "1.0.0", "name": "foreign", "plugins": [
	{"type": "wrapped", "bridge": "foreign0", "isDefaultGateway": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.76.0.0/24"}]]}},
	{"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.core.somaxconn": "500"}},
	{"type": "sbr"},
	{"type": "second"},
	{"type": "portmap", "capabilities": {"portMappings": true}}]}`

const wrapped = `#!/bin/sh
echo "$CNI_COMMAND" >> /run/wrapped
exec ` + binDir + `/bridge
`

// second adds an interface with an address and a route of its own.
const second = `#!/bin/sh
set -e
config=$(cat)
inside() { nsenter --net="$CNI_NETNS" "$@"; }
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}' ;;
ADD)
	inside ip link add second0 type veth peer name second1
	inside ip addr add 10.77.0.1/24 dev second0
	inside ip link set second0 up
	inside ip link set second1 up
	inside ip route add 10.78.0.0/24 via 10.77.0.9
	echo "$config" | jq -c .prevResult ;;
DEL)
	test -z "$CNI_NETNS" || inside ip link del second0 2>/dev/null || true ;;
CHECK)
	inside ip link show second0 >/dev/null ;;
esac
`

// TestDockerForeignPlugins: any plugin may be in a chain, and what it does inside the
// container is there, whether the engine has the container's namespace in time or not.
func TestDockerForeignPlugins(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.need("jq", "nsenter")
		for name, script := range map[string]string{"wrapped": wrapped, "second": second} {
			d.must(os.WriteFile(filepath.Join(binDir, name), []byte(script), 0o755))
		}
		d.withSeamd()
		d.network(prodNetwork) // with the firewall's static rules, which stay
		d.network(foreignNetwork)
		before := d.footprint()
		d.create("prod", d.itsAddresses("foreign", "10.76.0.0/24")...)
		d.web("web", "prod", "--publish", "18080:80")
		d.web("db", "prod")
		for range 2 {
			d.furnished("web", "eth0")
			d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
			for _, name := range []string{"web", "db"} {
				d.answers(nil, d.on("prod", name).IPAddress+":80", name+" asked by 10.76.0.1")
			}
			d.sound()
			d.docker("restart", "web")
		}

		d.docker("run", "--detach", "--name", "late", "--network", "none", "--stop-signal", "KILL", image, "sleep", "1000")
		d.docker("network", "disconnect", "none", "late")
		d.docker("network", "connect", "prod", "late")
		d.furnished("late", "eth10") // not handed to the engine
		d.remove("web", "db", "late")
		d.docker("network", "rm", "prod")
		d.same(before)
		if calls := contents("/run/wrapped"); !strings.Contains(calls, "ADD") || !strings.Contains(calls, "DEL") {
			d.Errorf("the wrapper was not called: %q", calls)
		}
	})
}

// furnished waits until all that the chain makes is in the container: engines that mount
// its namespace late have it then.
func (d *docker) furnished(container, ifname string) {
	d.Helper()
	for _, sight := range []struct {
		want    string
		program []string
	}{
		{"1", []string{"cat", "/proc/sys/net/ipv4/conf/" + ifname + "/arp_filter"}},
		{"500", []string{"cat", "/proc/sys/net/core/somaxconn"}},
		{"from " + d.on("prod", container).IPAddress, []string{"ip", "rule"}},
		{"inet 10.77.0.1/24", []string{"ip", "addr", "show", "second0"}},
		{"10.78.0.0/24 via 10.77.0.9", []string{"ip", "route"}},
	} {
		d.eventually(func() error {
			got, err := d.tryDocker(append([]string{"exec", container}, sight.program...)...)
			if err == nil && !strings.Contains(got, sight.want) {
				err = fmt.Errorf("%s: %s: no %q in\n%s", container, strings.Join(sight.program, " "), sight.want, got)
			}
			return err
		})
	}
}
