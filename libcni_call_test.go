package seam

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// recorder is a plugin that notes its environment and input in ../notes, in the
// order of calls, and answers ADD with the file RESULT beside it.
const recorder = `#!/bin/sh
here=$(dirname "$0")
if [ "$CNI_COMMAND" = VERSION ]; then
	echo '{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}'
	exit
fi
{ basename "$0"; env | grep ^CNI_ | grep -v '=$' | sort; cat; echo; echo; } >> "$here/../notes"
if [ "$CNI_COMMAND" = ADD ]; then cat "$here/result"; fi
`

// results are what recorders answer in the forms of the specification, by the first
// version that has the form.
var results = map[string]string{
	"0.1.0": `{"cniVersion":"0.1.0","ip4":{"ip":"10.1.2.3/24","gateway":"10.1.2.1","routes":[{"dst":"0.0.0.0/0"}]},"dns":{"nameservers":["10.1.2.1"]}}`,
	"0.3.0": `{"cniVersion":"0.3.0","interfaces":[{"name":"eth0","mac":"02:00:00:00:00:01","sandbox":"/ns"}],"ips":[{"version":"4","address":"10.1.2.3/24","gateway":"10.1.2.1","interface":0}],"dns":{"domain":"d"}}`,
	"1.0.0": `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"02:00:00:00:00:01","mtu":1400,"sandbox":"/ns"}],"ips":[{"address":"fd00::3/64","interface":0}],"routes":[{"dst":"::/0","gw":"fd00::1","mtu":1300,"table":7}],"dns":{}}`,
}

// resultOf returns the result that suits a version.
func resultOf(version string) string {
	form := "1.0.0"
	switch {
	case version < "0.3.0":
		form = "0.1.0"
	case version < "1.0.0":
		form = "0.3.0"
	}
	return strings.Replace(results[form], form, version, 1)
}

// twins are both runtimes over the same plugins.
type twins struct {
	dir    string
	seam   *Runtime
	libcni *libcni.CNIConfig
	list   *libcni.NetworkConfigList
	net    *Network
	rt     *libcni.RuntimeConf
	c      Container
}

func newTwins(t *testing.T, version, result string) *twins {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	list := `{"name":"blue","plugins":[{"type":"one","capabilities":{"mac":true,"ips":false},"k":[1,{"z":"<&>"}]},{"type":"two","runtimeConfig":{"old":1},"dns":{"domain":"x"}}]}`
	if version != "" {
		list = strings.Replace(list, `"name"`, `"cniVersion":"`+version+`","name"`, 1)
	}
	writeTree(t, dir, map[string]string{"bin/one": recorder, "bin/two": recorder, "bin/result": result})
	for _, name := range []string{"one", "two"} {
		if err := os.Chmod(filepath.Join(bin, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	theirs, err := libcni.NetworkConfFromBytes([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{filepath.Join(dir, "none"), bin}
	c := container("c-1")
	c.Args = cni.Args{{Key: "IgnoreUnknown", Value: "1"}, {Key: "K8S_POD_NAME", Value: "p"}}
	c.Capabilities = map[string]json.RawMessage{"mac": raw("02:00:00:00:00:01"), "ips": raw([]string{"10.0.0.1/24"}), "portMappings": raw([]int{1})}
	rt := &libcni.RuntimeConf{
		ContainerID: c.ID, NetNS: c.NetNS, IfName: c.IfName,
		Args:           [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAME", "p"}},
		CapabilityArgs: map[string]any{"mac": "02:00:00:00:00:01", "ips": []string{"10.0.0.1/24"}, "portMappings": []int{1}},
	}
	return &twins{
		dir:    dir,
		seam:   &Runtime{Plugins: wire.Path{Dirs: dirs, Stderr: os.Stderr}, CacheDir: filepath.Join(dir, "seam"), OwnNetNS: true},
		libcni: libcni.NewCNIConfigWithCacheDir(dirs, filepath.Join(dir, "libcni"), nil),
		list:   theirs, net: parseNetwork(t, list), rt: rt, c: c,
	}
}

// notes returns what the plugins noted since it was last called: of each call the
// lines of its environment and its input, decoded.
func (w *twins) notes(t *testing.T) []any {
	t.Helper()
	file := filepath.Join(w.dir, "notes")
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	os.Remove(file)
	calls := []any{}
	for note := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n\n") {
		if note == "" {
			continue
		}
		at := strings.IndexByte(note, '{')
		input, ok := decoded([]byte(note[at:])).(map[string]any)
		if !ok {
			t.Fatalf("plugin read %s", note[at:])
		}
		delete(input, "capabilities") // on purpose: the specification says not to send them
		if prev, ok := input["prevResult"].(map[string]any); ok && cmp.Equal(prev["dns"], map[string]any{}) {
			delete(prev, "dns") // empty, and the same as none
		}
		calls = append(calls, strings.Split(strings.TrimSpace(note[:at]), "\n"), input)
	}
	return calls
}

// Both tell plugins the same, for every verb and version.
func TestCallsAsLibcni(t *testing.T) {
	for _, version := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		for name, result := range map[string]string{
			" ":                           resultOf(version),
			" of results without version": strings.Replace(resultOf(version), `"cniVersion":"`+version+`",`, "", 1),
		} {
			t.Run(version+name, func(t *testing.T) {
				w := newTwins(t, version, result)
				ctx := t.Context()
				valid := []cni.Attachment{{ContainerID: "c-9", IfName: "eth0"}}
				gc := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: "c-9", IfName: "eth0"}}}
				for _, step := range []struct {
					name         string
					seam, libcni func() error
				}{
					{"STATUS", func() error { return w.seam.Status(ctx, w.net) }, func() error { return w.libcni.GetStatusNetworkList(ctx, w.list) }},
					{
						"ADD", func() error { _, err := w.seam.Attach(ctx, w.net, w.c); return err },
						func() error { _, err := w.libcni.AddNetworkList(ctx, w.list, w.rt); return err },
					},
					{"CHECK", func() error { return w.seam.Check(ctx, w.net, w.c) }, func() error { return w.libcni.CheckNetworkList(ctx, w.list, w.rt) }},
					{"DEL", func() error { return w.seam.Detach(ctx, w.net, w.c) }, func() error { return w.libcni.DelNetworkList(ctx, w.list, w.rt) }},
					{"DEL again", func() error { return w.seam.Detach(ctx, w.net, w.c) }, func() error { return w.libcni.DelNetworkList(ctx, w.list, w.rt) }},
					{
						"ADD to be collected", func() error { _, err := w.seam.Attach(ctx, w.net, w.c); return err },
						func() error { _, err := w.libcni.AddNetworkList(ctx, w.list, w.rt); return err },
					},
					{"GC", func() error { return w.seam.Collect(ctx, w.net, valid) }, func() error { return w.libcni.GCNetworkList(ctx, w.list, gc) }},
				} {
					theirs := step.libcni()
					want := w.notes(t)
					ours := step.seam()
					if (ours == nil) != (theirs == nil) {
						t.Errorf("%s: seam says %v, libcni %v", step.name, ours, theirs)
					}
					if diff := cmp.Diff(want, w.notes(t)); diff != "" {
						t.Errorf("%s (-libcni +seam)\n%s", step.name, diff)
					}
				}
			})
		}
	}
}

// Each reads what the other recorded.
func TestCacheAsLibcni(t *testing.T) {
	for _, version := range []string{"0.2.0", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			w := newTwins(t, version, resultOf(version))
			ctx := t.Context()
			if _, err := w.libcni.AddNetworkList(ctx, w.list, w.rt); err != nil {
				t.Fatal(err)
			}
			result, err := w.seam.Attach(ctx, w.net, w.c)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := ReadAttachments(filepath.Join(w.dir, "libcni"))
			if err != nil || len(theirs) != 1 {
				t.Fatalf("%d attachments of libcni, error %v", len(theirs), err)
			}
			r := theirs[0]
			want := Record{
				Attachment: w.c.Attachment("blue"), Name: "p", NetNS: w.c.NetNS, Args: w.c.Args, Capabilities: w.c.Capabilities,
				Config: w.net.Raw, Version: version, Result: result,
				Created: r.Created, File: filepath.Join(w.dir, "libcni", "results", "blue-c-1-eth0"),
			}
			if diff := cmp.Diff(want, r, cmp.AllowUnexported(Record{}, podID{}), cmp.Comparer(same[netip.Prefix]), cmp.Comparer(same[netip.Addr])); diff != "" {
				t.Errorf("record of libcni's (-want +got)\n%s", diff)
			}
			if r.Created.IsZero() || !r.Alive() {
				t.Errorf("created %v, alive %v", r.Created, r.Alive())
			}
			w.compareCaches(t)
		})
	}
}

// compareCaches compares what libcni reads of its own cache and of Seam's.
func (w *twins) compareCaches(t *testing.T) {
	t.Helper()
	reader := libcni.NewCNIConfigWithCacheDir(nil, filepath.Join(w.dir, "seam"), nil)
	want, err := w.libcni.GetCachedAttachments("c-1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := reader.GetCachedAttachments("c-1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attachments (-libcni's +seam's)\n%s", diff)
	}
	wantResult, err := w.libcni.GetNetworkListCachedResult(w.list, w.rt)
	if err != nil {
		t.Fatal(err)
	}
	gotResult, err := reader.GetNetworkListCachedResult(w.list, w.rt)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantResult, gotResult); diff != "" {
		t.Errorf("result (-libcni's +seam's)\n%s", diff)
	}
}
