package wire

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
)

// A Path finds plugins by their type: it is the cni.Finder of programs. What is
// Seam's own runs in process; what an administrator put in its place is executed.
type Path struct {
	Dirs     []string     // searched in this order; CNI_PATH of what is executed
	Builtins cni.Registry // run in process if the file found is Self, or none is found
	Self     string       // this program's file; empty: every file found is another's

	// Stderr gets what executed plugins write to stderr, as they write it. Several may
	// run at once. nil: nobody gets it.
	Stderr io.Writer
}

// Find returns the plugin of that type: one of Builtins or an *Executable. A type
// that is no file name is an error with CodeInvalidConfig; the error for one that is
// not found matches fs.ErrNotExist.
func (p Path) Find(pluginType string) (cni.Plugin, error) {
	file, builtin, err := p.Lookup(pluginType)
	if err != nil {
		return nil, err
	}
	if builtin {
		return p.Builtins.Find(pluginType)
	}
	return &Executable{File: file, Dirs: p.Dirs, Stderr: p.Stderr}, nil
}

// Lookup says where Find finds a plugin. The file is the first regular one of that
// name in Dirs; it is empty for a built-in of which there is no file. Errors are
// those of Find.
func (p Path) Lookup(pluginType string) (file string, builtin bool, err error) {
	if pluginType == "" || strings.ContainsRune(pluginType, filepath.Separator) {
		return "", false, cni.Errorf(cni.CodeInvalidConfig, "plugin type %q: must be the name of a file, without its folder", pluginType)
	}
	_, known := p.Builtins[pluginType]
	file, st := p.file(pluginType)
	switch {
	case file == "" && known:
		return "", true, nil
	case file == "":
		return "", false, fmt.Errorf("plugin %q: not built in, and not in %s: %w", pluginType, p.list(), fs.ErrNotExist)
	case !p.isSelf(file, st):
		return file, false, nil
	case known:
		return file, true, nil
	}
	return "", false, fmt.Errorf("plugin %q: %s is Seam itself, which has no such plugin: %w", pluginType, file, fs.ErrNotExist)
}

// file returns the first regular file of that name. A path without a slash would
// be looked for in PATH when executed, so "." keeps its slash.
func (p Path) file(name string) (string, fs.FileInfo) {
	for _, dir := range p.Dirs {
		if dir == "" {
			continue
		}
		file := strings.TrimSuffix(dir, "/") + "/" + name
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() {
			return file, st
		}
	}
	return "", nil
}

// isSelf reports whether the file is this program: its very file, or a copy of it.
func (p Path) isSelf(file string, st fs.FileInfo) bool {
	if p.Self == "" {
		return false
	}
	self, err := os.Stat(p.Self)
	if err != nil {
		return false
	}
	return os.SameFile(self, st) || (self.Size() == st.Size() && sameBuild(p.Self, file))
}

func (p Path) list() string { return strings.Join(p.Dirs, string(filepath.ListSeparator)) }

// pathOf returns the Path that a Finder is, or that it wraps and shows by a method
// Unwrap. Any other Finder has no folders: the zero Path.
func pathOf(f cni.Finder) Path {
	for {
		switch of := f.(type) {
		case Path:
			return of
		case *Path:
			return *of
		case interface{ Unwrap() cni.Finder }:
			f = of.Unwrap()
		default:
			return Path{}
		}
	}
}
