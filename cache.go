package seam

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
)

// recordFiles returns where an attachment's record may be: first where libcni looks
// for it, then where Seam writes it if the first is too long, or is another
// attachment's: a "-" between names that may hold one makes "a-b","c" and "a","b-c"
// the same.
func (rt *Runtime) recordFiles(a cni.Attachment) []string {
	const longest = 255
	dir := filepath.Join(rt.cacheDir(), "results")
	name := a.Network + "-" + a.ContainerID + "-" + a.IfName
	other := strings.ReplaceAll(string(a.Tag()), "/", "-") + "~" + a.Tag().Hash(hashDigits)
	if len(name) > longest {
		return []string{filepath.Join(dir, other)}
	}
	return []string{filepath.Join(dir, name), filepath.Join(dir, other)}
}

// record returns an attachment's record, nil if there is none. A record that cannot
// be read is a *corruptError.
func (rt *Runtime) record(a cni.Attachment) (*Record, error) {
	for _, file := range rt.recordFiles(a) {
		r, err := readRecord(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errBareResult):
			r.Attachment = a
			return r, nil
		case err != nil:
			return nil, err
		case r.Attachment == a:
			return r, nil
		}
	}
	return nil, nil
}

// Attached returns the record of one attachment, nil if there is none: for who knows which
// it is, as to list them all takes the longer the more there are.
func (rt *Runtime) Attached(a cni.Attachment) (*Record, error) { return rt.record(a) }

// writeRecord writes a record. The container's lock is held.
func (rt *Runtime) writeRecord(r *Record) error {
	data, err := r.encode()
	if err != nil {
		return err
	}
	file := rt.recordFiles(r.Attachment)[0]
	if other, err := readRecord(file); err == nil && other.Attachment != r.Attachment {
		file = rt.recordFiles(r.Attachment)[1]
	}
	if err := writeFile(file, rt.recordScratch(r.ContainerID), data); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// recordScratch returns the path at which a container's record is written before it
// gets its name: not beside it, where libcni would read it.
func (rt *Runtime) recordScratch(containerID string) string {
	return filepath.Join(rt.cacheDir(), "seam", cni.Tag(containerID).Hash(hashDigits)+".new")
}

// scratchOf is recordScratch of the container whose lock this is.
func (rt *Runtime) scratchOf(container *lock) string {
	return filepath.Join(rt.cacheDir(), "seam", filepath.Base(container.path)+".new")
}

// writeFile writes a file whole or not at all: under another name on the same file
// system first, which nobody else uses. Folders are made when missing.
func writeFile(file, scratch string, data []byte) error {
	err := os.WriteFile(scratch, data, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(scratch), 0o700); err != nil {
			return err
		}
		err = os.WriteFile(scratch, data, 0o600)
	}
	if err == nil {
		err = os.Rename(scratch, file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		err = os.Rename(scratch, file)
	}
	if err != nil {
		os.Remove(scratch)
	}
	return err
}

// removeRecord removes an attachment's record if there is one.
func (rt *Runtime) removeRecord(a cni.Attachment) error {
	r, err := rt.record(a)
	var corrupt *corruptError
	switch {
	case errors.As(err, &corrupt):
		return removeFile(corrupt.file)
	case err != nil:
		return err
	case r == nil:
		return nil
	}
	return removeFile(r.File)
}

func removeFile(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
