package bandwidth

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
)

// An intent is the record of an ifb that is about to be made: the kernel makes it without
// an alias, by which it would be collected. It is there while the ifb has none, and stays
// if the plugin is killed in between.
type intent struct {
	Tag  cni.Tag `json:"tag"`
	Link string  `json:"link"`
}

// intents is the folder of them. It ends with the kernel's state.
type intents struct{ dir string }

func newIntents(h *plugin.Host) intents { return intents{filepath.Join(h.Dirs.State, "bandwidth")} }

func (i intents) path(tag cni.Tag) string { return filepath.Join(i.dir, tag.Hash(32)+".json") }

func (i intents) write(tag cni.Tag) error {
	return state.Write(i.path(tag), intent{tag, linkName(tag)})
}

func (i intents) remove(tag cni.Tag) error { return state.Remove(i.path(tag)) }

// retain deletes what was begun for attachments of the network that are not valid.
func (i intents) retain(links *link.Handle, network string, valid []cni.Tag) error {
	all, err := state.List[intent](i.dir)
	errs := []error{err, state.Sweep(i.dir)}
	for _, n := range all {
		if !n.Tag.In(network) || slices.Contains(valid, n.Tag) {
			continue
		}
		err := unlessGone(links.Delete(n.Link))
		if err == nil {
			err = i.remove(n.Tag)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
