package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	cni "github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// What is the program seam beside this one runs in process, what was put in its place
// later is executed.
func TestSibling(t *testing.T) {
	tests := []struct {
		name    string
		program string // seam, beside; empty: there is none
		builtin bool
	}{
		{"of this version", "#!/bin/sh\necho seam   devel; echo go 1.26\n", true},
		{"of another", "#!/bin/sh\necho seam v1.2.3\n", false},
		{"hangs", "#!/bin/sh\nsleep 100\n", false},
		{"another program", "#!/bin/sh\nexit 1\n", false},
		{"none", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			self, beside, plugins := filepath.Join(dir, "seamd"), filepath.Join(dir, "seam"), t.TempDir()
			write(t, self, "seamd")
			write(t, filepath.Join(plugins, "ptp"), "another's")
			if tt.program != "" {
				write(t, beside, tt.program)
				if err := os.Link(beside, filepath.Join(plugins, "bridge")); err != nil {
					t.Fatal(err)
				}
			}
			s := openSibling(t.Context(), self, slog.New(slog.DiscardHandler))
			defer s.close()
			path := cni.Path{Dirs: []string{plugins}, Self: s.path(), Builtins: all.Registry(plugin.NewHost(plugin.DefaultDirs))}
			if tt.program != "" {
				wantBuiltin(t, path, "bridge", tt.builtin)
			}
			wantBuiltin(t, path, "ptp", false)

			// a later version is installed
			later := filepath.Join(dir, "later")
			write(t, later, "#!/bin/sh\necho seam devel2\n")
			for _, file := range []string{beside, filepath.Join(plugins, "bridge")} {
				if err := errors.Join(os.Link(later, file+".new"), os.Rename(file+".new", file)); err != nil {
					t.Fatal(err)
				}
			}
			wantBuiltin(t, path, "bridge", false)
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func wantBuiltin(t *testing.T, path cni.Path, name string, want bool) {
	t.Helper()
	if _, got, err := path.Lookup(name); err != nil || got != want {
		t.Errorf("%s: in process %v, error %v; want %v", name, got, err, want)
	}
}
