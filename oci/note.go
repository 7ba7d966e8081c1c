package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/state"
)

// A note is what a container was attached to, with the networks as they were then:
// annotations and files may change before it is stopped. It is found by the
// container's ID and bundle, as two runtimes may each have a container "web". No two
// hooks of a container run at once.
type note struct {
	ID       string     `json:"id"`
	Bundle   string     `json:"bundle"`
	NetNS    string     `json:"netns"`
	Attached []attached `json:"attached"`
}

type attached struct {
	IfName  string        `json:"ifname"`
	Network *seam.Network `json:"network"`
}

// noteDigits is how much of a hash keeps two containers' notes apart.
const noteDigits = 32

// file is where the note of a container is.
func (h *Hook) file(id, bundle string) string {
	return filepath.Join(h.Notes, cni.Tag(id+"\x00"+bundle).Hash(noteDigits))
}

func (h *Hook) write(n *note) error { return state.Write(h.file(n.ID, n.Bundle), n) }

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
	notes, err := state.List[note](h.Notes)
	errs := []error{err}
	for _, n := range notes {
		if n.stale(records) {
			errs = append(errs, state.Remove(h.file(n.ID, n.Bundle)))
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
