package link

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// TakeLinkSnapshot returns what one link of a namespace loses when it leaves it: for a link
// that comes back, where Restore makes it again beside all else that is still there. The
// namespace must not have many links or routes.
func (h *Handle) TakeLinkSnapshot(name string) (*Snapshot, error) {
	s := new(Snapshot)
	if err := h.saveLinks(s); err != nil {
		return nil, fmt.Errorf("snapshot of link %s: %w", name, err)
	}
	s.Loopback = SavedLink{}
	s.Links = slices.DeleteFunc(s.Links, func(l SavedLink) bool { return l.Name != name })
	if len(s.Links) == 0 {
		return nil, failure("snapshot of link", name, notThere)
	}
	var errs []error
	for _, part := range []func(*Snapshot) error{h.saveAddrs, h.saveQueueing, h.saveRoutes, h.saveNeighbours, h.saveLinkSettings} {
		errs = append(errs, part(s))
	}
	index := s.Links[0].Index
	s.Routes = slices.DeleteFunc(s.Routes, func(raw SavedMessage) bool {
		r, err := parseRoute(raw)
		return err != nil || !slices.Contains(r.links(), index)
	})
	s.Neighbours = slices.DeleteFunc(s.Neighbours, func(raw SavedMessage) bool {
		m, err := parseMessage(raw, unix.SizeofNdMsg)
		return err != nil || int(m.number(4)) != index
	})
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("snapshot of link %s: %w", name, err)
	}
	return s, nil
}

// saveLinkSettings saves the settings of the only link that differ from those that a link
// gets which comes to the namespace.
func (h *Handle) saveLinkSettings(s *Snapshot) error {
	l := &s.Links[0]
	r := settingsReader{found: make(Settings), buffer: make([]byte, 1<<12)}
	err := h.ns.Do(func() error {
		for _, group := range []string{"ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"} {
			for _, of := range []string{l.Name, "default", loopback} {
				if err := r.open(filepath.Join(group, of)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
		return nil
	})
	changed := changedSettings{r.found, r.found}
	for path, value := range r.found {
		if p := parseSetting(path); p.link == l.Name && changed.is(path, changed.model(p)) {
			l.set(p.of("*"), value)
		}
	}
	return err
}

// open reads the folder of that path.
func (r settingsReader) open(path string) error {
	fd, err := unix.Open(filepath.Join(settingsFolder, path), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sysctl: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	return r.folder(fd, path+"/")
}
