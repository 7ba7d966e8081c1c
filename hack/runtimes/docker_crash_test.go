package runtimes

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDockerDriverDies: the driver is killed between calls. What runs goes on, and what
// comes after finds the driver's successor.
func TestDockerDriverDies(t *testing.T) {
	onEngines(t, func(d *docker) {
		before := d.pair()
		d.killSeamd()
		d.reach("prod", "web", "db")
		d.reach("plain", "web", "db")
		d.startSeamd()
		d.web("third", "prod", "--publish", "18081:80")
		d.docker("network", "connect", "plain", "third")
		d.reach("prod", "web", "db", "third")
		d.reach("plain", "web", "db", "third")
		d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
		d.answers(d.outside, nodeAddr+":18081", "third asked by "+outsideAddr)
		d.docker("restart", "web")
		d.reach("prod", "web", "db", "third")
		d.stopSeamd()
		d.startSeamd()
		d.sound()
		d.remove("third")
		d.unpair(before)
	})
}

// pair starts the driver, and web and db, which are both on a network of the host's and on
// one of Docker's alone. It returns what there was before them.
func (d *docker) pair() (before string) {
	d.Helper()
	d.withSeamd()
	d.network(prodNetwork)
	before = d.footprint()
	d.create("prod", d.itsAddresses("prod", prodSubnet)...)
	d.create("plain")
	d.web("web", "prod", "--publish", "18080:80")
	d.web("db", "prod")
	d.docker("network", "connect", "plain", "web")
	d.docker("network", "connect", "plain", "db")
	return before
}

// works fails unless the pair reaches one another and is reached.
func (d *docker) works() {
	d.Helper()
	d.reach("prod", "web", "db")
	d.reach("plain", "web", "db")
	d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
	d.sound()
}

// unpair removes the pair and its networks: nothing of them is left.
func (d *docker) unpair(before string) {
	d.Helper()
	d.remove("web", "db")
	d.docker("network", "rm", "prod", "plain")
	d.same(before)
}

// killer is a plugin that kills the driver, once, in the middle of the call that
// /run/victim names; then it waits until that is dead.
const killer = `#!/bin/sh
config=$(cat)
if [ "$(cat /run/victim 2>/dev/null)" = "$CNI_COMMAND" ]; then
	rm /run/victim
	kill -9 $PPID
fi
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}' ;;
ADD) echo "$config" | jq -c .prevResult ;;
esac
`

const deadlyNetwork = `{"cniVersion": "1.0.0", "name": "deadly", "plugins": [
	{"type": "bridge", "bridge": "deadly0", "isDefaultGateway": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.79.0.0/24"}]]}},
	{"type": "killer"},
	{"type": "portmap", "capabilities": {"portMappings": true}}]}`

// TestDockerDriverDiesAtWork: the driver is killed in the middle of a chain, on its way
// there and back, and started again as systemd would. The engine asks again.
func TestDockerDriverDiesAtWork(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.need("jq")
		d.must(os.WriteFile(filepath.Join(binDir, "killer"), []byte(killer), 0o755))
		d.withSeamd()
		d.network(prodNetwork) // with the firewall's static rules, which stay
		d.network(deadlyNetwork)
		before := d.footprint()
		for _, create := range [][]string{d.itsAddresses("deadly", "10.79.0.0/24"), noAddresses("deadly")} {
			d.create("net", create...)
			d.web("db", "net")
			d.dieAt("ADD", webArgs("web", "net", "--publish", "18080:80")...)
			if _, err := d.tryDocker("exec", "web", "true"); err != nil { // the engine may have given up
				d.remove("web")
				d.web("web", "net", "--publish", "18080:80")
			}
			d.reach("net", "web", "db")
			d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
			d.dieAt("DEL", "rm", "--force", "web")
			d.closed(d.outside, nodeAddr+":18080")
			d.web("web", "net", "--publish", "18080:80")
			d.reach("net", "web", "db")
			d.remove("web", "db")
			d.docker("network", "rm", "net")
			d.same(before)
		}
	})
}

// dieAt kills the driver when the chain is called so because of what Docker is told, and
// starts it again.
func (d *docker) dieAt(command string, args ...string) {
	d.Helper()
	d.write("/run/victim", command)
	done := make(chan error, 1)
	go func() {
		_, err := d.tryDocker(args...)
		done <- err
	}()
	dead := make(chan struct{})
	go func() {
		_ = d.driver.Wait() // says that it was killed
		close(dead)
	}()
	select {
	case <-dead:
	case err := <-done:
		d.Fatalf("docker %s did not have the driver call %s: %v", strings.Join(args, " "), command, err)
	}
	d.driver = nil
	d.startSeamd()
	if err := <-done; err != nil {
		d.Logf("driver killed at %s: %v", command, err)
	}
}

// TestDockerEngineDies: the engine is killed, or stops, and what it started ends with it;
// the containers start again on their networks.
func TestDockerEngineDies(t *testing.T) {
	onEngines(t, func(d *docker) {
		before := d.pair()
		for _, end := range []func(){d.kill9, d.stop} {
			end()
			d.start()
			d.docker("start", "web", "db")
			d.works()
		}
		d.kill9()
		d.start()
		d.unpair(before)
	})
}

// TestDockerBothDie: the engine and the driver are killed at once.
func TestDockerBothDie(t *testing.T) {
	onEngines(t, func(d *docker) {
		before := d.pair()
		d.kill9()
		d.killSeamd()
		d.startSeamd()
		d.start()
		d.docker("start", "web", "db")
		d.works()
		d.kill9()
		d.killSeamd()
		d.startSeamd()
		d.start()
		d.unpair(before)
	})
}

// TestDockerLiveRestore: containers that outlive their engine.
func TestDockerLiveRestore(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.stop()
		d.flags = []string{"--live-restore"}
		d.start()
		before := d.pair()
		for _, end := range []func(){d.stop, d.kill9} {
			end()
			d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
			d.killSeamd()
			d.startSeamd()
			d.start()
			d.works()
		}
		d.web("third", "prod")
		d.reach("prod", "web", "db", "third")
		d.remove("third")
		d.unpair(before)
	})
}

// TestDockerReboot: all of the kernel and of /run is gone, what is on disk is there.
func TestDockerReboot(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.pair()
		d.reboot()
		d.startSeamd()
		d.start()
		d.docker("start", "web", "db")
		d.works()
		d.web("third", "prod")
		d.reach("prod", "web", "db", "third")
		d.remove("web", "db", "third")
		d.docker("network", "rm", "prod", "plain")

		before := d.footprint()
		d.create("prod", d.itsAddresses("prod", prodSubnet)...)
		d.create("plain")
		d.web("web", "prod")
		d.web("db", "plain")
		d.remove("web", "db")
		d.docker("network", "rm", "prod", "plain")
		d.same(before)
		if left := files("/var/lib/cni/networks/prod"); len(leases(left)) > 0 {
			d.Errorf("addresses are taken by nobody: %v", left)
		}
	})
}

// leases returns those of host-local's files that are addresses'.
func leases(paths []string) []string {
	var found []string
	for _, path := range paths {
		if name := filepath.Base(path); strings.HasPrefix(name, "10.") || strings.HasPrefix(name, "fd00") {
			found = append(found, name)
		}
	}
	return found
}

// reboot ends all but the test, and takes away what is not on disk.
func (d *docker) reboot() {
	d.Helper()
	d.kill9()
	d.killSeamd()
	d.containerd.stop()
	d.killOthers()
	for line := range strings.Lines(d.run("ip", "-o", "link")) {
		name, _, _ := strings.Cut(strings.Fields(line)[1], "@")
		if name = strings.TrimSuffix(name, ":"); name != "lo" && name != "up0" {
			_, _ = d.try("ip", "link", "del", name) // gone with its peer
		}
	}
	d.run("nft", "flush", "ruleset")
	for line := range strings.Lines(contents("/proc/self/mountinfo")) {
		path := strings.Fields(line)[4]
		if strings.HasPrefix(path, "/run/") && !strings.HasPrefix(path, "/run/netns") || strings.HasPrefix(path, d.dir+"/docker/") {
			_ = unix.Unmount(path, unix.MNT_DETACH) // gone with the one below
		}
	}
	kept, err := os.ReadDir("/run")
	d.must(err)
	for _, entry := range kept {
		if entry.Name() != "netns" {
			d.must(os.RemoveAll(filepath.Join("/run", entry.Name())))
		}
	}
	d.containerd.start()
}

// killOthers ends every process of the node but the test's own.
func (d *docker) killOthers() {
	d.Helper()
	d.eventually(func() error {
		names, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return err
		}
		for _, name := range names {
			if pid := filepath.Base(name); pid != "1" && pid != strconv.Itoa(os.Getpid()) {
				d.kill(pid)
				err = fmt.Errorf("process %s still runs", pid)
			}
		}
		return err
	})
}

// TestDockerConflistGone: containers can be stopped and removed whose network has no
// file any more.
func TestDockerConflistGone(t *testing.T) {
	onEngines(t, func(d *docker) {
		before := d.pair()
		file := filepath.Join(confDir, "prod.conflist")
		d.must(os.Rename(file, file+".away"))
		d.docker("stop", "db")
		d.refuses([]string{"prod"}, "start", "db")
		d.docker("network", "disconnect", "prod", "web")
		d.closed(d.outside, nodeAddr+":18080")
		d.must(os.Rename(file+".away", file))
		d.docker("network", "connect", "prod", "web")
		d.docker("start", "db")
		d.works()
		d.must(os.Rename(file, file+".away"))
		d.remove("web", "db")
		d.docker("network", "rm", "prod", "plain")
		d.must(os.Rename(file+".away", file))
		d.same(before)
	})
}

// TestDockerPortAfterKill: an engine that is killed, and asks nothing of the driver when it
// starts again, as where the addresses are its own, has its containers' ports back.
func TestDockerPortAfterKill(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork) // with the firewall's static rules, which stay
		before := d.footprint()
		d.create("plain")
		d.web("web", "plain", "--publish", "18080:80")
		d.kill9()
		d.start()
		d.docker("start", "web")
		d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
		d.sound()
		d.remove("web")
		d.docker("network", "rm", "plain")
		d.same(before)
	})
}
