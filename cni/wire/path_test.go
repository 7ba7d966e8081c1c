package wire

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// lookupPath has plugins of many kinds in two folders: scripts, Seam itself by a link
// and as a copy, and another build of it.
func lookupPath(t *testing.T) (path Path, first, second string) {
	t.Helper()
	first, second = t.TempDir(), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	script(t, second, "script", "")
	script(t, second, "folder", "")
	script(t, first, "both", "")
	for file, data := range map[string][]byte{"copied": program, "other": changeBuildID(t, program)} {
		if err := os.WriteFile(filepath.Join(first, file), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{second + "/both", first + "/linked", first + "/unbuilt"} {
		if err := os.Symlink(self, file); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(first, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	builtins := cni.Registry{}
	for _, name := range []string{"script", "both", "linked", "copied", "other", "folder", "nowhere"} {
		builtins[name] = &tape{}
	}
	return Path{Dirs: []string{"", first, second + "/"}, Builtins: builtins, Self: self}, first, second
}

func TestPathLookup(t *testing.T) {
	path, first, second := lookupPath(t)
	tests := []struct {
		name, pluginType, file string
		builtin                bool
	}{
		{"no file", "nowhere", "", true},
		{"another's file", "script", second + "/script", false},
		{"another's file first", "both", first + "/both", false},
		{"Seam itself by a link", "linked", first + "/linked", true},
		{"Seam itself copied", "copied", first + "/copied", true},
		{"another build of the same size", "other", first + "/other", false},
		{"only regular files", "folder", second + "/folder", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file, builtin, err := path.Lookup(tt.pluginType)
			if err != nil || file != tt.file || builtin != tt.builtin {
				t.Errorf("Lookup(%s) = %q, %v, %v", tt.pluginType, file, builtin, err)
			}
			got, err := path.Find(tt.pluginType)
			if err != nil {
				t.Fatal(err)
			}
			want := path.Builtins[tt.pluginType]
			if !tt.builtin {
				want = &Executable{File: tt.file, Dirs: path.Dirs}
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(tape{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPathRefuses(t *testing.T) {
	path, first, _ := lookupPath(t)
	for _, pluginType := range []string{"neither", "unbuilt"} {
		if _, err := path.Find(pluginType); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Find(%s): %v, want fs.ErrNotExist", pluginType, err)
		}
	}
	for _, pluginType := range []string{"", "../script", "/bin/sh", "a/b"} {
		if _, err := path.Find(pluginType); cni.CodeOf(err) != cni.CodeInvalidConfig {
			t.Errorf("Find(%q): %v, want code %d", pluginType, err, cni.CodeInvalidConfig)
		}
	}
	path.Self = ""
	if file, builtin, err := path.Lookup("linked"); builtin || err != nil || file != first+"/linked" {
		t.Errorf("without Self: %q, built in %v, %v", file, builtin, err)
	}
}

// changeBuildID returns a program that differs in its build ID only.
func changeBuildID(t *testing.T, program []byte) []byte {
	t.Helper()
	at := bytes.Index(program, goNote)
	if at < 0 || at > firstPage {
		t.Fatalf("the Go note is at %d", at)
	}
	changed := bytes.Clone(program)
	changed[at+len(goNote)] ^= 1
	return changed
}

// TestPathInTheCurrentFolder: a bare file name must not be looked for in PATH.
func TestPathInTheCurrentFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	script(t, ".", "true", `echo '{"cniVersion":"1.0.0","supportedVersions":["9.9.9"]}'`)
	p, err := Path{Dirs: []string{"."}}.Find("true")
	if err != nil {
		t.Fatal(err)
	}
	versions, err := p.(*Executable).Versions(t.Context())
	if diff := cmp.Diff([]string{"9.9.9"}, versions); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

type onion struct{ cni.Finder }

func (o onion) Unwrap() cni.Finder { return o.Finder }

func TestPathOf(t *testing.T) {
	path := Path{Dirs: []string{"/a", "/b"}}
	for _, f := range []cni.Finder{path, &path, onion{onion{path}}} {
		if got := pathOf(f).list(); got != "/a:/b" {
			t.Errorf("%T: %q", f, got)
		}
	}
	if got := pathOf(onion{cni.Registry{}}).list(); got != "" {
		t.Errorf("no Path: %q", got)
	}
}

func BenchmarkLookup(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bridge"), program, 0o755); err != nil {
		b.Fatal(err)
	}
	path := Path{Dirs: []string{dir}, Builtins: cni.Registry{"bridge": &tape{}}, Self: self}
	for b.Loop() {
		if _, builtin, err := path.Lookup("bridge"); !builtin || err != nil {
			b.Fatal(builtin, err)
		}
	}
}
