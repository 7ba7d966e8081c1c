package oci_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/oci"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
	"github.com/seamnet/seam/plugin/plugintest"
)

const prod = `{"cniVersion": "1.1.0", "name": "prod", "plugins": [
	{"type": "bridge", "bridge": "prod0", "isDefaultGateway": true, "ipMasq": true, "capabilities": {"mac": true, "ips": true},
	 "ipam": {"type": "host-local", "subnet": "10.31.0.0/24"}},
	{"type": "portmap", "capabilities": {"portMappings": true}}]}`

const store = `{"cniVersion": "1.0.0", "name": "store", "plugins": [
	{"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.32.0.0/24"}}]}`

// host is what one test works on.
type host struct {
	testing.TB
	hook         oci.Hook
	conf, bundle string
}

func setup(t testing.TB) *host {
	dir := t.TempDir()
	h := &host{TB: t, conf: filepath.Join(dir, "net.d"), bundle: filepath.Join(dir, "bundle")}
	h.must(errors.Join(os.Mkdir(h.conf, 0o755), os.Mkdir(h.bundle, 0o755)))
	h.network("prod", prod)
	h.network("store", store)
	kernel := plugin.NewHost(plugin.DefaultDirs)
	t.Cleanup(func() { kernel.Close() })
	h.hook = oci.Hook{
		Runtime: &seam.Runtime{Plugins: wire.Path{Builtins: all.Registry(kernel)}},
		ConfDir: h.conf,
		Notes:   "/run/seam/oci",
	}
	// What the first attachment makes and leaves, as bridges do, is no difference later.
	pod := netnstest.NewPod(t, "first")
	h.must(h.create(h.state("first", pod.Path, map[string]string{"seam.network": "prod,store", "seam.ports": "9999:80"})))
	h.must(h.stop(h.state("first", pod.Path, nil)))
	return h
}

func (h *host) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *host) network(name, text string) {
	h.Helper()
	h.must(os.WriteFile(filepath.Join(h.conf, name+".conflist"), []byte(text), 0o600))
}

// state writes the bundle and returns a container's state as at createRuntime; netNS
// empty: it shares the host's network.
func (h *host) state(id, netNS string, annotations map[string]string) *oci.State {
	h.Helper()
	namespaces := `[{"type": "mount"}]`
	if netNS != "" {
		namespaces = `[{"type": "network", "path": "` + netNS + `"}, {"type": "mount"}]`
	}
	h.must(os.WriteFile(filepath.Join(h.bundle, "config.json"), []byte(`{"linux": {"namespaces": `+namespaces+`}}`), 0o600))
	return &oci.State{Version: "1.0.2", ID: id, Status: "creating", Pid: os.Getpid(), Bundle: h.bundle, Annotations: annotations}
}

func (h *host) create(s *oci.State) error { return h.hook.CreateRuntime(context.Background(), s) }

// stop calls the hook as runc does: the process is gone.
func (h *host) stop(s *oci.State) error {
	s.Status, s.Pid = "stopped", 0
	return h.hook.Poststop(context.Background(), s)
}

// all is everything that may not be left; networks' locks may.
func (h *host) all() string {
	h.Helper()
	var b strings.Builder
	b.WriteString(plugintest.State(h))
	for _, dir := range []string{"/var/lib/cni", "/run/seam"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			outlives := strings.Contains(path, "last_reserved_ip") || strings.HasSuffix(path, "lock") || filepath.Dir(path) == "/run/seam/networks"
			if err == nil && !d.IsDir() && !outlives {
				b.WriteString(path + "\n")
			}
			return err
		})
		h.must(err)
	}
	return b.String()
}

func (h *host) unchanged(before string) {
	h.Helper()
	if diff := cmp.Diff(before, h.all()); diff != "" {
		h.Errorf("left behind (-before +after):\n%s", diff)
	}
}

// refused calls createRuntime, which must fail with that text and leave nothing.
func (h *host) refused(s *oci.State, text string) {
	h.Helper()
	before := h.all()
	if err := h.create(s); err == nil || !strings.Contains(err.Error(), text) {
		h.Errorf("%v, want an error with %q", err, text)
	}
	h.unchanged(before)
}

func addresses(t testing.TB, pod *netnstest.Pod) string {
	return plugintest.Run(t, pod, "ip", "-4", "-o", "addr")
}

func TestTwoNetworksComeAndGo(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		before := h.all()
		pod := netnstest.NewPod(t, "web")
		s := h.state("web", pod.Path, map[string]string{
			"seam.network": "prod,store:net0", "seam.ports": "8080:80", "seam.ip": "10.31.0.77",
			"seam.mac": "02:00:00:00:00:07", "seam.ip.net0": "10.32.0.9",
		})
		h.must(h.create(s))
		got := addresses(t, pod) + plugintest.Run(t, pod, "ip", "-o", "link")
		for _, want := range []string{"eth0    inet 10.31.0.77/24", "net0    inet 10.32.0.9/24", "02:00:00:00:00:07"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q inside:\n%s", want, got)
			}
		}
		if rules := plugintest.Run(t, nil, "nft", "list", "table", "inet", "seam"); !strings.Contains(rules, "8080") {
			t.Errorf("port 8080 is not published:\n%s", rules)
		}
		// What the container was attached to is remembered, not asked again.
		h.must(errors.Join(os.RemoveAll(h.conf), os.RemoveAll(h.bundle)))
		s.Annotations = map[string]string{"seam.network": "other"}
		h.must(h.stop(s))
		if got := addresses(t, pod); strings.Contains(got, "eth0") || strings.Contains(got, "net0") {
			t.Errorf("the namespace lives on, and so do its interfaces:\n%s", got)
		}
		h.unchanged(before)
		h.must(h.stop(s))
	})
}

// A network that has lost a plugin since is undone with that plugin.
func TestChangedNetworkIsUndoneAsItWas(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		before := h.all()
		pod := netnstest.NewPod(t, "web")
		h.must(h.create(h.state("web", pod.Path, map[string]string{"seam.network": "prod", "seam.ports": "8080:80"})))
		h.network("prod", strings.Replace(store, "store", "prod", 1))
		h.must(netns.Remove(pod.Path))
		t.Cleanup(func() { // the pod's own clean-up removes it a second time
			ns, err := netns.NewAt(pod.Path)
			h.must(err)
			h.must(ns.Close())
		})
		h.must(h.stop(h.state("web", pod.Path, nil)))
		h.unchanged(before)
	})
}

func TestFailureLeavesNothing(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		h.network("full", `{"cniVersion": "1.1.0", "name": "full", "plugins": [{"type": "ptp",
			"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.33.0.0/24", "rangeStart": "10.33.0.9", "rangeEnd": "10.33.0.9"}]]}}]}`)
		other := netnstest.NewPod(t, "other")
		h.must(h.create(h.state("other", other.Path, map[string]string{"seam.network": "full"})))
		pod := netnstest.NewPod(t, "web")
		for _, test := range []struct{ networks, want string }{
			{"prod,store,full", "attach full/web/eth2"}, // the third fails: two are detached
			{"prod,nowhere", `network "nowhere"`},
			{"prod,..", `network name ".."`},
		} {
			h.refused(h.state("web", pod.Path, map[string]string{"seam.network": test.networks}), test.want)
			if got := addresses(t, pod); strings.Contains(got, "eth") {
				t.Errorf("%s: interfaces are left:\n%s", test.networks, got)
			}
		}
		h.refused(h.state("web", pod.Path, map[string]string{"seam.network": "store", "seam.ports": "80:80"}),
			`network store: no plugin takes the capability portMappings: add a plugin that does to `+h.conf)
		// Interfaces that are someone else's survive the roll-back.
		plugintest.Run(t, pod, "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "peer")
		h.refused(h.state("web", pod.Path, map[string]string{"seam.network": "prod,store"}), "eth1")
		plugintest.Run(t, pod, "ip", "link", "show", "eth1")
		h.must(h.stop(h.state("other", other.Path, nil)))
	})
}

func TestHostNetworkAndNone(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		h.refused(h.state("web", "", map[string]string{"seam.network": "prod"}), "shares the host's network")
		before := h.all()
		// Without annotations not even the bundle is looked at.
		h.must(h.create(&oci.State{ID: "web", Bundle: "/nowhere", Annotations: map[string]string{"seamless": "x"}}))
		h.must(h.stop(&oci.State{ID: "web", Bundle: "/nowhere", Annotations: map[string]string{"seam.network": "prod"}}))
		h.unchanged(before)
	})
}

// Two runtimes may each have a container "web": the second is refused, and its end is
// not the first's.
func TestSameNameOfAnotherBundle(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		pod, second := netnstest.NewPod(t, "web"), netnstest.NewPod(t, "second")
		s := h.state("web", pod.Path, map[string]string{"seam.network": "prod"})
		h.must(h.create(s))
		first := h.bundle
		h.bundle = t.TempDir()
		twin := h.state("web", second.Path, map[string]string{"seam.network": "store,prod:eth0"})
		h.refused(twin, "interface eth0 twice")
		twin.Annotations["seam.network"] = "store:net0,prod:eth0"
		h.refused(twin, "attached already")
		h.must(h.stop(twin))
		if got := addresses(t, pod); !strings.Contains(got, "eth0") {
			t.Errorf("the first has lost its interface:\n%s", got)
		}
		h.bundle = first
		h.must(h.stop(s))
	})
}

// A container that went without a last hook: the next of that name starts clean, and if
// none comes the note is collected.
func TestWithoutPoststop(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		before := h.all()
		pod := netnstest.NewPod(t, "web")
		h.must(h.create(h.state("web", pod.Path, map[string]string{"seam.network": "prod,store", "seam.ports": "8080:80"})))
		h.must(h.create(h.state("web", pod.Path, map[string]string{"seam.network": "prod:net0", "seam.ports": "8080:80"})))
		if got := addresses(t, pod); strings.Contains(got, "eth") || !strings.Contains(got, "net0") {
			t.Errorf("what the earlier life left:\n%s", got)
		}
		h.must(h.hook.Collect(nil))
		if left, err := os.ReadDir(h.hook.Notes); err != nil || len(left) != 1 {
			t.Errorf("the note of a living container was collected: %v, %v", left, err)
		}
		h.must(netns.Remove(pod.Path))
		t.Cleanup(func() {
			ns, err := netns.NewAt(pod.Path)
			h.must(err)
			h.must(ns.Close())
		})
		records, err := h.hook.Runtime.Attachments()
		h.must(err)
		h.must(h.hook.Collect(records))
		if left, err := os.ReadDir(h.hook.Notes); err != nil || len(left) != 1 {
			t.Errorf("the note of an attachment that is recorded was collected: %v, %v", left, err)
		}
		n, err := seam.Load(h.conf, "prod")
		h.must(err)
		h.must(h.hook.Runtime.Collect(context.Background(), n, []cni.Attachment{}))
		records, err = h.hook.Runtime.Attachments()
		h.must(err)
		h.must(h.hook.Collect(records))
		h.unchanged(before)
	})
}

// recorder is a plugin that notes the namespace of its DEL.
type recorder struct{ cni.Plugin }

func (recorder) Add(context.Context, *cni.Request) (*cni.Result, error) { return &cni.Result{}, nil }
func (recorder) Del(_ context.Context, r *cni.Request) error {
	return os.WriteFile("/run/recorded", []byte(r.NetNS), 0o600)
}

// A process's number may be another's when the container has stopped; a path is its own.
func TestNamespaceOfDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		h.hook.Runtime.Plugins = cni.Registry{"recorder": recorder{}}
		h.network("recorded", `{"cniVersion": "1.1.0", "name": "recorded", "plugins": [{"type": "recorder"}]}`)
		pod := netnstest.NewPod(t, "web")
		process := exec.Command("sleep", "100")
		h.must(pod.NS.Do(process.Start))
		t.Cleanup(func() { h.must(process.Process.Kill()); _ = process.Wait() })
		named := h.state("named", pod.Path, map[string]string{"seam.network": "recorded"})
		h.must(h.create(named))
		unnamed := h.state("unnamed", "x", named.Annotations)
		h.must(os.WriteFile(filepath.Join(h.bundle, "config.json"), []byte(`{"linux": {"namespaces": [{"type": "network"}]}}`), 0o600))
		unnamed.Pid = process.Process.Pid
		h.must(h.create(unnamed))
		for s, want := range map[*oci.State]string{named: pod.Path, unnamed: ""} {
			h.must(h.stop(s))
			if got, err := os.ReadFile("/run/recorded"); err != nil || string(got) != want {
				t.Errorf("%s: DEL in %q, %v, want %q", s.ID, got, err, want)
			}
		}
		unnamed.Pid = 0
		h.refused(unnamed, "no pid")
	})
}

func TestUnreadableNote(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		pod := netnstest.NewPod(t, "web")
		s := h.state("web", pod.Path, map[string]string{"seam.network": "prod"})
		h.must(h.create(s))
		notes, err := filepath.Glob(filepath.Join(h.hook.Notes, "*"))
		if err != nil || len(notes) != 1 {
			t.Fatalf("%q, %v", notes, err)
		}
		h.must(os.WriteFile(notes[0], []byte("{"), 0o600))
		if err := h.stop(s); err == nil || !strings.Contains(err.Error(), notes[0]) {
			t.Errorf("%v, want an error that names %s", err, notes[0])
		}
		h.must(h.stop(s))
	})
}

// TestNoteThatCannotBeReadNow: it stays for the next try.
func TestNoteThatCannotBeReadNow(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		s := h.state("web", netnstest.NewPod(t, "web").Path, map[string]string{"seam.network": "prod"})
		before := h.all()
		h.must(h.create(s))
		notes, err := filepath.Glob(filepath.Join(h.hook.Notes, "*"))
		if err != nil || len(notes) != 1 {
			t.Fatalf("%q, %v", notes, err)
		}
		note, aside := notes[0], "/run/aside"
		h.must(os.Rename(note, aside))
		h.must(os.Symlink(note, note)) // a loop, which nobody can read
		if err := h.stop(s); err == nil || !strings.Contains(err.Error(), note) {
			t.Errorf("%v, want an error that names %s", err, note)
		}
		if _, err := os.Lstat(note); err != nil {
			t.Errorf("the note was removed: %v", err)
		}
		h.must(os.Rename(aside, note))
		h.must(h.stop(s))
		h.unchanged(before)
	})
}

// TestKilledWhileWriting: half a note is no note, and goes with the container.
func TestKilledWhileWriting(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		s := h.state("web", netnstest.NewPod(t, "web").Path, map[string]string{"seam.network": "prod"})
		for _, attached := range []bool{true, false} {
			h.must(h.create(s))
			notes, err := filepath.Glob(filepath.Join(h.hook.Notes, "*"))
			if err != nil || len(notes) != 1 {
				t.Fatalf("%q, %v", notes, err)
			}
			if !attached {
				h.must(h.stop(s))
			}
			h.must(os.WriteFile(notes[0]+".tmp", []byte("{"), 0o600))
			h.must(h.stop(s))
			if left, err := os.ReadDir(h.hook.Notes); err != nil || len(left) > 0 {
				t.Errorf("left %v, %v", left, err)
			}
		}
	})
}

func TestReadState(t *testing.T) {
	want := &oci.State{Version: "1.0", ID: "c1", Status: "created", Pid: 7, Bundle: "/b", Annotations: map[string]string{"a": "b"}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	// crun says more than the specification.
	got, err := oci.ReadState(strings.NewReader(strings.Replace(string(text), "{", `{"root": "rootfs",`, 1)))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{"", "{}", `{"id": 5}`, "x"} {
		if _, err := oci.ReadState(strings.NewReader(text)); err == nil {
			t.Errorf("%q was taken for a state", text)
		}
	}
}
