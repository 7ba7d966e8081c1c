package seam

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// Names with "-" in them can make one file name of two attachments.
func TestRecordsOfOneName(t *testing.T) {
	b := newBench(t, t.TempDir())
	second := parseNetwork(t, strings.Replace(blue, "blue", "blue-c1", 1))
	c1, c2 := container("c1-c2"), container("c2")
	if _, err := b.Attach(t.Context(), b.network, c1); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Attach(t.Context(), second, c2); err != nil {
		t.Fatal(err)
	}
	records, err := b.Attachments()
	if err != nil {
		t.Fatal(err)
	}
	got := []cni.Attachment{}
	for _, r := range records {
		got = append(got, r.Attachment)
	}
	if diff := cmp.Diff([]cni.Attachment{c1.Attachment("blue"), c2.Attachment("blue-c1")}, got); diff != "" {
		t.Errorf("attachments (-want +got)\n%s", diff)
	}
	if err := b.Detach(t.Context(), b.network, c1); err != nil {
		t.Error(err)
	}
	if err := b.Check(t.Context(), second, c2); err != nil {
		t.Error(err)
	}
	if err := b.Detach(t.Context(), second, c2); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files left (-want +got)\n%s", diff)
	}
}

func TestRecordOfLongNames(t *testing.T) {
	b := newBench(t, t.TempDir())
	n := parseNetwork(t, strings.Replace(blue, "blue", strings.Repeat("b", 200), 1))
	c := container(strings.Repeat("c", 200))
	if _, err := b.Attach(t.Context(), n, c); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Attach(t.Context(), n, c); cni.CodeOf(err) != cni.CodeExists {
		t.Errorf("error %v, want one with CodeExists", err)
	}
	if err := b.Detach(t.Context(), n, c); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files left (-want +got)\n%s", diff)
	}
}

// The bare result that libcni wrote once does not say whose it is: its file's name
// does, to who asks for that attachment.
func TestBareResult(t *testing.T) {
	b := newBench(t, t.TempDir())
	writeTree(t, b.CacheDir, map[string]string{"results/blue-c1-eth0": results["0.1.0"]})
	records, err := b.Attachments()
	if err != nil || len(records) != 0 {
		t.Errorf("%d records, error %v; want none", len(records), err)
	}
	if err := b.Check(t.Context(), b.network, container("c1")); err != nil {
		t.Error(err)
	}
	if err := b.Detach(t.Context(), b.network, container("c1")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files left (-want +got)\n%s", diff)
	}
}

func TestRecordRecalls(t *testing.T) {
	b := newBench(t, t.TempDir())
	if _, err := b.Attach(t.Context(), b.network, container("c1")); err != nil {
		t.Fatal(err)
	}
	records, err := b.Attachments()
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, error %v", len(records), err)
	}
	n, err := records[0].Recorded()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.network, n); diff != "" {
		t.Errorf("network (-want +got)\n%s", diff)
	}
	single := Record{Config: []byte(`{"cniVersion":"0.4.0","name":"old","type":"x"}`)}
	if n, err = single.Recorded(); err != nil || n.Name != "old" || n.Version != "0.4.0" || len(n.Plugins) != 1 {
		t.Errorf("network of a single plugin: %+v, error %v", n, err)
	}
	for path, want := range map[string]os.FileMode{
		"results": 0o700, "results/blue-c1-eth0": 0o600, "seam": 0o700, "seam/journal": 0o700,
	} {
		st, err := os.Stat(filepath.Join(b.CacheDir, path))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, st.Mode().Perm(), want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, result := range results {
		f.Add([]byte(result))
		f.Add([]byte(`{"kind":"cniCacheV1","containerId":"c","config":"e30=","ifName":"e","networkName":"n","netns":"/x","cniArgs":[["a","b"]],"capabilityArgs":{"mac":1},"result":` + result + `}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil || r.Result == nil {
			return
		}
		again, err := r.encode()
		if err != nil {
			return // the version has no form for it, or the name no UTF-8
		}
		second, err := decodeRecord(again)
		if err != nil {
			t.Fatalf("%s\nbecame %s\nwhich is no record: %v", data, again, err)
		}
		if second.Attachment != r.Attachment || second.Version != r.Version {
			t.Errorf("%+v became %+v", r, second)
		}
	})
}

func FuzzIntent(f *testing.F) {
	f.Add([]byte(`{"verb":"ADD","network":{"Name":"n"},"containerID":"c"}` + "\n" + results["1.0.0"] + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if in, _, err := parseIntent(data); err == nil && in.Network == nil {
			t.Error("an intent without a network")
		}
	})
}

// libcni did not always write the namespace down; the result has it.
func TestRecordWithoutNamespace(t *testing.T) {
	b := newBench(t, t.TempDir())
	gone := filepath.Join(b.CacheDir, "gone")
	for name, netns := range map[string]string{"c1": gone, "c2": "/proc/1/ns/net"} {
		writeTree(t, b.CacheDir, map[string]string{"results/blue-" + name + "-eth0": `{"kind":"cniCacheV1","containerId":"` + name + `",
			"ifName":"eth0","networkName":"blue","result":{"cniVersion":"1.0.0","interfaces":[{"name":"veth1"},{"name":"eth0","sandbox":"` + netns + `"}]}}`})
	}
	records, err := b.Attachments()
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, error %v", len(records), err)
	}
	if c1 := records[0]; c1.NetNS != gone || c1.Alive() || c1.container().NetNS != gone {
		t.Errorf("namespace %q, alive %v, detached from %q; want %s, gone", c1.NetNS, c1.Alive(), c1.container().NetNS, gone)
	}
	if c2 := records[1]; !c2.Alive() || c2.container().NetNS != "" {
		t.Errorf("alive %v, detached from %q: a process may have another's ID", c2.Alive(), c2.container().NetNS)
	}
}
