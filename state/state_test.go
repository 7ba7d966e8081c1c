package state_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/state"
	"golang.org/x/sys/unix"
)

type record struct {
	Name string `json:"name"`
	MTU  int    `json:"mtu,omitempty"`
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files returns the folder's files with their content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		all[e.Name()] = string(text)
	}
	return all
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folders", "made")
	path := filepath.Join(dir, "a.json")
	for range 2 {
		if r, err := state.Read[record](path); r != nil || err != nil {
			t.Errorf("a record that is not there: %v, %v", r, err)
		}
		must(t, state.Write(path, record{Name: "first", MTU: 1400}))
		must(t, state.Write(path, record{Name: "a"}))
		same(t, "files", map[string]string{"a.json": `{"name":"a"}`}, files(t, dir))
		r, err := state.Read[record](path)
		must(t, err)
		same(t, "read", &record{Name: "a"}, r)
		for range 2 {
			must(t, state.Remove(path))
		}
		same(t, "removed", map[string]string{}, files(t, dir))
	}
	for _, path := range []string{dir, path} {
		must(t, state.WriteText(path+"-text", []byte("{\n}")))
		st, err := os.Stat(path + "-text")
		must(t, err)
		same(t, path, fs.FileMode(0o600), st.Mode())
	}
	st, err := os.Stat(dir)
	must(t, err)
	same(t, "folder", 0o700|fs.ModeDir, st.Mode())
}

// TestWithoutProc: files without a name cannot get one there.
func TestWithoutProc(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "made")
		must(t, unix.Mount("none", "/proc", "tmpfs", 0, ""))
		defer func() { must(t, unix.Unmount("/proc", 0)) }()
		for _, name := range []string{"first", "second"} {
			must(t, state.Write(filepath.Join(dir, "a.json"), record{Name: name}))
			same(t, name, map[string]string{"a.json": `{"name":"` + name + `"}`}, files(t, dir))
		}
	})
}

// TestRefusedWrite: what cannot be written leaves what was there, and nothing else.
func TestRefusedWrite(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "folder/full"), 0o700)) // no file takes its place
	must(t, state.Write(filepath.Join(dir, "a"), 1))
	for path, v := range map[string]any{"a": func() {}, "folder": 2, "a/b": 3} {
		path = filepath.Join(dir, path)
		if err := state.Write(path, v); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("write %s: %v, want an error that names it", path, err)
		}
	}
	must(t, os.RemoveAll(filepath.Join(dir, "folder")))
	same(t, "files", map[string]string{"a": "1"}, files(t, dir))
}

// TestUnreadable: half a record, as a loss of power may leave it, and what is no file.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	for _, text := range []string{"", `{"name":`, `{"name":5}`} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		r, err := state.Read[record](path)
		if r != nil || !errors.Is(err, state.ErrUnreadable) || !strings.Contains(err.Error(), path+": not readable: ") {
			t.Errorf("%q: %v, %v; want ErrUnreadable with its path", text, r, err)
		}
	}
	if _, err := state.Read[record](dir); err == nil || errors.Is(err, state.ErrUnreadable) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder: %v, want an error that is not of its content", err)
	}
}

// TestKilledWrite: what it left is no record, and goes with its record, or with all that
// others left.
func TestKilledWrite(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name+".json") }
	half := func(name string) { must(t, os.WriteFile(path(name)+".tmp", []byte(`{"na`), 0o600)) }
	must(t, state.Write(path("a"), record{Name: "a"}))
	half("a")
	half("b")
	all, err := state.List[record](dir)
	must(t, err)
	same(t, "list", []*record{{Name: "a"}}, all)
	must(t, state.Remove(path("b")))
	must(t, state.Remove(path("a")))
	same(t, "removed", map[string]string{}, files(t, dir))
	half("a")
	must(t, state.Write(path("a"), record{Name: "a"}))
	half("a")
	half("b")
	must(t, state.Sweep(dir))
	same(t, "swept", map[string]string{"a.json": `{"name":"a"}`}, files(t, dir))
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"c", "a", "b"} {
		must(t, state.Write(filepath.Join(dir, name), record{Name: name}))
	}
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	for _, name := range []string{".a.json", ".hidden", "a.json~", "a.tmp123", "b.json.tmp", "d.json.swp"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	bad := filepath.Join(dir, "bad")
	must(t, os.WriteFile(bad, nil, 0o600))
	all, err := state.List[record](dir)
	same(t, "list", []*record{{Name: "a"}, {Name: "b"}, {Name: "c"}}, all)
	if !errors.Is(err, state.ErrUnreadable) || !strings.HasPrefix(err.Error(), bad+":") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want that %s, and only that, is not readable", err, bad)
	}
	all, err = state.List[record](filepath.Join(dir, "nowhere"))
	if all != nil || err != nil {
		t.Errorf("a folder that is not there: %v, %v", all, err)
	}
	must(t, state.Sweep(filepath.Join(dir, "nowhere")))
	if _, err := state.List[record](bad); err == nil {
		t.Error("what is no folder was listed")
	}
}
