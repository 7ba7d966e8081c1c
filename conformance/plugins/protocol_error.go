package plugins

import (
	"fmt"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

func errorChecks() []check {
	const input = "CNI 1.1.0, section 2, Parameters"
	return []check{
		{must("error-exit", "CNI 1.1.0, section 2, Errors", "A plugin that fails ends with an exit code other than 0."), nil, each(checkErrorExit)},
		{should("error-object", specError, "A plugin that fails prints an object with code and msg on stdout, and nothing else."), nil, each(checkErrorObject)},
		{should("error-version", specError, "An error object bears the version that the plugin was called in."), nil, each(checkErrorVersion)},
		{must("missing-variable", specADD, "ADD, CHECK and DEL are refused without a variable that they require, or with an empty one."), nil, each(checkMissingVariable)},
		{should("missing-variable-code", specError, "The error for a missing variable has code 4, and names the variable."), nil, each(checkMissingVariableCode)},
		{should("container-id", input, "A container ID that is not of letters, digits, '_', '.' and '-', with a letter or digit first, is refused with code 4."), nil, each(checkContainerID)},
		{must("interface-name", input, "An interface name that no link can have is refused."), []Role{Interface}, each(checkInterfaceName)},
		{should("interface-name-code", specError, "The error for an interface name that no link can have has code 4."), []Role{Interface}, each(checkInterfaceNameCode)},
		{must("bad-input", specError, "ADD is refused if stdin has no JSON object."), nil, each(checkBadInput)},
		{should("bad-input-code", specError, "The error for what is no JSON object has code 6, or 5 where there is nothing."), nil, each(checkBadInputCode)},
		{should("network-name", "CNI 1.1.0, section 1", "A configuration without a name, or with one that is not of letters, digits, '_', '.' and '-', is refused."), nil, each(checkNetworkName)},
		{should("network-name-code", specError, "The error for a network name that is missing or bad has code 7."), nil, each(checkNetworkNameCode)},
		{should("wrong-types", specError, "A configuration whose cniVersion is no string, or whose name is none, is refused with code 6 or 7."), nil, each(checkWrongTypes)},
		{should("ipam-type", specError, "A configuration whose ipam is no object is refused with an error object."), []Role{Interface}, each(checkIPAMType)},
		{must("unknown-command", "CNI 1.1.0, section 2, CNI operations", "A command that there is not, such as a known one in lower case, is refused."), nil, each(checkUnknownCommand)},
		{should("unknown-command-code", specError, "The error for a command that there is not has code 4."), nil, each(checkUnknownCommandCode)},
	}
}

// wrong is a call that every plugin must refuse: there is no configuration.
func (t *trial) wrong() answer {
	c := t.call("ADD", t.m, t.prev)
	c.Stdin = []byte("{")
	return t.h.run(t.m, c)
}

func checkErrorExit(t *trial) { t.refuses("ADD with broken JSON", t.wrong()) }

func checkErrorObject(t *trial) {
	a := t.wrong()
	if a.Exit == 0 {
		t.skip("%s: it does not fail: %v", t.m.Type, a)
	}
	if _, err := a.object(); err != nil {
		t.h.Errorf("%s: ADD with broken JSON: %v: %v", t.m.Type, err, a)
	}
}

func checkErrorVersion(t *trial) {
	c := t.call("ADD", t.m, t.prev)
	c.Unset = []string{"CNI_IFNAME"}
	a := t.h.run(t.m, c)
	o, err := a.object()
	if err != nil {
		t.skip("%s: %v: %v", t.m.Type, err, a)
	}
	if o.CNIVersion == nil || *o.CNIVersion != t.Version {
		t.h.Errorf("%s: want cniVersion %s in the error object: %v", t.m.Type, t.Version, a)
	}
}

// required are the variables without which a command means nothing.
func required(verb string) []string {
	if verb == "DEL" {
		return []string{"CNI_CONTAINERID", "CNI_IFNAME"}
	}
	return []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"}
}

// missing calls f with the answers to calls that lack one variable.
func (t *trial) missing(f func(what, variable string, a answer)) {
	for _, verb := range []string{"ADD", "CHECK", "DEL"} {
		for _, variable := range required(verb) {
			c := t.call(verb, t.m, t.prev)
			c.Unset = []string{variable}
			f(verb+" without "+variable, variable, t.h.run(t.m, c))
			c = t.call(verb, t.m, t.prev)
			c.Env = []string{variable + "="}
			f(verb+" with an empty "+variable, variable, t.h.run(t.m, c))
		}
	}
}

func checkMissingVariable(t *trial) {
	before := t.things()
	t.missing(func(what, _ string, a answer) { t.refuses(what, a) })
	t.clean("what was refused", before)
}

func checkMissingVariableCode(t *trial) {
	t.missing(func(what, variable string, a answer) {
		t.code(what, a, cni.CodeInvalidEnvironment)
		if o, err := a.object(); err == nil && !strings.Contains(*o.Msg+o.Details, variable) {
			t.h.Errorf("%s: %s: want its name in the error: %v", t.m.Type, what, a)
		}
	})
}

func checkContainerID(t *trial) {
	for _, id := range []string{"../x", ".x", "-x", "a/b", "a b", "a\nb"} {
		c := t.call("ADD", t.m, t.prev)
		c.ContainerID = id
		what := fmt.Sprintf("ADD with container ID %q", id)
		a := t.h.run(t.m, c)
		if t.refuses(what, a) {
			t.code(what, a, cni.CodeInvalidEnvironment)
		} else {
			c.Verb = "DEL"
			t.h.run(t.m, c)
		}
	}
}

// badNames calls f with the answers to ADD of names that the kernel takes for no link.
func (t *trial) badNames(f func(what string, a answer)) {
	for _, name := range []string{".", "..", "a/b", "a:b", "a b", "abcdefghijklmnop"} {
		c := t.call("ADD", t.m, t.prev)
		c.IfName = name
		f(fmt.Sprintf("ADD of interface %q", name), t.h.run(t.m, c))
	}
}

func checkInterfaceName(t *trial) { t.badNames(func(what string, a answer) { t.refuses(what, a) }) }

func checkInterfaceNameCode(t *trial) {
	t.badNames(func(what string, a answer) { t.code(what, a, cni.CodeInvalidEnvironment) })
}

// badInputs calls f with the answers to ADD with what is no object on stdin.
func (t *trial) badInputs(f func(what string, empty bool, a answer)) {
	for _, stdin := range []string{"", "{", "[]", `"x"`, "\x00"} {
		c := t.call("ADD", t.m, t.prev)
		c.Stdin = []byte(stdin)
		f(fmt.Sprintf("ADD with %q on stdin", stdin), stdin == "", t.h.run(t.m, c))
	}
}

func checkBadInput(t *trial) {
	t.badInputs(func(what string, _ bool, a answer) { t.refuses(what, a) })
}

func checkBadInputCode(t *trial) {
	t.badInputs(func(what string, empty bool, a answer) {
		codes := []cni.Code{cni.CodeDecoding}
		if empty {
			codes = append(codes, cni.CodeIO)
		}
		t.code(what, a, codes...)
	})
}

// badNetworks calls f with the answers to ADD for a network without a proper name.
func (t *trial) badNetworks(f func(what string, a answer)) {
	for _, name := range []string{"", "../x", "a b", "-x"} {
		change := func(o *wire.Object) { o.SetString("name", name) }
		if name == "" {
			change = func(o *wire.Object) { o.Delete("name") }
		}
		f(fmt.Sprintf("ADD to network %q", name), t.h.run(t.m, t.with("ADD", t.prev, change)))
	}
}

func checkNetworkName(t *trial) { t.badNetworks(func(what string, a answer) { t.refuses(what, a) }) }

func checkNetworkNameCode(t *trial) {
	t.badNetworks(func(what string, a answer) { t.code(what, a, cni.CodeInvalidConfig) })
}

func checkWrongTypes(t *trial) {
	for _, key := range []string{"cniVersion", "name"} {
		a := t.h.run(t.m, t.with("ADD", t.prev, func(o *wire.Object) { o.Set(key, []byte("4")) }))
		what := "ADD with the number 4 as " + key
		if t.refuses(what, a) {
			t.code(what, a, cni.CodeDecoding, cni.CodeInvalidConfig)
		}
	}
}

func checkIPAMType(t *trial) {
	if !t.m.delegates() {
		t.skip("%s has no ipam", t.m.Type)
	}
	a := t.h.run(t.m, t.with("ADD", t.prev, func(o *wire.Object) { o.Set("ipam", []byte("[4]")) }))
	if !t.refuses("ADD with a list as ipam", a) {
		return
	}
	if _, err := a.object(); err != nil {
		t.h.Errorf("%s: ADD with a list as ipam: %v: %v", t.m.Type, err, a)
	}
}

// unknownCommands calls f with the answers to what is no command.
func (t *trial) unknownCommands(f func(what string, a answer)) {
	for _, verb := range []string{"CONFORM", "add"} {
		f("CNI_COMMAND="+verb, t.run(verb, t.prev))
	}
}

func checkUnknownCommand(t *trial) {
	before := t.things()
	t.unknownCommands(func(what string, a answer) { t.refuses(what, a) })
	t.clean("what was refused", before)
}

func checkUnknownCommandCode(t *trial) {
	t.unknownCommands(func(what string, a answer) { t.code(what, a, cni.CodeInvalidEnvironment) })
}
