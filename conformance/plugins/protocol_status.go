package plugins

import (
	"encoding/json"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

func statusChecks() []check {
	return []check{
		{must("status", specSTATUS, "STATUS succeeds if ADD can be served, with no variables but CNI_COMMAND and CNI_PATH."), nil, each(checkStatus)},
		{should("status-silent", specSTATUS, "STATUS that succeeds prints nothing on stdout."), nil, each(silent("STATUS"))},
		{must("status-no-ipam", specSTATUS, "STATUS fails if the plugin for addresses cannot be found."), []Role{Interface}, each(checkStatusNoIPAM)},
		{should("status-no-ipam-code", specSTATUS, "The error of STATUS for a plugin that is missing has code 50."), []Role{Interface}, each(checkStatusNoIPAMCode)},
		{should("status-full", specSTATUS, "STATUS fails if there is no address left to give, with code 50 or 51."), []Role{Interface, IPAM}, each(checkStatusFull)},
	}
}

func checkStatus(t *trial) {
	t.needs("1.1.0")
	status := t.h.run(t.m, t.of("STATUS", nothing))
	if a := t.run("ADD", t.prev); a.Exit != 0 {
		t.skip("%s: its ADD does not work: %v", t.m.Type, a)
	}
	t.works("STATUS", status)
}

// statusNoIPAM asks for STATUS where the plugin for addresses is one that there is not.
func (t *trial) statusNoIPAM() answer {
	t.needs("1.1.0")
	if !t.m.delegates() {
		t.skip("%s has no ipam", t.m.Type)
	}
	return t.h.run(t.m, t.of("STATUS", func(o *wire.Object) {
		o.Set("ipam", json.RawMessage(`{"type":"conformance-missing"}`))
	}))
}

func checkStatusNoIPAM(t *trial) {
	t.refuses("STATUS, the plugin for addresses missing", t.statusNoIPAM())
}

func checkStatusNoIPAMCode(t *trial) {
	t.code("STATUS, the plugin for addresses missing", t.statusNoIPAM(), cni.CodeNotAvailable)
}

// narrow leaves one address for host-local to give, the only plugin of whose keys that is
// known.
func narrow(o *wire.Object) {
	o.Set("ipam", json.RawMessage(`{"type":"host-local","ranges":[[{"subnet":"10.78.0.0/24","rangeStart":"10.78.0.9","rangeEnd":"10.78.0.9"}]]}`))
}

func checkStatusFull(t *trial) {
	t.needs("1.1.0")
	if ipamOf(t.m.Conf) != "host-local" {
		t.skip("addresses are not given by host-local")
	}
	t.works("STATUS, one address left", t.h.run(t.m, t.of("STATUS", narrow)))
	if a := t.h.run(t.m, t.with("ADD", t.prev, narrow)); a.Exit != 0 {
		t.skip("%s: its ADD does not work: %v", t.m.Type, a)
	}
	a := t.h.run(t.m, t.of("STATUS", narrow))
	if t.refuses("STATUS, no address left", a) {
		t.code("STATUS, no address left", a, cni.CodeNotAvailable, cni.CodeLimited)
	}
}
