package plugins

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni/wire"
)

func resultChecks() []check {
	checks := []check{
		{must("add", specADD, "ADD succeeds, and prints a result that can be read."), nil, each(checkAdd)},
		{must("add-one-value", "CNI 1.1.0, section 5", "ADD prints one JSON object on stdout and nothing else."), nil, each(checkAddOneValue)},
		{must("result-interface", specResult, "The result of ADD lists the interface that it made in the pod."), []Role{Interface}, each(checkResultInterface)},
		{should("result-sandbox", specResult, "An interface in the pod has the value of CNI_NETNS as its sandbox."), []Role{Interface}, each(checkResultSandbox)},
		{must("result-indexes", specResult, "An address's interface, where it is given, is a place in the list of interfaces."), []Role{Interface, Chained}, each(checkResultIndexes)},
		{must("result-gateways", specResult, "An address's gateway is an address of the same family."), nil, each(checkResultGateways)},
		{open("result-newer-keys", specResult, "A result has no keys that its version does not have."), nil, each(checkResultNewerKeys)},
		{must("ipam-result", "CNI 1.1.0, section 5, Delegated plugins (IPAM)", "A result of a plugin for addresses has neither interfaces nor places in a list of them."), []Role{IPAM}, each(checkIPAMResult)},
	}
	for _, v := range wire.SupportedVersions() {
		says := fmt.Sprintf("A plugin that supports version %s answers ADD in its form, and bears it as cniVersion.", v)
		checks = append(checks, check{must("result-"+v, "CNI "+v+", result of ADD", says), nil, resultOf(v)})
	}
	return checks
}

func checkAdd(t *trial) {
	a := t.run("ADD", t.prev)
	if !t.works("ADD", a) {
		return
	}
	if _, err := wire.DecodeResult([]byte(a.Stdout), t.Version); err != nil {
		t.h.Errorf("%s: ADD: want a result: %v: %v", t.m.Type, err, a)
	}
}

// values counts the JSON values in the text, and returns an error for what is none.
func values(text string) (n int, err error) {
	for d := json.NewDecoder(bytes.NewReader([]byte(text))); d.More(); n++ {
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return n, err
		}
	}
	return n, nil
}

func checkAddOneValue(t *trial) {
	a := t.run("ADD", t.prev)
	if a.Exit != 0 {
		t.skip("%s: its ADD does not work: %v", t.m.Type, a)
	}
	if n, err := values(a.Stdout); n != 1 || err != nil {
		t.h.Errorf("%s: ADD: want one JSON value on stdout, have %d (%v): %v", t.m.Type, n, err, a)
	}
}

func checkResultInterface(t *trial) {
	t.add()
	for _, l := range t.Result.Interfaces {
		if l.Name == t.IfName && l.Sandbox != "" {
			return
		}
	}
	t.h.Errorf("%s: ADD: want interface %s, with a sandbox, in the result: %s", t.m.Type, t.IfName, t.Raw)
}

func checkResultSandbox(t *trial) {
	t.add()
	for _, l := range t.Result.Interfaces {
		if l.Name == t.IfName && l.Sandbox != "" && l.Sandbox != t.Pod.Path {
			t.h.Errorf("%s: interface %s: want sandbox %s: %s", t.m.Type, l.Name, t.Pod.Path, t.Raw)
		}
	}
}

func checkResultIndexes(t *trial) {
	t.add()
	for _, ip := range t.Result.IPs {
		if ip.Interface != nil && (*ip.Interface < 0 || *ip.Interface >= len(t.Result.Interfaces)) {
			t.h.Errorf("%s: address %s: want a place in a list of %d interfaces, have %d: %s", t.m.Type, ip.Address, len(t.Result.Interfaces), *ip.Interface, t.Raw)
		}
	}
}

func checkResultGateways(t *trial) {
	t.add()
	for _, ip := range t.Result.IPs {
		if ip.Gateway.IsValid() && ip.Gateway.Is4() != ip.Address.Addr().Is4() {
			t.h.Errorf("%s: address %s: its gateway is %s: %s", t.m.Type, ip.Address, ip.Gateway, t.Raw)
		}
	}
}

func checkIPAMResult(t *trial) {
	t.add()
	if len(t.Result.Interfaces) > 0 {
		t.h.Errorf("%s: ADD: want no interfaces: %s", t.m.Type, t.Raw)
	}
	for _, ip := range t.Result.IPs {
		if ip.Interface != nil {
			t.h.Errorf("%s: ADD: address %s: want no interface: %s", t.m.Type, ip.Address, t.Raw)
		}
	}
}

// resultOf returns the check of the result's form in one version.
func resultOf(version string) func(h *host) {
	tried := each(func(t *trial) {
		a := t.run("ADD", t.prev)
		if !t.works("ADD in version "+version, a) {
			return
		}
		for _, fault := range formFaults(version, []byte(a.Stdout), t.m.Role) {
			t.h.Errorf("%s: result of version %s: %s: %s", t.m.Type, version, fault, a.Stdout)
		}
	})
	return func(h *host) {
		speaks := func(m member) bool { return slices.Contains(h.versions(m), version) }
		h.network.Subjects = slices.DeleteFunc(h.network.Subjects, func(m member) bool {
			before := h.network.Members[:m.Before]
			return !speaks(m) || version < "0.3.0" && len(before) > 0 || slices.ContainsFunc(before, func(m member) bool { return !speaks(m) })
		})
		if len(h.network.Subjects) == 0 {
			h.Skipf("version %s is not spoken here, or has no chains", version)
		}
		h.network.Version = version
		tried(h)
	}
}

// form is what of a result differs between versions, of any of them.
type form struct {
	CNIVersion *string
	IP4, IP6   *struct{ IP, Gateway *string }
	Interfaces []struct{ Name *string }
	IPs        []struct{ Version, Address *string }
	Routes     []struct{ Dst *string }
}

// formFaults says how a result is not of the form of its version. What is too much is for
// another check.
func formFaults(version string, raw []byte, role Role) []string {
	var f form
	if err := json.Unmarshal(raw, &f); err != nil {
		return []string{err.Error()}
	}
	var faults []string
	tell := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if f.CNIVersion == nil || *f.CNIVersion != version {
		tell("want cniVersion %s", version)
	}
	if _, err := wire.DecodeResult(raw, version); err != nil {
		tell("%v", err)
	}
	if version < "0.3.0" { // the versions that there are sort as strings
		if f.IP4 == nil && f.IP6 == nil {
			tell("want ip4 or ip6")
		}
		return faults
	}
	if f.IP4 != nil || f.IP6 != nil {
		tell("ip4 and ip6 are of versions before 0.3.0")
	}
	for _, l := range f.Interfaces {
		if l.Name == nil || *l.Name == "" {
			tell("an interface without a name")
		}
	}
	for _, ip := range f.IPs {
		if version < "1.0.0" && !isFamily(ip.Version, ip.Address) {
			tell("an address whose key version is not its family")
		}
	}
	if role == Interface && len(f.Interfaces) == 0 {
		tell("want interfaces")
	}
	return faults
}

func isFamily(version, address *string) bool {
	if version == nil || address == nil {
		return false
	}
	p, err := netip.ParsePrefix(*address)
	return err == nil && (*version == "4") == p.Addr().Is4() && (*version == "6") == p.Addr().Is6()
}

// resultKeys returns the keys that the form of a version has, since 0.3.0.
func resultKeys(version string) map[string][]string {
	keys := map[string][]string{
		"":           {"cniVersion", "interfaces", "ips", "routes", "dns"},
		"interfaces": {"name", "mac", "sandbox"},
		"ips":        {"address", "gateway", "interface"},
		"routes":     {"dst", "gw"},
	}
	if version < "1.0.0" {
		keys["ips"] = append(keys["ips"], "version")
	}
	if version >= "1.1.0" {
		keys["interfaces"] = append(keys["interfaces"], "mtu", "socketPath", "pciID")
		keys["routes"] = append(keys["routes"], "mtu", "advmss", "priority", "table", "scope")
	}
	return keys
}

func checkResultNewerKeys(t *trial) {
	const version = "1.0.0"
	t.needs(version)
	t.Version = version
	a := t.h.run(t.m, t.call("ADD", t.m, t.inVersion(t.prev, version)))
	var lists map[string]json.RawMessage
	if a.Exit != 0 || json.Unmarshal([]byte(a.Stdout), &lists) != nil {
		t.skip("%s: its ADD in version %s does not work: %v", t.m.Type, version, a)
	}
	allowed := resultKeys(version)
	for key, list := range lists {
		t.onlyKeys("the result", []string{key}, allowed[""])
		var items []map[string]json.RawMessage
		if json.Unmarshal(list, &items) != nil { // not a list of objects
			continue
		}
		for _, item := range items {
			for inner := range item {
				t.onlyKeys("the list "+key, []string{inner}, allowed[key])
			}
		}
	}
}

func (t *trial) onlyKeys(where string, have, allowed []string) {
	for _, key := range have {
		if !slices.Contains(allowed, key) {
			t.h.Errorf("%s: version %s: %s has a key %q", t.m.Type, t.Version, where, key)
		}
	}
}

// inVersion returns a result in the form of another version.
func (t *trial) inVersion(raw json.RawMessage, version string) json.RawMessage {
	if raw == nil {
		return nil
	}
	result, err := wire.DecodeResult(raw, t.h.network.Version)
	t.h.Must(err)
	data, err := wire.EncodeResult(result, version)
	t.h.Must(err)
	return data
}
