package plugins_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

type (
	addFunc func(context.Context, *cni.Request) (*cni.Result, error)
	delFunc func(context.Context, *cni.Request) error
)

// A broken plugin is one that does something else, or more.
type broken struct {
	cni.Plugin
	add     addFunc
	del, gc delFunc
}

func (b broken) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	if b.add == nil {
		return b.Plugin.Add(ctx, r)
	}
	return b.add(ctx, r)
}

func (b broken) Del(ctx context.Context, r *cni.Request) error {
	if b.del == nil {
		return b.Plugin.Del(ctx, r)
	}
	return b.del(ctx, r)
}

func (b broken) GC(ctx context.Context, r *cni.Request) error {
	if b.gc == nil {
		return b.Plugin.GC(ctx, r)
	}
	return b.gc(ctx, r)
}

// number is the one in a pod's name: what is left of one pod is not what is left of another.
func number(r *cni.Request) string { return strings.TrimPrefix(r.ContainerID, "conformance-pod") }

// leaky returns plugins that are the bridge, but for one fault each.
func leaky(bridge, portmap cni.Plugin) cni.Registry {
	after := func(leave func(r *cni.Request) error) addFunc {
		return func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
			result, err := bridge.Add(ctx, r)
			return result, errors.Join(err, leave(r))
		}
	}
	onlyIf := func(known func(r *cni.Request) bool) broken {
		return broken{Plugin: bridge, del: func(ctx context.Context, r *cni.Request) error {
			if !known(r) {
				return nil
			}
			return bridge.Del(ctx, r)
		}}
	}
	registry := cni.Registry{
		"leaves-link":     broken{Plugin: bridge, add: after(func(r *cni.Request) error { return onHost(r, leaveLink) })},
		"leaves-route":    broken{Plugin: bridge, add: after(func(r *cni.Request) error { return onHost(r, leaveRoute) })},
		"leaves-rule":     broken{Plugin: bridge, add: after(func(r *cni.Request) error { return onHost(r, leaveRule) })},
		"leaves-nft":      broken{Plugin: bridge, add: after(leaveTable)},
		"leaves-file":     broken{Plugin: bridge, add: after(leaveFile)},
		"leaves-mention":  broken{Plugin: bridge, add: after(leaveMention)},
		"leaves-process":  broken{Plugin: bridge, add: after(leaveProcess)},
		"leaves-setting":  broken{Plugin: bridge, add: after(leaveSetting)},
		"leaves-in-pod":   broken{Plugin: bridge, add: after(leaveInPod)},
		"leaves-mount":    broken{Plugin: bridge, add: after(leaveMount)},
		"wants-netns":     onlyIf(func(r *cni.Request) bool { return r.NetNS != "" }),
		"wants-pod":       onlyIf(podIsThere),
		"wants-result":    onlyIf(func(r *cni.Request) bool { return r.Prev != nil }),
		"wants-asked":     onlyIf(func(r *cni.Request) bool { return strings.Contains(string(r.Config.JSON), "runtimeConfig") }),
		"is-done":         broken{Plugin: bridge, del: onceOnly(bridge)},
		"keeps-lease":     broken{Plugin: bridge, del: keepLease(bridge)},
		"is-alone":        broken{Plugin: bridge, add: alone(bridge)},
		"gives-one":       broken{Plugin: bridge, add: oneAddress(bridge)},
		"collects-none":   broken{Plugin: bridge, gc: func(context.Context, *cni.Request) error { return nil }},
		"collects-all":    broken{Plugin: bridge, gc: collectAll(bridge)},
		"fails-after":     broken{Plugin: bridge, add: failAfter(bridge)},
		"forgets-halves":  broken{Plugin: bridge, add: halfway(bridge.Add)},
		"forgets-removal": broken{Plugin: bridge, del: halfRemoved(bridge)},
		"is-small":        broken{Plugin: bridge, add: eleven(bridge)},
		"executes":        broken{Plugin: bridge, add: after(func(*cni.Request) error { return errors.Join(exec.Command("true").Run(), exec.Command("true").Run()) })},
		"forgets-flows":   broken{Plugin: portmap, del: func(context.Context, *cni.Request) error { return nil }},
	}
	return registry
}

func onHost(r *cni.Request, leave func(*link.Handle, string) error) error {
	h, err := link.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	return leave(h, number(r))
}

func leaveLink(h *link.Handle, n string) error { return h.AddTap(link.Tap{Name: "tap" + n}) }

func leaveRoute(h *link.Handle, n string) error {
	l, err := h.ByName(plugins.Uplink)
	if err != nil {
		return err
	}
	return h.AddRoute(l, link.Route{Route: cni.Route{Dst: netip.MustParsePrefix("198.51.100." + n + "/32"), GW: netip.MustParseAddr("192.0.2.1")}})
}

func leaveRule(h *link.Handle, n string) error {
	return h.AddRule(link.Rule{Source: netip.MustParsePrefix("198.51.100." + n + "/32"), Table: 77})
}

func leaveTable(r *cni.Request) error {
	return exec.Command("nft", "add", "table", "ip", "left"+number(r)).Run()
}

func leaveFile(r *cni.Request) error { return os.WriteFile("/run/left-"+number(r), nil, 0o600) }

func leaveMention(r *cni.Request) error {
	f, err := os.OpenFile("/run/all", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, r.ContainerID)
	return err
}

// leaveProcess leaves one that ends by itself when the check is done.
func leaveProcess(*cni.Request) error { return exec.Command("sleep", "7").Start() }

func leaveSetting(*cni.Request) error { return link.Sysctl("ipv4/conf/all/arp_filter").Write("1") }

func leaveMount(r *cni.Request) error {
	ns, err := netns.Open(r.NetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.MountAt("/run/kept/"+number(r), false)
}

func leaveInPod(r *cni.Request) error {
	ns, err := netns.Open(r.NetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := link.In(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.AddTap(link.Tap{Name: "more0"})
}

func podIsThere(r *cni.Request) bool {
	if r.NetNS == "" {
		return true // the other check's case
	}
	_, err := os.Stat(r.NetNS)
	return err == nil
}

func onceOnly(p cni.Plugin) delFunc {
	return func(ctx context.Context, r *cni.Request) error {
		if _, err := os.Stat("/run/done-" + r.ContainerID); err == nil {
			return errors.New("there is no such attachment")
		}
		return errors.Join(p.Del(ctx, r), os.WriteFile("/run/done-"+r.ContainerID, nil, 0o600))
	}
}

// keepLease puts the leases there again, as another container's.
func keepLease(p cni.Plugin) delFunc {
	return func(ctx context.Context, r *cni.Request) error {
		files, _ := filepath.Glob("/var/lib/cni/networks/conformance/1*")
		if err := p.Del(ctx, r); err != nil {
			return err
		}
		for _, f := range files {
			if err := os.WriteFile(f, []byte("someone\r\neth0"), 0o600); err != nil {
				return err
			}
		}
		return nil
	}
}

// alone fails if another ADD is going on.
func alone(p cni.Plugin) addFunc {
	return func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
		if err := os.Mkdir("/run/at-work", 0o700); err != nil {
			return nil, err
		}
		defer os.Remove("/run/at-work")
		time.Sleep(5 * time.Millisecond)
		return p.Add(ctx, r)
	}
}

func oneAddress(p cni.Plugin) addFunc {
	return func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
		result, err := p.Add(ctx, r)
		if err == nil {
			result.IPs[0].Address = netip.MustParsePrefix("10.77.0.200/24")
		}
		return result, err
	}
}

// collectAll takes no attachment for valid.
func collectAll(p cni.Plugin) delFunc {
	return func(ctx context.Context, r *cni.Request) error {
		none := *r
		none.Valid = []cni.Attachment{}
		return p.GC(ctx, &none)
	}
}

// eleven refuses more attachments than these at a time.
func eleven(p cni.Plugin) addFunc {
	var mu sync.Mutex
	return func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		if files, _ := filepath.Glob("/var/lib/cni/networks/conformance/1*"); len(files) >= 11 {
			return nil, errors.New("eleven are enough")
		}
		return p.Add(ctx, r)
	}
}

// failAfter leaves something when ADD fails.
func failAfter(p cni.Plugin) addFunc {
	return func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
		result, err := p.Add(ctx, r)
		if err != nil {
			err = errors.Join(err, leaveFile(r))
		}
		return result, err
	}
}

// halfway has a file for a while, of which it knows nothing when it is killed.
func halfway(add addFunc) addFunc {
	return func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
		if err := leaveFile(r); err != nil {
			return nil, err
		}
		time.Sleep(30 * time.Millisecond)
		defer os.Remove("/run/left-" + number(r))
		return add(ctx, r)
	}
}

func halfRemoved(p cni.Plugin) delFunc {
	del := halfway(func(ctx context.Context, r *cni.Request) (*cni.Result, error) { return nil, p.Del(ctx, r) })
	return func(ctx context.Context, r *cni.Request) error {
		if _, err := os.Stat("/run/begun-" + number(r)); err == nil {
			return p.Del(ctx, r)
		}
		if err := os.WriteFile("/run/begun-"+number(r), nil, 0o600); err != nil {
			return err
		}
		defer os.Remove("/run/begun-" + number(r))
		_, err := del(ctx, r)
		return err
	}
}

// TestLeaksAreSeen: a plugin with a fault fails the check that is about it, and the note
// tells what is left.
func TestLeaksAreSeen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	tests := []struct {
		plugin, check string
		want          conformance.Outcome
		note          string
		executed      bool
	}{
		{plugin: "leaves-link", check: "leaks/host", want: conformance.Failed, note: "left: link tap2 (tuntap, "},
		{plugin: "leaves-route", check: "leaks/host", want: conformance.Failed, note: "left: route 198.51.100.2/32 via 192.0.2.1 dev eth0"},
		{plugin: "leaves-rule", check: "leaks/host", want: conformance.Failed, note: "from 198.51.100.2/32 lookup 77"},
		{plugin: "leaves-nft", check: "leaks/host", want: conformance.Failed, note: "left: nft table ip left2"},
		{plugin: "leaves-file", check: "leaks/host", want: conformance.Failed, note: "left: file /run/left-2"},
		{plugin: "leaves-mention", check: "leaks/host", want: conformance.Failed, note: "left: mention of conformance-pod2 in the file /run/all"},
		{plugin: "leaves-process", check: "leaks/host", want: conformance.Failed, note: " sleep"},
		{plugin: "leaves-mount", check: "leaks/host", want: conformance.Failed, note: "left: mount /run/kept/2 of type nsfs"},
		{plugin: "leaves-setting", check: "leaks/host-settings", want: conformance.Differs, note: "changed: sysctl net/ipv4/conf/all/arp_filter: 1, was 0"},
		{plugin: "leaves-in-pod", check: "leaks/pod", want: conformance.Failed, note: "left: link more0 (tuntap, "},
		{plugin: "is-done", check: "leaks/del-twice", want: conformance.Failed, note: "again: DEL of is-done: there is no such attachment"},
		{plugin: "wants-pod", check: "leaks/del-pod-gone", want: conformance.Lacking, note: "left: file /var/lib/cni/networks/conformance/10.77.0.3"},
		{plugin: "wants-netns", check: "leaks/del-no-netns", want: conformance.Lacking, note: "left: file /var/lib/cni/networks/conformance/10.77.0.3"},
		{plugin: "wants-result", check: "leaks/del-no-result", want: conformance.Lacking, note: "left: link veth"},
		{plugin: "wants-result", check: "leaks/add-broken-off", want: conformance.Passed},
		{plugin: "wants-asked", check: "leaks/del-no-capabilities", want: conformance.Lacking, note: "left: link veth"},
		{plugin: "wants-result", check: "leaks/del-nothing-known", want: conformance.Lacking, note: "left: file /var/lib/cni/networks/conformance/10.77.0.3"},
		{plugin: "fails-after", check: "leaks/add-exhausted", want: conformance.Lacking, note: "left: file /run/left-3"},
		{plugin: "fails-after", check: "leaks/add-bad-address-del", want: conformance.Failed, note: "left: file /run/left-3"},
		{plugin: "fails-after", check: "leaks/add-interface-there-del", want: conformance.Failed, note: "left: file /run/left-3"},
		{plugin: "is-alone", check: "leaks/crowd", want: conformance.Failed, note: "/run/at-work: file exists"},
		{plugin: "is-alone", check: "leaks/crowd-mixed", want: conformance.Failed, note: "/run/at-work: file exists"},
		{plugin: "gives-one", check: "leaks/crowd", want: conformance.Failed, note: "have one address"},
		{plugin: "keeps-lease", check: "leaks/pool", want: conformance.Failed, note: "round 2: not all of 3 addresses can be had"},
		{plugin: "collects-none", check: "leaks/gc-pods-died", want: conformance.Lacking, note: "left: mention of conformance-pod"},
		{plugin: "collects-none", check: "leaks/gc-pool", want: conformance.Lacking, note: "3 at a time: conformance-pod"},
		{plugin: "collects-all", check: "leaks/gc-others", want: conformance.Failed, note: "left: link veth"},
		{plugin: "forgets-halves", check: "leaks/killed-add", want: conformance.Lacking, note: "left: file /run/left-", executed: true},
		{plugin: "forgets-halves", check: "leaks/killed-add-pod-gone", want: conformance.Lacking, note: "left: file /run/left-", executed: true},
		{plugin: "forgets-halves", check: "leaks/gc-killed-add", want: conformance.Lacking, note: "left: file /run/left-", executed: true},
		{plugin: "forgets-removal", check: "leaks/killed-del", want: conformance.Lacking, note: "left: file /run/", executed: true},
		{plugin: "forgets-flows", check: "leaks/tracked-connections", want: conformance.Differs, note: "dst=192.0.2.2"},
	}
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, 12) // most of the time they wait
	for _, test := range tests {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			f := onTrial(t, test.plugin, test.check, test.executed)
			if f.Outcome != test.want || !strings.Contains(strings.Join(f.Notes, "\n"), test.note) {
				t.Errorf("%s: %s is %s, want %s and a note with %q:\n%s", test.plugin, test.check, f.Outcome, test.want, test.note, strings.Join(f.Notes, "\n"))
			}
		})
	}
}

// onTrial carries out one check with one plugin.
func onTrial(t *testing.T, pluginType, check string, executed bool) conformance.Finding {
	t.Helper()
	target := plugins.Target{Builtin: true, Dirs: []string{"/nowhere"}}
	if executed {
		self, err := os.Executable()
		if err != nil {
			t.Error(err)
		}
		file := filepath.Join(t.TempDir(), pluginType)
		if err := os.Symlink(self, file); err != nil {
			t.Error(err)
		}
		target = plugins.Target{Dirs: target.Dirs, Programs: map[string]string{pluginType: file}}
	}
	ipam := `{"type":"host-local","ranges":[[{"subnet":"10.77.0.0/24"}],[{"subnet":"fd00:77::/64"}]],"routes":[{"dst":"0.0.0.0/0"}]}`
	chain := fmt.Sprintf(`{"type":%q,"bridge":"conform0","isGateway":true,"ipMasq":true,"capabilities":{"portMappings":true},"ipam":%s}`, pluginType, ipam)
	if pluginType == "forgets-flows" {
		chain = fmt.Sprintf(`{"type":"bridge","bridge":"conform0","isGateway":true,"ipam":%s},{"type":%q,"capabilities":{"portMappings":true}}`, ipam, pluginType)
	}
	target.Config = json.RawMessage(`{"cniVersion":"1.1.0","name":"conformance","plugins":[` + chain + `]}`)
	suite, err := plugins.Suite(target, pluginType, builtins)
	if err != nil {
		t.Error(err)
		return conformance.Finding{}
	}
	report, err := conformance.Run(context.Background(), suite, conformance.Options{Match: regexp.MustCompile("^" + check + "$")})
	if err != nil {
		t.Error(err)
		return conformance.Finding{}
	}
	return report.Findings[0]
}
