package plugins

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/link"
)

// A trial is one plugin of those on trial, with an attachment of a new pod that the plugins
// before it have worked on.
type trial struct {
	*attachment
	m    member
	prev json.RawMessage // what the plugin before printed; nil: there is none

	other   *trial // of a second interface of the pod; nil: there is none
	skipped string // why nothing could be tried
}

// each returns the check that carries out f for each plugin on trial, and takes away
// afterwards what the attachment has become. It is skipped only if f is for all of them.
func each(f func(t *trial)) func(h *host) {
	return func(h *host) {
		var skipped []string
		for _, m := range h.network.Subjects {
			if why := h.try(m, f); why != "" {
				skipped = append(skipped, why)
			}
		}
		if len(skipped) > 0 && len(skipped) == len(h.network.Subjects) {
			h.Skipf("%s", strings.Join(skipped, "; "))
		}
	}
}

// try carries out f to its end, in a goroutine so that what ends f leaves the other plugins'
// turn. It returns why f was skipped.
func (h *host) try(m member, f func(t *trial)) (skipped string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := h.newTrial(m)
		defer func() {
			skipped = t.skipped
			t.undo()
		}()
		f(t)
	}()
	<-done
	return skipped
}

func (h *host) newTrial(m member) *trial {
	p := h.pod()
	h.Must(p.ns.Do(trusting))
	a := h.attachment(p)
	if err := a.addUntil(m.Before); err != nil {
		h.Brokenf("what comes before %s: %v", m.Type, err)
	}
	return &trial{attachment: a, m: m, prev: a.Raw}
}

// undo takes away what was made, in whatever state it is.
func (t *trial) undo() {
	if t.other != nil {
		t.other.undo()
	}
	t.run("DEL", t.Raw)
	for _, before := range slices.Backward(t.h.network.Members[:t.m.Before]) {
		t.h.run(before, t.call("DEL", before, t.Raw))
	}
}

// skip ends what is tried of this plugin: the check does not fit it.
func (t *trial) skip(format string, args ...any) {
	t.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// trusting lets addresses of the namespace be used without asking first whether somebody
// else has them, which takes a second or two and is for the levels that send packets.
func trusting() error {
	for _, setting := range []link.Sysctl{"all/accept_dad", "default/accept_dad", "default/dad_transmits", "default/router_solicitation_delay"} {
		if err := ("ipv6/conf/" + setting).Set("0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// run calls the plugin on trial.
func (t *trial) run(verb string, prev json.RawMessage) answer {
	return t.h.run(t.m, t.call(verb, t.m, prev))
}

// with returns the call, its configuration changed.
func (t *trial) with(verb string, prev json.RawMessage, change func(conf *wire.Object)) call {
	c := t.call(verb, t.m, prev)
	c.Stdin = t.changed(c.Stdin, change)
	return c
}

func (t *trial) changed(conf []byte, change func(conf *wire.Object)) []byte {
	o, err := wire.ParseObject(conf)
	t.h.Must(err)
	change(o)
	return o.Bytes()
}

// of returns a call that is about no container: STATUS, or GC.
func (t *trial) of(verb string, change func(conf *wire.Object)) call {
	c := t.with(verb, nil, change)
	c.Unset = []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"}
	return c
}

// add runs ADD and keeps its result. A plugin that cannot do that is told of by the check
// protocol/add alone.
func (t *trial) add() {
	a := t.run("ADD", t.prev)
	if err := a.err(); err != nil {
		t.skip("%s: its ADD does not work: %v", t.m.Type, err)
	}
	result, err := wire.DecodeResult([]byte(a.Stdout), t.Version)
	if err != nil {
		t.skip("%s: its result cannot be read: %v", t.m.Type, err)
	}
	t.Raw, t.Result = json.RawMessage(a.Stdout), result
}

// works tells if the answer is not a success.
func (t *trial) works(what string, a answer) bool {
	if err := a.err(); err != nil {
		t.h.Errorf("%s: %s: want success: %v", t.m.Type, what, a)
		return false
	}
	return true
}

// refuses tells if the answer is a success, or none at all.
func (t *trial) refuses(what string, a answer) bool {
	if a.Exit == 0 || a.Hung != nil {
		t.h.Errorf("%s: %s: want an error: %v", t.m.Type, what, a)
		return false
	}
	return true
}

// code tells if the answer is not an error with one of the codes. What is no error is for
// another check.
func (t *trial) code(what string, a answer, codes ...cni.Code) {
	if a.Exit == 0 {
		return
	}
	o, err := a.object()
	if err != nil {
		t.h.Errorf("%s: %s: want an error object with code %v: %v: %v", t.m.Type, what, codes, err, a)
	} else if !slices.Contains(codes, cni.Code(*o.Code)) {
		t.h.Errorf("%s: %s: want code %v, have %d: %v", t.m.Type, what, codes, *o.Code, a)
	}
}

// loopback reports whether the interface is the pod's own lo, which nobody makes.
func (t *trial) loopback() bool { return t.IfName == "lo" }

// second makes another interface of the same pod, by the plugins before and this one. It
// skips the check where there can be only one.
func (t *trial) second() *trial {
	other, a := t.trySecond()
	if a.Exit != 0 {
		t.skip("%s makes no second interface: %v", t.m.Type, a)
	}
	return other
}

// trySecond returns the answer, too, to ADD of the second interface.
func (t *trial) trySecond() (*trial, answer) {
	if t.loopback() {
		t.skip("a pod has one lo")
	}
	second := t.h.attachment(t.Pod)
	second.IfName = "net1"
	if err := second.addUntil(t.m.Before); err != nil {
		t.skip("what comes before %s makes no second interface: %v", t.m.Type, err)
	}
	other := &trial{attachment: second, m: t.m, prev: second.Raw}
	t.other = other
	a := other.run("ADD", other.prev)
	if a.Exit == 0 {
		second.Raw = json.RawMessage(a.Stdout)
	}
	return other, a
}

// versions returns those that the member says it speaks, nil if it does not say.
func (h *host) versions(m member) []string {
	a := h.run(m, call{Verb: "VERSION", Path: h.path(), Stdin: []byte(`{"cniVersion":"1.1.0"}`)})
	var form struct{ SupportedVersions []string }
	if a.Exit != 0 || json.Unmarshal([]byte(a.Stdout), &form) != nil {
		return nil
	}
	return form.SupportedVersions
}

// needs skips the check unless the plugin speaks that version, with all that it is called
// with.
func (t *trial) needs(version string) {
	for _, m := range append(slices.Clone(t.h.network.Members[:t.m.Before]), t.m) {
		if !slices.Contains(t.h.versions(m), version) {
			t.skip("%s does not speak version %s", m.Type, version)
		}
	}
}

// things returns, a line each, what an attachment may leave: links of the host but bridges,
// which are shared, links of the pod, and leases as host-local keeps them.
func (t *trial) things() []string {
	links, err := t.h.links.List()
	t.h.Must(err)
	var all []string
	for _, l := range links {
		if l.Kind != "bridge" {
			all = append(all, "host's link "+l.Name)
		}
	}
	inside, err := t.Pod.links.List()
	t.h.Must(err)
	for _, l := range inside {
		all = append(all, "pod's link "+l.Name)
	}
	err = filepath.WalkDir("/var/lib/cni", func(path string, _ fs.DirEntry, err error) error {
		if _, notAddress := netip.ParseAddr(filepath.Base(path)); notAddress == nil {
			all = append(all, "lease "+path)
		}
		return err
	})
	t.h.Must(err)
	return all
}

// clean tells what is there that was not before.
func (t *trial) clean(what string, before []string) {
	left := slices.DeleteFunc(t.things(), func(s string) bool { return slices.Contains(before, s) })
	if len(left) > 0 {
		t.h.Errorf("%s: %s: want nothing left, have %s", t.m.Type, what, strings.Join(left, ", "))
	}
}
