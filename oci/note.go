package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// A note is what a container was attached to, with the networks as they were then:
// annotations and files may change before it is stopped. It is found by the
// container's ID and bundle, as two runtimes may each have a container "web".
type note struct {
	ID       string     `json:"id"`
	Bundle   string     `json:"bundle"`
	NetNS    string     `json:"netns"`
	Attached []attached `json:"attached"`

	file string
}

type attached struct {
	IfName  string        `json:"ifname"`
	Network *seam.Network `json:"network"`
}

// noteDigits is how much of a hash keeps two containers' notes apart.
const noteDigits = 32

func (h *Hook) noteFile(s *State) string {
	return filepath.Join(h.Notes, cni.Tag(s.ID+"\x00"+s.Bundle).Hash(noteDigits))
}

// readNote returns nil if there is none.
func readNote(file string) (*note, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("note: %w", err)
	}
	n := note{file: file}
	if err := json.Unmarshal(data, &n); err != nil {
		return nil, fmt.Errorf("note %s: %w", file, err)
	}
	return &n, nil
}

// write writes the note whole or not at all. No two hooks of a container run at once.
func (n *note) write() error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(n.file), 0o700); err != nil {
		return fmt.Errorf("note: %w", err)
	}
	scratch := n.file + scratchSuffix
	if err := os.WriteFile(scratch, data, 0o600); err != nil {
		return fmt.Errorf("note: %w", err)
	}
	if err := os.Rename(scratch, n.file); err != nil {
		return fmt.Errorf("note: %w", err)
	}
	return nil
}

const scratchSuffix = ".new"

// remove removes the note, and what a hook left that was killed while it wrote it.
func (n *note) remove() error {
	var errs []error
	for _, file := range []string{n.file, n.file + scratchSuffix} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("note: %w", err))
		}
	}
	return errors.Join(errs...)
}

// leftNetNS is the namespace's path when the container has stopped. That of a process
// is of no use then: the number may be another's by now.
func (n *note) leftNetNS() string {
	if strings.HasPrefix(n.NetNS, "/proc/") {
		return ""
	}
	return n.NetNS
}

// Collect removes the notes of containers that went without a last hook, as when the
// host's power did: those whose namespace is gone and of which records, all there
// are, hold nothing. It detaches nothing; that is Runtime.Collect's.
func (h *Hook) Collect(records []seam.Record) error {
	entries, err := os.ReadDir(h.Notes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("notes: %w", err)
	}
	var errs []error
	for _, e := range entries {
		n, err := readNote(filepath.Join(h.Notes, e.Name()))
		switch {
		case strings.HasSuffix(e.Name(), scratchSuffix): // being written, or of a killed hook, which writes it again
		case err != nil:
			errs = append(errs, err)
		case n != nil && n.stale(records):
			errs = append(errs, n.remove())
		}
	}
	return errors.Join(errs...)
}

func (n *note) stale(records []seam.Record) bool {
	if _, err := os.Stat(n.NetNS); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	return !slices.ContainsFunc(records, func(r seam.Record) bool { return r.ContainerID == ContainerID(n.ID) })
}
