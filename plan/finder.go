package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// errUnforeseen ends a rehearsal at a plugin that is not run in it.
var errUnforeseen = errors.New("cannot be foreseen")

// A finder finds plugins that note what they do. None is executed.
type finder struct{ *rehearsal }

// Find implements cni.Finder.
func (f *finder) Find(pluginType string) (cni.Plugin, error) {
	_, builtin, err := f.Plugins.Lookup(pluginType)
	if err != nil {
		return nil, err
	}
	a := &actor{rehearsal: f.rehearsal, name: pluginType}
	if builtin {
		a.plugin, err = f.Plugins.Builtins.Find(pluginType)
	}
	return a, err
}

// why says why a plugin cannot be run in a rehearsal, "" if it can be, and which file is
// executed.
func (r *rehearsal) why(pluginType string, conf []byte) (reason, file string) {
	file, builtin, err := r.Plugins.Lookup(pluginType)
	if err == nil && !builtin {
		return "it is executed, and may do anything", file
	}
	var keys struct {
		PCIBusID      string `json:"pciBusID"`
		KernelPath    string `json:"kernelpath"`
		Backend       string `json:"backend"`
		RuntimeConfig struct {
			DeviceID string `json:"deviceID"`
		} `json:"runtimeConfig"`
	}
	_ = json.Unmarshal(conf, &keys) // what is not valid the plugin refuses
	switch {
	case pluginType == "dhcp":
		return "a DHCP server decides", ""
	case pluginType == "wrap":
		return "its commands may do anything", ""
	case pluginType == "host-device" && keys.PCIBusID+keys.KernelPath+keys.RuntimeConfig.DeviceID != "":
		return "hardware has no copy: name the device by its interface", ""
	case pluginType == "firewall" && keys.Backend == "firewalld":
		return "firewalld has no copy", ""
	}
	return "", ""
}

// An actor is a plugin in a rehearsal.
type actor struct {
	*rehearsal
	name   string
	plugin cni.Plugin // nil: one to be executed
}

// Add implements cni.Plugin.
func (a *actor) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	if first := len(a.plan.Plugins) == 0; first || len(a.stack) > 0 { // the runtime's, or the caller's
		if err := a.noteChanges(); err != nil {
			return nil, err
		}
	}
	step, err := a.begin(r)
	if err != nil {
		return nil, err
	}
	if step.Unforeseen != "" {
		a.stack = a.stack[:len(a.stack)-1]
		return a.pass(r)
	}
	result, err := a.plugin.Add(ctx, a.inCopy(r))
	err = errors.Join(err, a.noteChanges())
	a.stack = a.stack[:len(a.stack)-1]
	if err != nil {
		a.over = true
		if !errors.Is(err, errUnforeseen) {
			step.Error = refusal(err)
		}
		return nil, err
	}
	step.Result, err = a.encode(result)
	return result, err
}

// pass returns what there is without the plugin: of a chained one, the result so far.
func (a *actor) pass(r *cni.Request) (*cni.Result, error) {
	if len(a.stack) == 0 && r.Prev != nil {
		return r.Prev.Clone(), nil
	}
	a.over = true
	return nil, cni.Untouched(errUnforeseen)
}

// begin notes a call and what it is given.
func (a *actor) begin(r *cni.Request) (*Step, error) {
	shown := *r
	shown.Prev = a.shown(r.Prev)
	input, err := wire.Input("ADD", &shown)
	if err != nil {
		return nil, err
	}
	step := &Step{Plugin: a.name, Input: input, Assuming: a.assuming()}
	step.Unforeseen, step.Executed = a.why(a.name, r.Config.JSON)
	list := &a.plan.Plugins
	if n := len(a.stack); n > 0 {
		list = &a.stack[n-1].Delegates
	}
	*list = append(*list, step)
	a.stack = append(a.stack, step)
	return step, nil
}

func (a *actor) assuming() string {
	var names []string
	for _, s := range a.plan.Plugins {
		if s.Unforeseen != "" && !slices.Contains(names, s.Plugin) {
			names = append(names, s.Plugin)
		}
	}
	if len(names) == 0 || len(a.stack) > 0 {
		return ""
	}
	return strings.Join(names, " and ") + " changes nothing"
}

// noteChanges notes what was changed since it was last called as the innermost call's, or as
// the runtime's: it first undoes what a killed operation left, or an attachment whose
// namespace is gone.
func (r *rehearsal) noteChanges() error {
	now, err := r.copied.look()
	if err != nil {
		return err
	}
	changes := &r.plan.Runtime
	if n := len(r.stack); n > 0 {
		changes = &r.stack[n-1].Changes
	}
	*changes = then(*changes, r.last.changes(now))
	r.last = now
	return nil
}

// Del implements cni.Plugin. What is undone after a call that failed is not: it is no part
// of the plan, and goes with the copy.
func (a *actor) Del(ctx context.Context, r *cni.Request) error {
	if a.over || a.plugin == nil {
		return nil
	}
	if why, _ := a.why(a.name, r.Config.JSON); why != "" {
		return nil
	}
	return a.plugin.Del(ctx, a.inCopy(r))
}

// inCopy keeps a call to the copy: undoing what a killed operation left, the runtime names
// the namespace of the container that it was for, and that is the real one.
func (r *rehearsal) inCopy(request *cni.Request) *cni.Request {
	inside := *request
	switch request.NetNS {
	case r.podPath:
	case r.question.Container.NetNS:
		inside.NetNS = r.podPath
	default:
		inside.NetNS = ""
	}
	return &inside
}

// Check implements cni.Plugin.
func (a *actor) Check(context.Context, *cni.Request) error { return nil }

// GC implements cni.Plugin.
func (a *actor) GC(context.Context, *cni.Request) error { return nil }

// Status implements cni.Plugin.
func (a *actor) Status(context.Context, *cni.Request) error { return nil }

// newNamespace stands for the path of a namespace where none was named.
const newNamespace = "/run/netns/CONTAINER"

// sandbox is the path that the plan shows for the container's namespace.
func (r *rehearsal) sandbox() string {
	if path := r.question.Container.NetNS; path != "" {
		return path
	}
	return newNamespace
}

// shown returns a result as it would be on the host, without MACs that are chosen at random.
func (r *rehearsal) shown(result *cni.Result) *cni.Result {
	if result == nil {
		return nil
	}
	result = result.Clone()
	for i := range result.Interfaces {
		is := &result.Interfaces[i]
		if is.Sandbox == r.podPath {
			is.Sandbox = r.sandbox()
		}
		if r.random(is.MAC.String()) {
			is.MAC = nil
		}
	}
	return result
}

func (r *rehearsal) encode(result *cni.Result) (json.RawMessage, error) {
	return wire.EncodeResult(r.shown(result), r.question.Network.Version)
}

// random reports whether a MAC is none that was there before or was asked for.
func (r *rehearsal) random(mac string) bool {
	if mac == "" || r.macs[mac] {
		return false
	}
	asked := [][]byte{[]byte(r.question.Container.Args.String())}
	for _, p := range r.question.Network.Plugins {
		asked = append(asked, p.JSON)
	}
	for _, c := range r.question.Container.Capabilities {
		asked = append(asked, c)
	}
	return !bytes.Contains(bytes.ToLower(bytes.Join(asked, nil)), []byte(mac))
}
