package plugins

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

func tamperChecks() []check {
	makers, workers := []Role{Interface}, []Role{Interface, Chained}
	return []check{
		{should("check-interface", specCHECK, "CHECK finds that the pod's interface is gone."), makers, each(checkFindsInterface)},
		{should("check-address", specCHECK, "CHECK finds that an address of the result is gone from the pod."), makers, each(checkFindsAddress)},
		{should("check-route", specCHECK, "CHECK finds that a route of the result is gone from the pod."), makers, each(checkFindsRoute)},
		{should("check-port", specCHECK, "CHECK finds that the host's end is no port of its bridge any more."), makers, each(checkFindsPort)},
		{open("check-down", specCHECK, "CHECK finds that the pod's interface was set down."), makers, each(checkFindsDown)},
		{open("check-mac", specCHECK, "CHECK finds that the interface's MAC address is not the result's."), makers, each(checkFindsMAC)},
		{should("check-lease", specCHECK, "CHECK finds that the addresses are not reserved any more."), makers, each(checkFindsLease)},
		{should("check-firewall", specCHECK, "CHECK finds that the firewall rules that ADD made are gone."), workers, each(checkFindsFlush)},
		{should("check-shaping", specCHECK, "CHECK finds that the traffic shaping that ADD made is gone."), workers, each(checkFindsShaping)},
		{should("check-rules", specCHECK, "CHECK finds that the routing rules that ADD made are gone from the pod."), workers, each(checkFindsRules)},
		{should("check-settings", specCHECK, "CHECK finds that a chained plugin's change to the interface was taken back."), []Role{Chained}, each(checkFindsSettings)},
	}
}

// finds tells if CHECK succeeds though something is wrong.
func (t *trial) finds(what string) { t.refuses("CHECK, "+what, t.run("CHECK", t.Raw)) }

func checkFindsInterface(t *trial) {
	l := t.made()
	t.h.Must(t.Pod.links.Delete(l.Name))
	t.finds("the interface gone")
}

func checkFindsAddress(t *trial) {
	l := t.made()
	ips := t.Result.PodIPs(t.IfName)
	if len(ips) == 0 {
		t.skip("%s gives no address", t.m.Type)
	}
	for _, ip := range ips {
		t.h.Must(t.Pod.links.DeleteAddr(l, ip.Address))
		t.finds("address " + ip.Address.String() + " gone")
	}
}

func checkFindsRoute(t *trial) {
	l := t.made()
	have, err := t.Pod.links.Routes(l)
	t.h.Must(err)
	for _, want := range t.Result.Routes {
		i := slices.IndexFunc(have, func(r link.Route) bool { return r.Dst == want.Dst })
		if i < 0 {
			continue
		}
		t.h.Must(t.Pod.links.DeleteRoute(l, have[i]))
		t.finds("route to " + want.Dst.String() + " gone")
		return
	}
	t.skip("%s makes no route of its result", t.m.Type)
}

func checkFindsPort(t *trial) {
	t.made()
	for _, l := range t.Result.Interfaces {
		if l.Sandbox != "" {
			continue
		}
		if is, err := t.h.links.ByName(l.Name); err == nil && is.Master != 0 {
			t.h.Must(t.h.links.SetFree(is))
			t.finds("the host's end taken out of the bridge")
			return
		}
	}
	t.skip("%s makes no port of a bridge", t.m.Type)
}

func checkFindsDown(t *trial) {
	t.h.Must(t.Pod.links.Set(t.made(), link.Change{Down: true}))
	t.finds("the interface set down")
}

func checkFindsMAC(t *trial) {
	if err := t.Pod.links.Set(t.made(), link.Change{MAC: net.HardwareAddr{0x02, 0x53, 0, 0, 0, 0x08}}); err != nil {
		t.skip("its MAC address cannot be changed: %v", err)
	}
	t.finds("the MAC address changed")
}

// ipam returns the plugin for addresses, or skips the check.
func (t *trial) ipam() member {
	if !t.m.delegates() {
		t.skip("%s has no ipam", t.m.Type)
	}
	m := t.m
	m.Role, m.Type = IPAM, ipamOf(t.m.Conf)
	m.program = t.h.beside(m.Type)
	return m
}

// release takes the lease away behind the plugin's back. The check is skipped if the
// plugin for addresses itself does not mind.
func (t *trial) release() {
	m := t.ipam()
	a := t.h.run(m, t.call("DEL", m, t.Raw))
	if a.Exit != 0 {
		t.skip("%s: its DEL does not work: %v", m.Type, a)
	}
	if a := t.h.run(m, t.call("CHECK", m, t.Raw)); a.Exit == 0 {
		t.skip("%s keeps no leases, or does not say that one is gone", m.Type)
	}
}

func checkFindsLease(t *trial) {
	t.made()
	t.release()
	t.finds("the lease gone")
}

// ruleset returns the rules of the host's firewall. It takes the program nft, as rules that
// are not Seam's own are to be seen, too.
func (t *trial) ruleset() string {
	out, err := exec.Command("nft", "-s", "list", "ruleset").Output()
	if err != nil {
		t.skip("to see the host's firewall the program nft is needed: %v", err)
	}
	return string(out)
}

func checkFindsFlush(t *trial) {
	before := t.ruleset()
	t.checks()
	if t.ruleset() == before {
		t.skip("%s makes no firewall rules", t.m.Type)
	}
	t.h.Must(exec.Command("nft", "flush", "ruleset").Run())
	t.finds("the firewall flushed")
}

// shaping returns, of the host's links, those that limit a rate, and what takes in for such.
func (t *trial) shaping() map[string]link.Link {
	snapshot, err := t.h.links.TakeSnapshotBeside(nil)
	t.h.Must(err)
	shaped := make(map[string]link.Link)
	for _, l := range snapshot.Links {
		for _, q := range l.Queueing {
			if text := q.String(); strings.Contains(text, "tbf") || strings.Contains(text, "htb") || strings.Contains(text, "ingress") {
				shaped[l.Name] = l.Link
			}
		}
	}
	return shaped
}

func checkFindsShaping(t *trial) {
	before := t.shaping()
	t.checks()
	made := t.shaping()
	for name := range before {
		delete(made, name)
	}
	if len(made) == 0 {
		t.skip("%s shapes no traffic", t.m.Type)
	}
	for name, l := range made {
		_ = t.h.links.DeleteShaping(l) // one of the two is there, or it is another's
		_ = t.h.links.DeleteIngress(l)
		if _, there := t.shaping()[name]; there {
			for _, kind := range []string{"root", "ingress"} {
				_ = exec.Command("tc", "qdisc", "del", "dev", name, kind).Run()
			}
		}
		if _, there := t.shaping()[name]; there {
			t.skip("to delete what shapes the traffic of %s the program tc is needed", name)
		}
		t.finds("the queueing of " + name + " deleted")
	}
}

func checkFindsRules(t *trial) {
	before, err := t.Pod.links.Rules()
	t.h.Must(err)
	t.checks()
	have, err := t.Pod.links.Rules()
	t.h.Must(err)
	made := slices.DeleteFunc(have, func(r link.Rule) bool { return slices.Contains(before, r) })
	if len(made) == 0 {
		t.skip("%s makes no routing rules", t.m.Type)
	}
	for _, r := range made {
		t.h.Must(t.Pod.links.DeleteRule(r))
	}
	t.finds("its routing rules deleted")
}

// checkFindsSettings sets back what the plugin has changed of the interface.
func checkFindsSettings(t *trial) {
	if t.loopback() {
		t.skip("plugins leave lo alone")
	}
	was, settings := t.inside(t.IfName), t.settings()
	t.checks()
	is, changed := t.inside(t.IfName), false
	if is.MTU != was.MTU {
		changed = true
		t.h.Must(t.Pod.links.Set(is, link.Change{MTU: was.MTU}))
		t.finds(fmt.Sprintf("the MTU set back to %d", was.MTU))
		t.h.Must(t.Pod.links.Set(is, link.Change{MTU: is.MTU}))
	}
	if is.MAC.String() != was.MAC.String() {
		changed = true
		t.h.Must(t.Pod.links.Set(is, link.Change{MAC: was.MAC}))
		t.finds("the MAC address set back")
		t.h.Must(t.Pod.links.Set(is, link.Change{MAC: is.MAC}))
	}
	for path, value := range t.settings() {
		if old, ok := settings[path]; ok && old != value && strings.Contains(path, "/"+t.IfName+"/") && !strings.HasSuffix(path, "/mtu") {
			changed = true
			t.h.Must(t.Pod.ns.Do(func() error { return link.Sysctl(path).Write(old) }))
			t.finds("the setting " + path + " set back to " + old)
		}
	}
	if !changed {
		t.skip("%s changes nothing of the interface itself", t.m.Type)
	}
}

// settings returns those of the pod, by path.
func (t *trial) settings() link.Settings {
	settings, err := link.ReadSettings(t.Pod.ns)
	t.h.Must(err)
	return settings
}

// resultAddresses returns those of the result without their length.
func resultAddresses(r *cni.Result) []string {
	var all []string
	for _, ip := range r.IPs {
		all = append(all, ip.Address.Addr().String())
	}
	return all
}
