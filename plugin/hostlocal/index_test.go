package hostlocal

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// TestIndexIsUsed plants a lease without a trace in the folder's time, which no
// program but this does: an Add that does not see it has not listed the folder.
func TestIndexIsUsed(t *testing.T) {
	h := newHost(t)
	h.add(request("c1", simple))
	if !h.trusted() {
		t.Fatal("after ADD the index is not marked as right")
	}
	dir := filepath.Join(h.dir, "net")
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	h.write("10.1.0.77", "c2\r\neth0")
	if err := os.Chtimes(dir, time.Time{}, before.ModTime()); err != nil {
		t.Fatal(err)
	}
	h.add(request("c2", simple))
	h.del(request("c1", simple))
	if !h.trusted() {
		t.Error("after DEL the index is not marked as right")
	}
	if diff := cmp.Diff("10.1.0.3 \"c2\\r\\neth0\"\n10.1.0.77 \"c2\\r\\neth0\"\n", h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
}

// TestIndexNoticesOthers: whatever else changes the folders is noticed, be it in
// the moment after a call.
func TestIndexNoticesOthers(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(h *host)
		index  []string // after an ADD of c9
	}{
		{"a lease is added", func(h *host) { h.write("10.1.0.77", "c2\r\neth0") }, []string{"10.1.0.2", "10.1.0.3", "10.1.0.77"}},
		{"a lease is removed", func(h *host) { os.Remove(filepath.Join(h.dir, "net/10.1.0.2")) }, []string{"10.1.0.3"}},
		{"a lease is empty", func(h *host) { h.write("10.1.0.3", "") }, []string{"10.1.0.2", "10.1.0.3"}},
		{"the index is removed", func(h *host) { os.RemoveAll(filepath.Join(h.dir, ".seam")) }, []string{"10.1.0.2", "10.1.0.3"}},
		{"an entry is removed", func(h *host) {
			os.Remove(filepath.Join(newBook(h.dir, "net", "boot-1").index, holder{"c1", "eth0"}.key()))
		}, []string{"10.1.0.2", "10.1.0.3"}},
		{"junk is in the index", func(h *host) {
			os.WriteFile(filepath.Join(newBook(h.dir, "net", "boot-1").index, holder{"c1", "eth0"}.old().key()), nil, 0o600)
		}, []string{"10.1.0.2", "10.1.0.3"}},
		{"the leases are removed", func(h *host) { os.RemoveAll(filepath.Join(h.dir, "net")) }, []string{"10.1.0.2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.add(request("c1", simple))
			test.change(h)
			if h.trusted() {
				t.Fatal("the change was not noticed")
			}
			h.add(request("c9", simple))
			if !h.trusted() {
				t.Error("the index was not made anew")
			}
			if diff := cmp.Diff(test.index, sorted(h.index())); diff != "" {
				t.Errorf("index (-want +got):\n%s", diff)
			}
		})
	}
}

// TestKilledBeforeMark: an Add that ended before it marked the index as right leaves
// nothing that the next call does not put right.
func TestKilledBeforeMark(t *testing.T) {
	for _, first := range []string{"c0", ""} { // with and without an index that was right
		h := newHost(t)
		if first != "" {
			h.add(request(first, simple))
		}
		r := request("c1", simple)
		b, err := h.open(t.Context(), r, "", (*book).create)
		if err != nil {
			t.Fatal(err)
		}
		conf, err := decode(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := allocate(t.Context(), b, conf.sets, nil, holderOf(r.Attachment)); err != nil {
			t.Fatal(err)
		}
		// A second name for the lease, as after "link" and before "remove".
		if err := os.Link(b.path(conf.sets[0][0].First.Next()), filepath.Join(b.index, "new")); err != nil {
			t.Fatal(err)
		}
		b.lock.Close()
		before := h.leases()
		h.add(request("c2", simple))
		h.del(request("c2", simple))
		if diff := cmp.Diff(before, h.leases()); diff != "" {
			t.Errorf("leases (-want +got):\n%s", diff)
		}
		h.del(r)
		if first != "" {
			h.del(request(first, simple))
		}
		if diff := cmp.Diff("", h.leases()); diff != "" {
			t.Errorf("leases (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(0, len(h.index())); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
	}
}

// TestReboot: leases of before the boot are freed by the first call after it.
func TestReboot(t *testing.T) {
	const ipam = `{"subnet": "10.1.0.0/29"}`
	for _, test := range []struct {
		name string
		call func(h *host) error
		want string
	}{
		{"ADD", func(h *host) error { _, err := h.Add(h.t.Context(), request("c1", ipam)); return err },
			"10.1.0.2 \"c1\\r\\neth0\"\n"},
		{"DEL", func(h *host) error { return h.Del(h.t.Context(), request("c9", ipam)) }, ""},
		{"GC", func(h *host) error {
			r := request("", ipam)
			r.Valid = []cni.Attachment{{ContainerID: "c1", IfName: "eth0"}} // a container may keep its ID
			return h.GC(h.t.Context(), r)
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			for _, id := range []string{"c1", "c2", "c3", "c4", "c5"} {
				h.add(request(id, ipam))
			}
			h.reboot("boot-2")
			if err := test.call(h); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, h.leases()); diff != "" {
				t.Errorf("leases (-want +got):\n%s", diff)
			}
			folders, err := filepath.Glob(filepath.Join(h.dir, ".seam/net/*"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{filepath.Join(h.dir, ".seam/net/boot-2")}, folders); diff != "" {
				t.Errorf("index folders (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRebootBesideReference: after a boot the reference plugin was called first. What
// it leased in this boot stays, even to a holder of an earlier one.
func TestRebootBesideReference(t *testing.T) {
	h := newHost(t)
	h.add(request("c1", simple))
	h.add(request("c2", simple))
	h.write("10.1.0.50", "c3\r\neth0")
	h.add(request("c4", simple)) // c3's lease is known from here on
	h.reboot("boot-2")
	b := newBook(h.dir, "net", "boot-1")
	booted, err := os.Stat(b.index)
	if err != nil {
		t.Fatal(err)
	}
	h.write("10.1.0.60", "c2\r\neth0") // of this boot, its holder of both
	h.write("10.1.0.61", "c5\r\neth0") // of this boot
	later := booted.ModTime().Add(time.Minute)
	for _, name := range []string{"10.1.0.60", "10.1.0.61"} {
		if err := os.Chtimes(filepath.Join(h.dir, "net", name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	h.write("10.1.0.62", "c6\r\neth0") // of nobody that was known: the clock was wrong
	h.del(request("c9", simple))
	want := "10.1.0.60 \"c2\\r\\neth0\"\n10.1.0.61 \"c5\\r\\neth0\"\n10.1.0.62 \"c6\\r\\neth0\"\n"
	if diff := cmp.Diff(want, h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
	h.reboot("boot-3")
	if err := os.Chtimes(filepath.Join(h.dir, "net/10.1.0.60"), booted.ModTime(), booted.ModTime()); err != nil {
		t.Fatal(err)
	}
	h.del(request("c9", simple))
	if diff := cmp.Diff("10.1.0.61 \"c5\\r\\neth0\"\n", h.leases()); diff != "" {
		t.Errorf("leases after the next boot, c5's being from the future (-want +got):\n%s", diff)
	}
}

// TestFirstUse: in a folder that the reference plugin has kept so far nothing is
// freed, however old it looks: its containers may run.
func TestFirstUse(t *testing.T) {
	h := newHost(t)
	h.write("10.1.0.5", "c1\r\neth0")
	old := time.Unix(0, 0)
	if err := os.Chtimes(filepath.Join(h.dir, "net/10.1.0.5"), old, old); err != nil {
		t.Fatal(err)
	}
	h.add(request("c2", simple))
	if diff := cmp.Diff("10.1.0.2 \"c2\\r\\neth0\"\n10.1.0.5 \"c1\\r\\neth0\"\n", h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
}

func BenchmarkAddDel(b *testing.B) {
	for _, bench := range []struct {
		name string
		held int
	}{{"empty", 0}, {"1000 held", 1000}} {
		b.Run(bench.name, func(b *testing.B) {
			h := newHost(b)
			const ipam = `{"subnet": "10.1.0.0/16"}`
			for i := range bench.held {
				r := request("held", ipam)
				r.ContainerID += string(rune('a'+i%26)) + time.Duration(i).String()
				h.add(r)
			}
			r := request("c1", ipam)
			for b.Loop() {
				h.add(r)
				h.del(r)
			}
		})
	}
}
