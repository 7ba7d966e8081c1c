package plugintest

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// A Fixture is a plugin under test and a pod that it serves, on the test's host. It is the
// test and the plugin, too, so that both are called without further ado.
type Fixture struct {
	*testing.T
	cni.Plugin
	Plugins      cni.Finder     // what each request of Request bears, for its ipam
	Pod          *netnstest.Pod // at /run/netns/pod1
	Outside      *netnstest.Pod // another host, where the test makes one with LAN
	Host, Inside *link.Handle   // the links of the host and of the pod

	// Prev is the result of the plugins before this one in the chain, which each request
	// of Request bears. Default: none.
	Prev *cni.Result
}

// New returns a fixture for the plugin with an empty pod, until the test ends.
func New(t *testing.T, p cni.Plugin, plugins cni.Finder) *Fixture {
	t.Helper()
	pod := netnstest.NewPod(t, "pod1")
	return &Fixture{T: t, Plugin: p, Plugins: plugins, Pod: pod, Host: Links(t, nil), Inside: Links(t, pod)}
}

// Request returns the request of a call for eth0 of container c1, with the configuration.
func (f *Fixture) Request(conf string) *cni.Request {
	f.Helper()
	r := Request(f, conf, f.Pod, "c1", f.Plugins)
	r.Prev = f.Prev
	return r
}

// Attach calls ADD of a plugin, this one or another, puts the result into r.Prev and returns
// the pod's interface.
func (f *Fixture) Attach(p cni.Plugin, r *cni.Request) link.Link {
	f.Helper()
	result, err := p.Add(f.Context(), r)
	if err != nil {
		f.Fatalf("ADD %s: %v", r.Config.JSON, err)
	}
	r.Prev = result
	return f.Link(f.Inside, r.IfName)
}

// Detach calls DEL of a plugin, which must leave nothing of that name in the pod.
func (f *Fixture) Detach(p cni.Plugin, r *cni.Request) {
	f.Helper()
	if err := p.Del(f.Context(), r); err != nil {
		f.Errorf("DEL %s: %v", r.Config.JSON, err)
	}
	if l, err := f.Inside.ByName(r.IfName); !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("after DEL %s: %+v, %v", r.Config.JSON, l, err)
	}
}

// DetachTwice is Detach and Detach again; and DEL once more without a namespace, and with one
// that is gone.
func (f *Fixture) DetachTwice(r *cni.Request) {
	f.Helper()
	for range 2 {
		f.Detach(f, r)
	}
	for _, path := range []string{"", "/run/netns/gone"} {
		lost := *r
		lost.NetNS = path
		if err := f.Del(f.Context(), &lost); err != nil {
			f.Errorf("DEL %s with namespace %q: %v", r.Config.JSON, path, err)
		}
	}
}

// Refuses fails the test unless ADD, which is undone as a runtime does it, fails with the
// code and all the words.
func (f *Fixture) Refuses(what string, r *cni.Request, code cni.Code, words ...string) {
	f.Helper()
	_, err := cni.Add(f.Context(), f, r)
	WantError(f, what, err, code, words...)
}

// Passes fails the test unless CHECK finds everything in order.
func (f *Fixture) Passes(r *cni.Request) {
	f.Helper()
	if err := f.Check(f.Context(), r); err != nil {
		f.Errorf("CHECK %s: %v", r.Config.JSON, err)
	}
}

// Finds fails the test unless CHECK finds all that the words say.
func (f *Fixture) Finds(r *cni.Request, words ...string) {
	f.Helper()
	WantError(f, "CHECK "+string(r.Config.JSON), f.Check(f.Context(), r), cni.CodeInternal, words...)
}

// Link returns the link of that name, of f.Host or f.Inside, say.
func (f *Fixture) Link(h *link.Handle, name string) link.Link {
	f.Helper()
	l, err := h.ByName(name)
	Must(f, err)
	return l
}

// IP runs ip inside the pod, with arguments that blanks divide, and returns what it printed.
func (f *Fixture) IP(args string) string {
	f.Helper()
	return Run(f, f.Pod, "ip", strings.Fields(args)...)
}
