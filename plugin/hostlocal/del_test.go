package hostlocal

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// TestDel: what the attachment holds is freed, whatever has become of the
// configuration; what others hold is not.
func TestDel(t *testing.T) {
	const others = "10.1.0.8 \"c1\\r\\neth1\"\n10.1.0.9 \"c10\\r\\neth0\"\n"
	for _, test := range []struct {
		name string
		ipam string
		more []string
	}{
		{name: "as added", ipam: `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}`},
		{name: "other ranges", ipam: `{"ranges": [[{"subnet": "10.9.0.0/24"}]]}`},
		{name: "invalid ranges", ipam: `{"ranges": [[{"subnet": "10.1.0.9/24"}], []]}`},
		{name: "ranges of a wrong type", ipam: `{"ranges": "10.1.0.0/24"}`},
		{name: "no ranges", ipam: `{}`},
		{name: "no ipam", ipam: `null`},
		{name: "bad requests", ipam: simple, more: []string{`"runtimeConfig": {"ips": ["x"]}`, `"args": 5`}},
		{name: "resolver is gone", ipam: `{"subnet": "10.1.0.0/24", "resolvConf": "/nonexistent"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.write("10.1.0.8", "c1\r\neth1")
			h.write("10.1.0.9", "c10\r\neth0")
			h.add(request("c1", `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}`))
			r := request("c1", test.ipam, test.more...)
			r.Args = cni.Args{{Key: "unknown", Value: "key"}}
			for range 2 {
				h.del(r)
				if diff := cmp.Diff(others, h.leases()); diff != "" {
					t.Errorf("leases (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff([]string{"10.1.0.8", "10.1.0.9"}, sorted(h.index())); diff != "" {
				t.Errorf("index (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDelOfNothing(t *testing.T) {
	h := newHost(t)
	h.del(request("c1", simple))
	if _, err := os.Stat(h.dir); !os.IsNotExist(err) {
		t.Errorf("DEL made %s", h.dir)
	}
}

// TestDelOldFiles: files with an ID only are freed, but not while there are newer
// ones of the attachment, as in the reference plugin.
func TestDelOldFiles(t *testing.T) {
	h := newHost(t)
	h.write("10.1.0.4", "c1")
	h.write("10.1.0.5", "c1\r\neth0")
	h.write("10.1.0.6", "c1\n")
	r := request("c1", simple)
	h.del(r)
	if diff := cmp.Diff("10.1.0.4 \"c1\"\n10.1.0.6 \"c1\\n\"\n", h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
	h.del(r)
	if diff := cmp.Diff("", h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
}

// TestDelLeavesOthersFiles: only files named like an address are leases.
func TestDelLeavesOthersFiles(t *testing.T) {
	h := newHost(t)
	h.write("notes.txt", "c1\r\neth0")
	h.write("sub/10.1.0.7", "c1\r\neth0")
	h.add(request("c1", simple))
	before := len(h.files())
	h.del(request("c1", simple))
	if after := h.files(); len(after) != before-len("10.1.0.2 \"c1\\r\\neth0\"\n") {
		t.Errorf("files after DEL:\n%s", after)
	}
}

// TestDelAnothersAddress: the index is not believed about a lease that is another's.
func TestDelAnothersAddress(t *testing.T) {
	h := newHost(t)
	h.add(request("c1", simple))
	b := newBook(h.dir, "net", "boot-1")
	if err := os.WriteFile(b.path(netip.MustParseAddr("10.1.0.2")), []byte("c2\r\neth0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !h.trusted() {
		t.Fatal("writing into a file changed the folder's time")
	}
	h.del(request("c1", simple))
	if diff := cmp.Diff("10.1.0.2 \"c2\\r\\neth0\"\n", h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
}

func TestDelDataDir(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	r := request("c1", `{"subnet": "10.1.0.0/24", "dataDir": "`+dir+`"}`)
	h.add(r)
	lease := filepath.Join(dir, "net/10.1.0.2")
	if _, err := os.Stat(lease); err != nil {
		t.Fatal(err)
	}
	h.del(request("c1", `{"ranges": 5, "dataDir": "`+dir+`"}`))
	if _, err := os.Stat(lease); !os.IsNotExist(err) {
		t.Errorf("%s is still there", lease)
	}
}

// TestDelRelativeDataDir: with one, ADD gives nothing, and so there is nothing to fail on.
func TestDelRelativeDataDir(t *testing.T) {
	t.Chdir(t.TempDir())
	h := newHost(t)
	r := request("c1", `{"subnet": "10.1.0.0/24", "dataDir": "leases"}`)
	_, err := h.Add(t.Context(), r)
	wantError(t, err, cni.CodeInvalidConfig, `host-local: network "net": ipam.dataDir "leases": must be an absolute path`)
	h.del(r)
	r.Valid = []cni.Attachment{}
	if err := h.GC(t.Context(), r); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestNetworkNameIsNoPath: a name becomes a folder's, so it is checked here too.
func TestNetworkNameIsNoPath(t *testing.T) {
	h := newHost(t)
	for _, name := range []string{"", "../net", ".seam", "a/b"} {
		r := request("c1", simple)
		r.Network = name
		r.Valid = []cni.Attachment{}
		_, err := h.Add(t.Context(), r)
		for verb, err := range map[string]error{"ADD": err, "DEL": h.Del(t.Context(), r), "GC": h.GC(t.Context(), r)} {
			if code := cni.CodeOf(err); code != cni.CodeInvalidConfig {
				t.Errorf("%s on network %q: %v, code %d; want code %d", verb, name, err, code, cni.CodeInvalidConfig)
			}
		}
	}
}

func TestGC(t *testing.T) {
	const ipam = `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}`
	valid := func(ids ...string) []cni.Attachment {
		list := []cni.Attachment{}
		for _, id := range ids {
			list = append(list, cni.Attachment{ContainerID: id, IfName: "eth0"})
		}
		return list
	}
	for _, test := range []struct {
		name  string
		ipam  string
		valid []cni.Attachment
		want  string
	}{
		{
			name: "not told: nothing is freed",
			ipam: ipam,
			want: "10.1.0.2 \"c1\\r\\neth0\"\n10.1.0.3 \"c2\\r\\neth0\"\n10.1.0.8 \"c1\"\n10.1.0.9 \"\"\nfd00::2 \"c1\\r\\neth0\"\nfd00::3 \"c2\\r\\neth0\"\n",
		},
		{
			name: "some are valid, in either form", ipam: ipam, valid: valid("c1", "c3"),
			want: "10.1.0.2 \"c1\\r\\neth0\"\n10.1.0.8 \"c1\"\nfd00::2 \"c1\\r\\neth0\"\n",
		},
		{
			name: "the configuration is not valid", ipam: `{"ranges": 5}`, valid: valid("c2"),
			want: "10.1.0.3 \"c2\\r\\neth0\"\nfd00::3 \"c2\\r\\neth0\"\n",
		},
		{name: "none is valid", ipam: ipam, valid: valid()},
		{
			name: "another interface is valid", ipam: ipam,
			valid: []cni.Attachment{{Network: "net", ContainerID: "c1", IfName: "eth1"}},
			want:  "10.1.0.8 \"c1\"\n", // of a container that is there
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.add(request("c1", ipam))
			h.add(request("c2", ipam))
			h.write("10.1.0.8", "c1")
			h.write("10.1.0.9", "")
			r := request("", test.ipam)
			r.IfName, r.Valid = "", test.valid
			for range 2 {
				if err := h.GC(t.Context(), r); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(test.want, h.leases()); diff != "" {
					t.Errorf("leases (-want +got):\n%s", diff)
				}
			}
		})
	}
	if err := newHost(t).GC(t.Context(), &cni.Request{Attachment: cni.Attachment{Network: "net"}, Valid: valid()}); err != nil {
		t.Errorf("without a folder: %v", err)
	}
}

// TestFreeWithoutIndex: where no index can be written, leases are freed all the
// same, and GC and DEL say what is wrong.
func TestFreeWithoutIndex(t *testing.T) {
	h := newHost(t)
	h.write("10.1.0.2", "c1\r\neth0")
	h.write("10.1.0.3", "c2\r\neth0")
	h.write("10.1.0.4", "c3\r\neth0")
	if err := os.WriteFile(filepath.Join(h.dir, ".seam"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Del(t.Context(), request("c1", simple)); err == nil {
		t.Error("DEL: no error")
	}
	if diff := cmp.Diff("10.1.0.3 \"c2\\r\\neth0\"\n10.1.0.4 \"c3\\r\\neth0\"\n", h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
	r := request("", simple)
	r.Valid = []cni.Attachment{}
	if err := h.GC(t.Context(), r); err == nil {
		t.Error("GC: no error")
	}
	if diff := cmp.Diff("", h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
}
