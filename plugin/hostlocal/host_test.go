package hostlocal

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
)

var netipValues = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// A host has a folder of leases, and boots when it is told to.
type host struct {
	*hostLocal
	t    testing.TB
	dir  string
	boot string
}

func newHost(t testing.TB) *host {
	h := &host{t: t, dir: filepath.Join(t.TempDir(), "networks"), boot: filepath.Join(t.TempDir(), "boot_id")}
	h.reboot("boot-1")
	return h
}

func (h *host) reboot(id string) {
	h.t.Helper()
	if err := os.WriteFile(h.boot, []byte(id+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.hostLocal = newPlugin(h.dir, h.boot)
}

const simple = `{"subnet": "10.1.0.0/24"}`

// request returns a request on network "net" with that "ipam" object; more are
// further keys of the configuration.
func request(id, ipamKeys string, more ...string) *cni.Request {
	keys := append([]string{`"ipam": ` + ipamKeys}, more...)
	return &cni.Request{
		Attachment: cni.Attachment{Network: "net", ContainerID: id, IfName: "eth0"},
		Config: cni.Config{
			Name: "net", Version: "1.1.0", Type: "host-local",
			JSON: []byte("{" + strings.Join(keys, ", ") + "}"),
		},
	}
}

// add returns the addresses given.
func (h *host) add(r *cni.Request) []string {
	h.t.Helper()
	result, err := h.Add(h.t.Context(), r)
	if err != nil {
		h.t.Fatalf("add %s: %v", r.ContainerID, err)
	}
	return addresses(result)
}

func addresses(r *cni.Result) []string {
	var addrs []string
	for _, ip := range r.IPs {
		addrs = append(addrs, ip.Address.Addr().String())
	}
	return addrs
}

func (h *host) del(r *cni.Request) {
	h.t.Helper()
	if err := h.Del(h.t.Context(), r); err != nil {
		h.t.Fatalf("del %s: %v", r.ContainerID, err)
	}
}

func (h *host) write(name, content string) {
	h.t.Helper()
	path := filepath.Join(h.dir, "net", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// files returns the network's files as text: a name a line, with its content.
func (h *host) files() string {
	h.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(filepath.Join(h.dir, "net"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %q\n", d.Name(), data)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return b.String()
}

// leases returns the leases among them.
func (h *host) leases() string {
	h.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(h.files()) {
		name, _, _ := strings.Cut(line, " ")
		if _, ok := leaseAddr(name); ok {
			b.WriteString(line)
		}
	}
	return b.String()
}

// index returns the index of the running boot, a line a holder's addresses.
func (h *host) index() []string {
	h.t.Helper()
	links, err := filepath.Glob(filepath.Join(h.dir, ".seam/net", "*", strings.Repeat("?", 32)))
	if err != nil {
		h.t.Fatal(err)
	}
	var entries []string
	for _, l := range links {
		entry, err := os.Readlink(l)
		if err != nil {
			h.t.Fatal(err)
		}
		entries = append(entries, entry)
	}
	return entries
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// trusted reports whether the next call goes by the index.
func (h *host) trusted() bool {
	h.t.Helper()
	boot, err := h.bootID()
	if err != nil {
		h.t.Fatal(err)
	}
	return newBook(h.dir, "net", boot).marked()
}

func wantError(t testing.TB, err error, code cni.Code, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", text)
	}
	if diff := cmp.Diff(text, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if got := cni.CodeOf(err); got != code {
		t.Errorf("code %d, want %d", got, code)
	}
}
