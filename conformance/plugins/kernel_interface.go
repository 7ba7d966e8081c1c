package plugins

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

func checkInterface(h *host) {
	a := h.attach(h.pod())
	if _, err := a.Pod.links.ByName(a.IfName); err != nil {
		h.Errorf("%v", err)
	}
	if !slices.ContainsFunc(a.Result.Interfaces, func(i cni.Interface) bool { return i.Name == a.IfName && i.Sandbox == a.Pod.Path }) && a.structured() {
		h.Errorf("the result should list %s with the sandbox %s: %s", a.IfName, a.Pod.Path, a.Raw)
	}
	a.detach()
}

// structured reports whether results of the version list interfaces: since 0.3.0.
func (a *attachment) structured() bool { return a.Version != "0.1.0" && a.Version != "0.2.0" }

// own returns the pod's interface, or ends the check.
func (a *attachment) own() link.Link {
	l, err := a.Pod.links.ByName(a.IfName)
	if err != nil {
		a.h.Fatalf("%v", err)
	}
	return l
}

func checkUp(h *host) {
	if h.network.says("disableContainerInterface", "true") {
		h.Skipf("disableContainerInterface leaves it down")
	}
	if l := h.attach(h.pod()).own(); !l.Up {
		h.Errorf("%s is down", l.Name)
	}
}

// place returns the handle of the namespace that an interface of the result is in;
// nil: one that is neither the pod's nor the host's.
func (a *attachment) place(sandbox string) *link.Handle {
	switch sandbox {
	case "":
		return a.h.links
	case a.Pod.Path:
		return a.Pod.links
	}
	return nil
}

func checkInterfaces(h *host) {
	a := h.attach(h.pod())
	a.interfacesHold(a.Result.Interfaces)
}

// interfacesHold wants those interfaces of the result to be there as it tells.
func (a *attachment) interfacesHold(claimed []cni.Interface) {
	for _, want := range claimed {
		links := a.place(want.Sandbox)
		if links == nil {
			a.h.Errorf("interface %s: sandbox %q is neither the pod's, %s, nor empty for the host", want.Name, want.Sandbox, a.Pod.Path)
			continue
		}
		l, err := links.ByName(want.Name)
		if err != nil {
			a.h.Errorf("interface %s of the result, sandbox %q: %v", want.Name, want.Sandbox, err)
			continue
		}
		if want.MAC != nil && !bytes.Equal(want.MAC, l.MAC) && !(len(l.MAC) == 0 && isZero(want.MAC)) {
			a.h.Errorf("interface %s, sandbox %q: has the MAC address %v; the result says %v", want.Name, want.Sandbox, l.MAC, want.MAC)
		}
		if want.MTU != 0 && want.MTU != l.MTU {
			a.h.Errorf("interface %s, sandbox %q: has MTU %d; the result says %d", want.Name, want.Sandbox, l.MTU, want.MTU)
		}
	}
}

func isZero(mac []byte) bool { return len(bytes.Trim(mac, "\x00")) == 0 }

func checkTwoPods(h *host) {
	if reason := h.network.one(); reason != "" {
		h.Skipf("%s", reason)
	}
	a := h.attach(h.pod())
	hosts := slices.DeleteFunc(slices.Clone(a.Result.Interfaces), func(i cni.Interface) bool { return i.Sandbox != "" })
	b := h.attach(h.pod())
	a.interfacesHold(hosts)
	b.interfacesHold(b.Result.Interfaces)
	b.detach()
	a.interfacesHold(hosts)
}

// checkConfiguredMTU goes by the last plugin of the chain that has the key. Where none
// has, those that are known to have it are told.
func checkConfiguredMTU(h *host) {
	want := 0
	for _, m := range h.network.Members {
		_ = json.Unmarshal(m.Conf.Get("mtu"), &want) // another type: another meaning
	}
	if want == 0 {
		want = 1400
		first := h.network.Members[0]
		switch first.Type {
		case "bridge", "ptp", "macvlan", "ipvlan", "vlan", "tap":
			first.Conf.Set("mtu", fmt.Append(nil, want))
		default:
			h.Skipf("the network does not ask for an MTU")
		}
	}
	if l := h.attach(h.pod()).own(); l.MTU != want {
		h.Errorf("%s has MTU %d; the configuration says %d", l.Name, l.MTU, want)
	}
}

// checkTwoInterfaces attaches net1 of the pod that has eth0 already.
func checkTwoInterfaces(h *host) {
	if reason := h.network.one(); reason != "" {
		h.Skipf("%s", reason)
	}
	a := h.attach(h.pod())
	if a.IfName == "lo" {
		h.Skipf("a pod has one lo")
	}
	b := h.attachment(a.Pod)
	b.IfName = "net1"
	if err := b.add(); err != nil {
		h.Skipf("%s of a pod that has %s: %v", b.IfName, a.IfName, err) // protocol/second-interface tells
	}
	a.holds("beside " + b.IfName)
	b.holds("beside " + a.IfName)
	if a.own().Index == b.own().Index {
		h.Errorf("%s and %s are one interface", a.IfName, b.IfName)
	}
	b.detach()
	if _, err := a.Pod.links.ByName(b.IfName); err == nil {
		h.Errorf("%s is still there after DEL", b.IfName)
	}
	a.holds("after DEL of " + b.IfName)
	a.detach()
}

// holds wants the interfaces and addresses of the result; when is for the note.
func (a *attachment) holds(when string) {
	failed := a.h.Failed()
	a.interfacesHold(a.Result.Interfaces)
	a.addressesHold()
	if a.h.Failed() && !failed {
		a.h.Logf("that was %s", when)
	}
}
