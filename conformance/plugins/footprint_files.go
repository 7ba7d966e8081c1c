package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seamnet/seam/netns/scratch"
)

// isOurs reports whether the suite itself made the path.
func (h *host) isOurs(path string) bool {
	if path == podDir || strings.HasPrefix(path+"/", filepath.Dir(helperDir)+"/") {
		return true
	}
	dir, name := filepath.Split(path)
	return filepath.Clean(dir) == podDir && (name == h.outside.Name || strings.HasPrefix(name, "pod"))
}

// putFiles adds the files and folders of a host's state, without what is in them: a cursor
// may move.
func (f footprint) putFiles(skip func(path string) bool) error {
	return eachFile(skip, func(path string, d fs.DirEntry) {
		kind := "file "
		if d.IsDir() {
			kind = "folder "
		}
		f.put(kind+path, "")
	})
}

func eachFile(skip func(path string) bool, do func(path string, d fs.DirEntry)) error {
	for _, root := range scratch.StateDirs() {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist): // it went just now
				return nil
			case err != nil:
				return err
			case !skip(path):
				do(path, d)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("list files: %w", err)
		}
	}
	return nil
}

// mentions returns the files in which an attachment's container ID, or its pod's path,
// still stands.
func (h *host) mentions(all []*attachment) (found []string) {
	h.Must(eachFile(h.isOurs, func(path string, d fs.DirEntry) {
		if !d.Type().IsRegular() {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return
		}
		for _, a := range all {
			if i := bytes.Index(text, []byte(a.ID)); i >= 0 && !digitFollows(text, i+len(a.ID)) {
				found = append(found, fmt.Sprintf("left: mention of %s in the file %s", a.ID, path))
			}
		}
	}))
	return found
}

// digitFollows says that what was found is only the beginning of another pod's ID.
func digitFollows(text []byte, i int) bool { return i < len(text) && text[i] >= '0' && text[i] <= '9' }

// putMounts adds what is mounted: a namespace that is kept, say.
func (f footprint) putMounts(skip func(path string) bool) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		field := strings.Fields(line) // proc_pid_mountinfo(5)
		if dash := slices.Index(field, "-"); dash > 4 && dash+1 < len(field) && !skip(field[4]) {
			f.put("mount "+field[4]+" of type "+field[dash+1], "")
		}
	}
	return nil
}

// putProcesses adds the processes that live on this host, which has a mount namespace of
// its own; the suite's own is one.
func (f footprint) putProcesses() error {
	here, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	all, err := filepath.Glob("/proc/[0-9]*/ns/mnt")
	if err != nil {
		return err
	}
	for _, path := range all {
		dir := filepath.Dir(filepath.Dir(path))
		if there, err := os.Readlink(path); err != nil || there != here || filepath.Base(dir) == strconv.Itoa(os.Getpid()) {
			continue
		}
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err == nil {
			f.put("process "+filepath.Base(dir)+" "+strings.TrimSpace(string(name)), "")
		}
	}
	return nil
}
