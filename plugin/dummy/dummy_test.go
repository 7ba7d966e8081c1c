package dummy_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/dummy"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
)

const conf = `{"cniVersion":"1.1.0","name":"net","type":"dummy","ipam":{"type":"static",
"addresses":[{"address":"10.1.0.5/24"},{"address":"fd00:1::5/64"}]}}`

var (
	finder = cni.Registry{"static": static.New()}
	netips = cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})
)

type fixture struct {
	*testing.T
	cni.Plugin
	inside *link.Handle
	pod    *netnstest.Pod
}

func on(t *testing.T, test func(f *fixture)) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Need(t, "dummy")
		f := &fixture{T: t, Plugin: dummy.New(plugintest.Host(t))}
		f.pod = netnstest.NewPod(t, "pod1")
		f.inside = plugintest.Links(t, f.pod)
		test(f)
	})
}

func (f *fixture) request(conf string) *cni.Request {
	return plugintest.Request(f, conf, f.pod, "c1", finder)
}

func (f *fixture) add(p cni.Plugin, r *cni.Request) link.Link {
	f.Helper()
	result, err := p.Add(f.Context(), r)
	if err != nil {
		f.Fatalf("ADD %s: %v", r.Config.JSON, err)
	}
	r.Prev = result
	return f.must(f.inside.ByName(r.IfName))
}

func (f *fixture) must(l link.Link, err error) link.Link {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
	return l
}

func (f *fixture) del(p cni.Plugin, r *cni.Request) {
	f.Helper()
	if err := p.Del(f.Context(), r); err != nil {
		f.Errorf("DEL: %v", err)
	}
	if l, err := f.inside.ByName("eth0"); !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("after DEL: %+v, %v", l, err)
	}
}

func wantError(t *testing.T, what string, err error, code cni.Code, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || cni.CodeOf(err) != code || !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want code %d and %q", what, err, code, w)
		}
	}
}

// TestLife: an interface with both families' addresses that leads nowhere; refused where
// one is, found out when it is broken, and gone afterwards whatever is missing.
func TestLife(t *testing.T) {
	on(t, func(f *fixture) {
		r := f.request(conf)
		l := f.add(f, r)
		if l.Kind != "dummy" || !l.Up || l.Alias != "seam:net/c1/eth0" {
			f.Errorf("%+v", l)
		}
		index := 0
		want := &cni.Result{
			Interfaces: []cni.Interface{{Name: "eth0", MAC: l.MAC, Sandbox: f.pod.Path}},
			IPs: []cni.IP{
				{Address: netip.MustParsePrefix("10.1.0.5/24"), Interface: &index},
				{Address: netip.MustParsePrefix("fd00:1::5/64"), Interface: &index},
			},
		}
		if diff := cmp.Diff(want, r.Prev, netips, cmpopts.EquateEmpty()); diff != "" {
			f.Errorf("result (-want +got):\n%s", diff)
		}
		for _, address := range []string{"10.1.0.5", "fd00:1::5"} {
			plugintest.Reach(f, f.pod, f.pod, address)
		}
		if err := f.Check(f.Context(), r); err != nil {
			f.Errorf("CHECK: %v", err)
		}
		again := *r
		again.Prev = nil
		_, err := cni.Add(f.Context(), f, &again)
		wantError(f.T, "again", err, cni.CodeExists, "eth0 is in the pod")
		if diff := cmp.Diff(l, f.must(f.inside.ByName("eth0"))); diff != "" {
			f.Errorf("again (-before +after):\n%s", diff)
		}
		if err := f.inside.Set(l, link.Change{Down: true}); err != nil {
			f.Fatal(err)
		}
		wantError(f.T, "CHECK", f.Check(f.Context(), r), cni.CodeInternal, "eth0 is down")
		if err := f.inside.DeleteAddr(l, netip.MustParsePrefix("10.1.0.5/24")); err != nil {
			f.Fatal(err)
		}
		wantError(f.T, "CHECK", f.Check(f.Context(), r), cni.CodeInternal, "eth0 is down", "address 10.1.0.5/24 of eth0 is gone")
		r.Config.JSON, r.Prev = []byte(strings.Replace(conf, `"type"`, `"mtu":-1,"type"`, 1)), nil
		for range 2 {
			f.del(f, r)
		}
		for _, r.NetNS = range []string{"", "/run/netns/gone"} {
			if err := f.Del(f.Context(), r); err != nil {
				f.Errorf("DEL with namespace %q: %v", r.NetNS, err)
			}
		}
		_, err = f.Plugin.Add(f.Context(), f.request(strings.Replace(conf, `"ipam"`, `"x"`, 1)))
		wantError(f.T, "no ipam", err, cni.CodeInvalidConfig, "ipam: is missing")
		if err := f.Status(f.Context(), f.request(conf)); err != nil {
			f.Errorf("STATUS: %v", err)
		}
	})
}

// TestStatus: a kernel without dummies is what the host lacks, before any ADD.
func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		err := dummy.New(plugintest.Host(t)).Status(t.Context(), plugintest.Request(t, conf, nil, "c1", finder))
		if ok, supportsErr := plugintest.Links(t, nil).Supports("dummy"); !ok || supportsErr != nil {
			wantError(t, "STATUS", err, cni.CodeNotAvailable, "this kernel has no dummy")
		} else if err != nil {
			t.Errorf("STATUS: %v", err)
		}
	})
}

// nodad is what Seam says of addresses that nobody else can have.
var nodad = regexp.MustCompile(` nodad`)

// own is what each interface has of its own; the alias is Seam's.
var own = regexp.MustCompile(`(?m)^\d+: |fe80::[0-9a-f:]+|^ *alias \S+\s|valid_lft.*$|tentative |([0-9a-f]{2}:){5}[0-9a-f]{2}`)

// TestLikeReference: the same result and the same state inside, and each takes the other's
// attachments over.
func TestLikeReference(t *testing.T) {
	on(t, func(f *fixture) {
		reference, plugins := plugintest.Reference(f, os.Getenv("SEAM_REFERENCE_PLUGINS"), "dummy")
		add := func(p cni.Plugin, plugins cni.Finder) (*cni.Request, string) {
			r := f.request(conf)
			r.Plugins = plugins
			f.add(p, r)
			state := plugintest.Run(f, f.pod, "ip", "-d", "addr", "show", "dev", "eth0") + plugintest.Run(f, f.pod, "ip", "route")
			return r, nodad.ReplaceAllString(own.ReplaceAllString(state, ""), "")
		}
		theirs, want := add(reference, plugins)
		theirs.Plugins = finder
		if err := f.Check(f.Context(), theirs); err != nil {
			f.Errorf("CHECK of the reference's: %v", err)
		}
		f.del(f, theirs)
		theirs.Prev.Interfaces[0].MAC = nil // random
		ours, got := add(f, finder)
		shown := ours.Prev.Clone()
		shown.Interfaces[0].MAC = nil
		if diff := cmp.Diff(theirs.Prev, shown, netips, cmpopts.EquateEmpty()); diff != "" {
			f.Errorf("result (-reference +Seam):\n%s", diff)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("state inside (-reference +Seam):\n%s", diff)
		}
		ours.Plugins = plugins
		if err := reference.Check(f.Context(), ours); err != nil {
			f.Errorf("the reference's CHECK of Seam's: %v", err)
		}
		f.del(reference, ours)
	})
}
