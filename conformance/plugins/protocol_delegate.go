package plugins

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

func delegateChecks() []check {
	makers := []Role{Interface}
	return []check{
		{must("delegate-environment", specDelegate, "What a plugin delegates to is called with the same CNI variables."), makers, each(checkDelegateEnvironment)},
		{must("delegate-all-variables", specDelegate, "What a plugin delegates to has the other variables, too."), makers, each(checkDelegateAllVariables)},
		{must("delegate-configuration", specDelegate, "What a plugin delegates to reads the whole configuration, not only its own part."), makers, each(checkDelegateConfiguration)},
		{should("delegate-namespace", specDelegate, "What a plugin delegates to runs in the namespace that the plugin was called in."), makers, each(checkDelegateNamespace)},
		{should("delegate-stderr", specDelegate, "What it writes to stderr gets onto the plugin's stderr."), makers, each(checkDelegateStderr)},
		{must("delegate-result", specResult, "Addresses that were delegated are in the result, as those of the interface in the pod."), makers, each(checkDelegateResult)},
		{should("delegate-dns", "CNI 0.4.0, Result", "Name servers that were delegated are in the result, unless the configuration has some of its own."), makers, each(checkDelegateDNS)},
		{open("delegate-older-result", "practice: the plugin for addresses is an older one", "A delegated result in the form of another version is understood."), makers, each(checkDelegateOlder)},
		{must("delegate-check", specDelegate, "CHECK is handed on."), makers, each(checkDelegateCheck)},
		{must("delegate-del", specDelegate, "DEL is handed on."), makers, delegatesDel(nil)},
		{should("delegate-del-no-namespace", specDEL, "DEL without CNI_NETNS is handed on."), makers, delegatesDel(func(c *call) { c.NetNS = "" })},
		{should("delegate-del-namespace-gone", specDEL, "DEL is handed on if the namespace is gone."), makers, delegatesDel(func(c *call) { c.NetNS = nowhere })},
		{must("delegate-gc", specGC, "GC is handed on, with the list of valid attachments."), makers, each(checkDelegateGC)},
		{must("delegate-status", specSTATUS, "STATUS is handed on."), makers, each(checkDelegateStatus)},
	}
}

// one returns the first call of a verb, and ends the check if there is none.
func (r *recorder) one(t *trial, verb string) record {
	calls := r.calls(verb)
	if len(calls) == 0 {
		t.h.Fatalf("%s: %s was not handed on to the plugin for addresses", t.m.Type, verb)
	}
	return calls[0]
}

func checkDelegateEnvironment(t *trial) {
	r := t.record()
	t.Args = "IgnoreUnknown=1;K8S_POD_NAME=web"
	c := t.call("ADD", t.m, t.prev)
	t.h.run(t.m, c)
	env := r.one(t, "ADD").Env
	for _, v := range c.environ() {
		name, want, _ := strings.Cut(v, "=")
		if have := env[name]; strings.HasPrefix(name, "CNI_") && have != want {
			t.h.Errorf("%s: ADD: want %s=%s handed on, have %q", t.m.Type, name, want, have)
		}
	}
}

func checkDelegateAllVariables(t *trial) {
	r := t.record()
	if t.m.program.file == "" {
		t.skip("in process there is no environment but the suite's")
	}
	c := t.call("ADD", t.m, t.prev)
	c.Env = []string{"TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "CONFORMANCE_VARIABLE=1"}
	t.h.run(t.m, c)
	env := r.one(t, "ADD").Env
	for _, v := range c.Env {
		name, want, _ := strings.Cut(v, "=")
		if have := env[name]; have != want {
			t.h.Errorf("%s: ADD: want %s=%s handed on, have %q", t.m.Type, name, want, have)
		}
	}
}

func checkDelegateConfiguration(t *trial) {
	r := t.record()
	c := t.with("ADD", t.prev, func(o *wire.Object) {
		o.Set("args", json.RawMessage(`{"cni":{"labels":[{"key":"app","value":"web"}]}}`))
	})
	t.h.run(t.m, c)
	var want, have map[string]any
	t.h.Must(json.Unmarshal(c.Stdin, &want))
	if err := json.Unmarshal(r.one(t, "ADD").Stdin, &have); err != nil {
		t.h.Fatalf("%s: ADD: the configuration that is handed on: %v", t.m.Type, err)
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !reflect.DeepEqual(want[key], have[key]) {
			t.h.Errorf("%s: ADD: want the key %s handed on as %v, have %v", t.m.Type, key, want[key], have[key])
		}
	}
}

func checkDelegateNamespace(t *trial) {
	r := t.record()
	t.run("ADD", t.prev)
	want, err := os.Readlink("/proc/thread-self/ns/net")
	t.h.Must(err)
	if have := r.one(t, "ADD").NetNS; have != want {
		t.h.Errorf("%s: ADD: the plugin for addresses runs in %s, not in the host's %s", t.m.Type, have, want)
	}
}

func checkDelegateStderr(t *trial) {
	r := t.record()
	if t.m.program.file == "" {
		t.skip("in process there is no stderr but the suite's")
	}
	a := t.run("ADD", t.prev)
	r.one(t, "ADD")
	if !strings.Contains(a.Stderr, "conformance: asked for ADD") {
		t.h.Errorf("%s: ADD: want what the plugin for addresses writes to stderr: %v", t.m.Type, a)
	}
}

func checkDelegateResult(t *trial) {
	t.record()
	t.add()
	i := slices.IndexFunc(t.Result.IPs, func(ip cni.IP) bool { return ip.Address.String() == "10.79.0.9/24" })
	if i < 0 {
		t.h.Fatalf("%s: ADD: want address 10.79.0.9/24, as delegated, in the result: %s", t.m.Type, t.Raw)
	}
	at := t.Result.IPs[i].Interface
	if at == nil || *at < 0 || *at >= len(t.Result.Interfaces) || t.Result.Interfaces[*at].Name != t.IfName {
		t.h.Errorf("%s: ADD: want 10.79.0.9/24 to be %s's: %s", t.m.Type, t.IfName, t.Raw)
	}
}

func checkDelegateDNS(t *trial) {
	t.record()
	t.add()
	if own := t.m.Conf.Get("dns"); own == nil && !slices.Contains(t.Result.DNS.Nameservers, "192.0.2.53") {
		t.h.Errorf("%s: ADD: want name server 192.0.2.53, as delegated, in the result: %s", t.m.Type, t.Raw)
	}
}

func checkDelegateOlder(t *trial) {
	t.record().answers(`{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.79.0.9/24","gateway":"10.79.0.1"}]}`)
	t.works("ADD, the plugin for addresses answering in version 0.4.0", t.run("ADD", t.prev))
}

func checkDelegateCheck(t *trial) {
	r := t.record()
	t.add()
	t.run("CHECK", t.Raw)
	r.one(t, "CHECK")
}

func delegatesDel(change func(c *call)) func(h *host) {
	return each(func(t *trial) {
		r := t.record()
		t.add()
		c := t.call("DEL", t.m, t.Raw)
		if change != nil {
			change(&c)
		}
		t.h.run(t.m, c)
		r.one(t, "DEL")
	})
}

func checkDelegateGC(t *trial) {
	t.needs("1.1.0")
	r := t.record()
	t.collect(valid(t))
	var list []struct{ ContainerID string }
	conf, err := wire.ParseObject(r.one(t, "GC").Stdin)
	if err == nil {
		err = json.Unmarshal(conf.Get(validKey), &list)
	}
	if err != nil || len(list) != 1 || list[0].ContainerID != t.ID {
		t.h.Errorf("%s: GC: want %s handed on with container %s (%v)", t.m.Type, validKey, t.ID, err)
	}
}

func checkDelegateStatus(t *trial) {
	t.needs("1.1.0")
	r := t.record()
	t.h.run(t.m, t.of("STATUS", nothing))
	r.one(t, "STATUS")
}

func delegateErrorChecks() []check {
	makers := []Role{Interface}
	checks := []check{
		{must("delegate-fails-add", specDelegate, "ADD fails if what it delegates to fails."), makers, each(checkDelegateFails)},
		{should("delegate-fails-code", specDelegate, "The error of what was delegated to keeps its code."), makers, each(checkDelegateFailsCode)},
		{should("delegate-fails-undone", specDelegate, "What fails at ADD is called with DEL before the plugin returns."), makers, each(checkDelegateFailsUndone)},
		{should("delegate-fails-clean", "practice: ADD that fails undoes itself", "ADD leaves nothing behind if what it delegates to fails."), makers, each(checkDelegateFailsClean)},
		{should("delegate-no-address", "practice: the plugin for addresses has none, and the pod would be cut off", "A delegated result without an address makes ADD fail."), makers, each(checkDelegateNoAddress)},
	}
	for _, verb := range []string{"CHECK", "DEL", "GC", "STATUS"} {
		says := verb + " fails if what it delegates to fails."
		checks = append(checks, check{should("delegate-fails-"+strings.ToLower(verb), specDelegate, says), makers, each(func(t *trial) { t.failsWithDelegate(verb) })})
	}
	return checks
}

// addFailing runs ADD with a plugin for addresses that fails.
func (t *trial) addFailing() (*recorder, answer) {
	r := t.record()
	r.fails("ADD")
	return r, t.run("ADD", t.prev)
}

func checkDelegateFails(t *trial) {
	_, a := t.addFailing()
	t.refuses("ADD, the plugin for addresses failing", a)
}

func checkDelegateFailsCode(t *trial) {
	_, a := t.addFailing()
	t.code("ADD, the plugin for addresses failing", a, recorderCode)
}

func checkDelegateFailsUndone(t *trial) {
	r, _ := t.addFailing()
	r.one(t, "ADD")
	if len(r.calls("DEL")) == 0 {
		t.h.Errorf("%s: ADD: the plugin for addresses, which failed, is not called with DEL", t.m.Type)
	}
}

func checkDelegateFailsClean(t *trial) {
	before := t.things()
	_, a := t.addFailing()
	if a.Exit == 0 {
		t.skip("%s does not fail: %v", t.m.Type, a)
	}
	t.clean("ADD, the plugin for addresses failing", before)
}

func checkDelegateNoAddress(t *trial) {
	r := t.record()
	r.answers(`{"cniVersion":"` + t.Version + `"}`)
	t.refuses("ADD, the plugin for addresses giving none", t.run("ADD", t.prev))
}

// failsWithDelegate tells if a verb other than ADD hides that what it delegates to fails.
func (t *trial) failsWithDelegate(verb string) {
	c := t.prepareFor(verb)
	r := &recorder{t.h, "/run/conformance/recorder"}
	r.fails(verb)
	t.refuses(verb+", the plugin for addresses failing", t.h.run(t.m, c))
}

// prepareFor returns the call of a verb of a plugin that delegates to a recorder.
func (t *trial) prepareFor(verb string) call {
	if verb == "GC" || verb == "STATUS" {
		t.needs("1.1.0")
		t.record()
		return t.of(verb, valid())
	}
	t.record()
	t.add()
	return t.call(verb, t.m, t.Raw)
}
