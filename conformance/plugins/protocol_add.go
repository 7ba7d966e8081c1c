package plugins

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/link"
)

func addChecks() []check {
	makers := []Role{Interface}
	return []check{
		{must("add-existing", specADD, "ADD is refused if the pod has an interface of that name already."), makers, each(checkAddExisting)},
		{should("add-existing-untouched", "practice: what is there belongs to another", "An ADD that is refused leaves the interface of that name as it is, and nothing beside it."), makers, each(checkAddExistingUntouched)},
		{must("add-again", specADD, "A second ADD of one attachment is refused, as its interface is there already."), makers, each(checkAddAgain)},
		{should("add-again-untouched", "practice: the first ADD is in use", "A second ADD of one attachment, though refused, leaves the first one whole."), makers, each(checkAddAgainUntouched)},
		{open("ipam-add-again", "CNI 1.1.0, section 2, ADD", "A plugin for addresses refuses a second ADD of one attachment."), []Role{IPAM}, each(checkAddAgain)},
		{must("add-no-namespace", specADD, "ADD is refused if CNI_NETNS leads nowhere."), makers, each(checkAddNoNamespace)},
		{should("add-no-namespace-clean", "practice: ADD that fails undoes itself", "ADD that is refused for its namespace leaves nothing behind."), makers, each(checkAddNoNamespaceClean)},
		{should("add-own-namespace", "practice: the host's links would be taken for the pod's", "ADD into the namespace that the plugin itself is called in is refused, and leaves nothing behind."), makers, each(checkAddOwnNamespace)},
		{open("add-own-namespace-code", "practice: the code of the specification's own library", "The error for the plugin's own namespace has code 8."), makers, each(checkAddOwnNamespaceCode)},
		{open("second-interface", "CNI 1.1.0, section 2, ADD", "A container can have two interfaces of one network."), nil, each(checkSecondInterface)},
		{open("add-no-path", specADD, "ADD of a plugin that delegates nothing does without CNI_PATH."), nil, each(checkAddNoPath)},
		{open("closed-stdout", "practice: the runtime has died meanwhile", "ADD whose result nobody reads fails, or dies, and leaves no lease behind."), makers, each(checkClosedStdout)},
	}
}

func checkSecondInterface(t *trial) {
	t.add()
	other, a := t.trySecond()
	t.works("ADD of "+other.IfName+" beside "+t.IfName, a)
}

func checkAddNoPath(t *trial) {
	if t.m.delegates() {
		t.skip("%s delegates to %s", t.m.Type, ipamOf(t.m.Conf))
	}
	addWith(func(c *call) { c.Unset = []string{"CNI_PATH"} })(t)
}

func checkClosedStdout(t *trial) {
	if t.m.program.file == "" {
		t.skip("in process there is no stdout to close")
	}
	before := t.things()
	read, write, err := os.Pipe()
	t.h.Must(err)
	read.Close()
	defer write.Close()
	cmd := t.m.program.command(t.h.Context(), t.call("ADD", t.m, t.prev))
	cmd.Stdout = write
	if err := cmd.Run(); err == nil {
		t.h.Errorf("%s: ADD with nobody at the other end of stdout: want an error: exit 0", t.m.Type)
	}
	t.clean("ADD with nobody at the other end of stdout", before)
}

// occupy makes an interface of the attachment's name in the pod.
func (t *trial) occupy() link.Link {
	if t.loopback() {
		t.skip("every pod has lo")
	}
	t.h.Must(t.Pod.links.AddVeth(link.Veth{Name: t.IfName, PeerName: "other0", PeerNS: t.Pod.ns}))
	return t.inside(t.IfName)
}

func (t *trial) inside(name string) link.Link {
	l, err := t.Pod.links.ByName(name)
	t.h.Must(err)
	return l
}

func checkAddExisting(t *trial) {
	t.occupy()
	t.refuses("ADD of "+t.IfName+", which there is", t.run("ADD", t.prev))
}

func checkAddExistingUntouched(t *trial) {
	was := t.occupy()
	before := t.things()
	if a := t.run("ADD", t.prev); a.Exit == 0 {
		t.skip("%s does not refuse it: %v", t.m.Type, a)
	}
	t.clean("ADD of "+t.IfName+", which there is", before)
	is, err := t.Pod.links.ByName(t.IfName)
	if err != nil || is.Index != was.Index || is.MAC.String() != was.MAC.String() || is.Up != was.Up {
		t.h.Errorf("%s: ADD of %s, which there is: want it left as it was, %+v, have %+v (%v)", t.m.Type, t.IfName, was, is, err)
	}
}

func checkAddAgain(t *trial) {
	if t.loopback() {
		t.skip("every pod has lo")
	}
	t.add()
	t.refuses("a second ADD", t.run("ADD", t.prev))
}

func checkAddAgainUntouched(t *trial) {
	t.add()
	before := t.things()
	if a := t.run("ADD", t.prev); a.Exit == 0 {
		t.skip("%s does not refuse it: %v", t.m.Type, a)
	}
	t.clean("a second ADD", before)
	t.works("CHECK after a second ADD", t.run("CHECK", t.Raw))
}

// nowhere is a path where there is no namespace.
const nowhere = "/run/netns/conformance-gone"

func (t *trial) addInto(netns string) answer {
	c := t.call("ADD", t.m, t.prev)
	c.NetNS = netns
	return t.h.run(t.m, c)
}

func checkAddNoNamespace(t *trial) {
	t.refuses("ADD with a namespace that there is not", t.addInto(nowhere))
}

func checkAddNoNamespaceClean(t *trial) {
	before := t.things()
	if a := t.addInto(nowhere); a.Exit == 0 {
		t.skip("%s does not refuse it: %v", t.m.Type, a)
	}
	t.clean("ADD with a namespace that there is not", before)
}

// addIntoOwn asks for an interface in the host's own namespace.
func (t *trial) addIntoOwn() answer {
	if !t.loopback() {
		t.IfName = "conformown0"
	}
	return t.addInto("/proc/self/ns/net")
}

func checkAddOwnNamespace(t *trial) {
	before := t.things()
	a := t.addIntoOwn()
	t.refuses("ADD into its own namespace", a)
	t.clean("ADD into its own namespace", before)
}

func checkAddOwnNamespaceCode(t *trial) {
	t.code("ADD into its own namespace", t.addIntoOwn(), cni.CodeInvalidNetNS)
}

func prevResultChecks() []check {
	later := []Role{Chained}
	return []check{
		{must("prev-result", specADD, "A chained plugin hands on what the plugins before it said of interfaces, addresses and names."), later, each(checkPrevResult)},
		{should("prev-result-routes", specADD, "A chained plugin hands on the routes of the plugins before it, as far as it does not change them."), later, each(checkPrevResultRoutes)},
		{should("no-prev-result", "practice: a plugin that is alone by mistake", "A chained plugin that is called without a previous result serves or says what it lacks: it does not crash."), later, each(checkNoPrevResult)},
		{should("null-prev-result", "practice: languages write null for what there is not", "A previous result of null is as good as none."), []Role{Interface}, stillAdds(func(o *wire.Object) { o.Set("prevResult", json.RawMessage("null")) })},
	}
}

// addAfter runs ADD after plugins that also said something of DNS, and returns that result.
func (t *trial) addAfter() *cni.Result {
	result, err := wire.DecodeResult(t.prev, t.Version)
	t.h.Must(err)
	result.DNS = cni.DNS{Nameservers: []string{"192.0.2.53"}, Domain: "example.org", Search: []string{"example.org"}, Options: []string{"ndots:2"}}
	t.prev, err = wire.EncodeResult(result, t.Version)
	t.h.Must(err)
	t.add()
	return result
}

func checkPrevResult(t *trial) {
	before := t.addAfter()
	for _, l := range before.Interfaces {
		if !slices.ContainsFunc(t.Result.Interfaces, func(is cni.Interface) bool { return is.Name == l.Name && is.Sandbox == l.Sandbox }) {
			t.h.Errorf("%s: interface %s of the plugins before is not in the result: %s", t.m.Type, l.Name, t.Raw)
		}
	}
	for _, ip := range before.IPs {
		if !slices.ContainsFunc(t.Result.IPs, func(is cni.IP) bool { return is.Address == ip.Address }) {
			t.h.Errorf("%s: address %s of the plugins before is not in the result: %s", t.m.Type, ip.Address, t.Raw)
		}
	}
	if want, have := fmt.Sprint(before.DNS), fmt.Sprint(t.Result.DNS); want != have {
		t.h.Errorf("%s: want the name servers of the plugins before, %s, have %s: %s", t.m.Type, want, have, t.Raw)
	}
}

func checkPrevResultRoutes(t *trial) {
	for _, r := range t.addAfter().Routes {
		if !slices.ContainsFunc(t.Result.Routes, func(is cni.Route) bool { return is.Dst == r.Dst }) {
			t.h.Errorf("%s: route to %s of the plugins before is not in the result: %s", t.m.Type, r.Dst, t.Raw)
		}
	}
}

func checkNoPrevResult(t *trial) {
	a := t.run("ADD", nil)
	if a.Exit == 0 && a.Hung == nil {
		return
	}
	if _, err := a.object(); err != nil || strings.Contains(a.Stdout+a.Stderr, "goroutine ") {
		t.h.Errorf("%s: ADD without a previous result: want a result or an error object: %v (%v)", t.m.Type, a, err)
	}
}
