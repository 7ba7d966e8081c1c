package runtimes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seamnet/seam/netns/netnstest"
	"golang.org/x/sys/unix"
)

// lanBridge and lanMacvlan are networks whose addresses a DHCP server gives. The engine sets
// the MAC address of the second one's interface itself, where it is asked for one.
const (
	lanBridge = `{"cniVersion": "1.1.0", "name": "lan", "plugins": [
	{"type": "bridge", "bridge": "lan0", "capabilities": {"mac": true}, "ipam": {"type": "dhcp"}}]}`
	lanMacvlan = `{"cniVersion": "1.1.0", "name": "lan", "plugins": [
	{"type": "macvlan", "master": "lan0", "ipam": {"type": "dhcp"}}]}`
)

// renewal is after how many seconds the server has leases renewed.
const renewal = "5"

// A lan is a DHCP server, which is the router too, and the daemon of the plugin dhcp.
type lan struct {
	*docker
	server place
	daemon *exec.Cmd
}

const serverAddr = "10.9.0.1"

// lan starts both. The node's lan0, which leads to the server, is of the kind: "bridge", or
// "veth", a wire.
func (d *docker) lan(kind string) *lan {
	d.Helper()
	d.need("dnsmasq")
	l := &lan{docker: d, server: netnstest.NewPod(d.T, "dhcpd")}
	if kind == "bridge" {
		d.run("ip", "link", "add", "lan0", "address", "02:00:00:00:09:01", "type", "bridge") // else that of a port
		d.run("ip", "link", "add", "port0", "type", "veth", "peer", "name", "eth0", "netns", "dhcpd")
		d.run("ip", "link", "set", "port0", "master", "lan0", "up")
	} else {
		d.run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", "dhcpd")
	}
	d.run("ip", "link", "set", "lan0", "up")
	d.run("ip", "-n", "dhcpd", "addr", "add", serverAddr+"/24", "dev", "eth0")
	netnstest.Up(d.T, l.server.NS, "eth0")
	d.Cleanup(func() { d.run("ip", "link", "del", "lan0") })
	l.serve()
	l.startDaemon()
	d.Cleanup(func() {
		l.killDaemon()
		if d.Failed() {
			d.Log(contents(l.file("server.log")), contents(l.file("daemon.log")))
		}
	})
	return l
}

func (l *lan) file(name string) string { return filepath.Join(l.dir, "lan", name) }

// serve starts the server for the rest of the test.
func (l *lan) serve() {
	l.Helper()
	l.must(os.MkdirAll(l.file(""), 0o700))
	cmd := exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--pid-file=", "--user=root",
		"--no-resolv", "--no-hosts", "--no-ping", "--log-dhcp", "--log-facility="+l.file("server.log"), "--interface=eth0", "--bind-interfaces",
		"--dhcp-leasefile="+l.file("leases"), "--dhcp-range=10.9.0.10,10.9.0.99,255.255.255.0,2m", "--dhcp-option=58,"+renewal)
	l.must(within(l.server, cmd.Start))
	l.Cleanup(func() {
		l.must(cmd.Process.Kill())
		_ = cmd.Wait() // says that it was killed
	})
	l.eventually(func() error {
		if !strings.Contains(contents(l.file("server.log")), "sockets bound") {
			return fmt.Errorf("the DHCP server is not ready")
		}
		return nil
	})
}

// startDaemon starts the daemon, on the leases that it had, and waits until it answers.
func (l *lan) startDaemon() {
	l.Helper()
	log, err := os.OpenFile(l.file("daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	l.must(err)
	defer log.Close()
	l.daemon = exec.Command(filepath.Join(binDir, "dhcp"), "daemon")
	l.daemon.Stderr = log
	l.must(l.daemon.Start())
	l.eventually(func() error {
		_, err := l.try(built("seam"), "status", "lan")
		return err
	})
}

// killDaemon ends the daemon as a power failure would.
func (l *lan) killDaemon() {
	l.Helper()
	l.must(l.daemon.Process.Signal(unix.SIGKILL))
	_ = l.daemon.Wait() // says that it was killed
}

// leases returns what the server has given to whom: addresses with MAC addresses.
func (l *lan) leases() map[string]string {
	leases := make(map[string]string)
	for line := range strings.Lines(contents(l.file("leases"))) {
		if f := strings.Fields(line); len(f) == 5 {
			leases[f[2]] = f[1]
		}
	}
	return leases
}

// renewed waits until the server has given each address for some more time.
func (l *lan) renewed(addresses ...string) {
	l.Helper()
	given := func(address string) int {
		return strings.Count(contents(l.file("server.log")), "DHCPACK(eth0) "+address+" ")
	}
	for _, address := range addresses {
		before := given(address)
		l.patiently(func() error {
			if given(address) == before {
				return fmt.Errorf("the lease of %s is not renewed", address)
			}
			return nil
		})
	}
}

// TestDockerDHCP: a DHCP server gives the addresses, which needs the interface: it leads to
// the server before there is a container, and goes on to it with its lease.
func TestDockerDHCP(t *testing.T) {
	onEngines(t, func(d *docker) { d.onLAN("bridge", lanBridge, noAddresses("lan")) })
}

// TestDockerDHCPMacvlan: the same without a bridge, and with a list that is not a file's.
func TestDockerDHCPMacvlan(t *testing.T) {
	inline := []string{"--opt", "seam.conflist=" + lanMacvlan, "--ipam-driver", "null"}
	onEngines(t, func(d *docker) { d.onLAN("veth", lanMacvlan, inline) })
}

func (d *docker) onLAN(kind, list string, create []string) {
	d.Helper()
	d.withSeamd()
	d.network(prodNetwork) // with the firewall's static rules, which stay
	d.write(filepath.Join(confDir, "lan.conflist"), list)
	l := d.lan(kind)
	before := l.footprint()
	l.create("lan", create...)
	l.leased()
	l.second()
	l.docker.docker("network", "rm", "lan")
	l.same(before)
}

// leased has containers on that network alone.
func (l *lan) leased() {
	l.Helper()
	l.web("web", "lan")
	l.web("db", "lan", "--mac-address", "02:00:00:00:00:77")
	web, db := l.holds("web"), l.holds("db")
	if db.MacAddress != "02:00:00:00:00:77" {
		l.Errorf("docker inspect db: %+v, want the MAC that was asked for", db)
	}
	l.stands("lan", "lan", "web", serverAddr)
	l.stands("lan", "lan", "db", serverAddr)
	l.reach("lan", "web", "db")
	l.answers(l.server, web.IPAddress+":80", "web asked by "+serverAddr)
	l.renewed(web.IPAddress, db.IPAddress)
	l.killSeamd()
	l.killDaemon()
	l.startDaemon()
	l.startSeamd()
	l.renewed(web.IPAddress, db.IPAddress)
	l.reach("lan", "web", "db")
	l.sound()
	l.docker.docker("restart", "web")
	l.gone(web)
	web = l.holds("web")
	l.renewed(web.IPAddress)
	l.answers(l.server, web.IPAddress+":80", "web asked by "+serverAddr)
	l.remove("web")
	l.gone(web)
	l.docker.docker("stop", "db")
	l.gone(db)
	l.remove("db")
}

// second has it as another network of a container, from its start and live: the interface
// has not the name then that it would have alone.
func (l *lan) second() {
	l.Helper()
	l.create("alone")
	l.web("web", "alone")
	for range 2 {
		l.docker.docker("network", "connect", "lan", "web")
		web := l.holds("web")
		l.renewed(web.IPAddress)
		l.answers(l.server, web.IPAddress+":80", "web asked by "+serverAddr)
		l.sound()
		l.docker.docker("network", "disconnect", "lan", "web")
		l.gone(web)
	}
	l.docker.docker("network", "connect", "lan", "web")
	l.docker.docker("restart", "web")
	web := l.holds("web")
	l.renewed(web.IPAddress)
	l.remove("web")
	l.gone(web)
	l.docker.docker("network", "rm", "alone")
}

// holds fails unless the container has the address that the server gave to its MAC address.
func (l *lan) holds(container string) standing {
	l.Helper()
	s := l.on("lan", container)
	if got := l.leases()[s.IPAddress]; got != s.MacAddress || got == "" {
		l.Errorf("the server has given %s to %q, docker inspect %s: %+v", s.IPAddress, got, container, s)
	}
	return s
}

// gone fails unless the address is given back, whoever has it now.
func (l *lan) gone(s standing) {
	l.Helper()
	l.eventually(func() error {
		if mac := l.leases()[s.IPAddress]; mac == s.MacAddress {
			return fmt.Errorf("%s of %s is not given back", s.IPAddress, mac)
		}
		return nil
	})
}
