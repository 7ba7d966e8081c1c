package link

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seamnet/seam/netns"
	"golang.org/x/sys/unix"
)

// Settings are values by their paths below /proc/sys/net.
type Settings map[string]string

// saveSettings saves the settings that differ from those of fresh: of a link, from those
// that fresh would give a new one.
func (h *Handle) saveSettings(s *Snapshot, fresh Settings) error {
	has, err := ReadSettings(h.ns)
	if err != nil {
		return err
	}
	changed := changedSettings{has, fresh}
	s.Settings = make(Settings)
	for path, value := range has {
		p := parseSetting(path)
		if p.link == "" || p.general() {
			if changed.is(path, path) || p.link != "" && changed.forAll(p) {
				s.Settings[path] = value
			}
			continue
		}
		l := s.byName(p.link)
		if l == nil || p.leaf == "mtu" && value == strconv.Itoa(l.MTU) { // IPv6's follows the link's
			continue
		}
		if changed.is(path, changed.model(p)) || changed.forAll(p) {
			l.set(p.of("*"), value)
		}
	}
	return nil
}

// changedSettings are those of a namespace beside those of a fresh one.
type changedSettings struct{ has, fresh Settings }

func (c changedSettings) is(path, from string) bool { return c.has[path] != c.fresh[from] }

// forAll reports whether the setting was changed for all links: writing that again would
// change those of single links that were set otherwise since.
func (c changedSettings) forAll(p setting) bool {
	all := p.of("all")
	return p.link != "all" && c.has[all] != c.fresh[all]
}

// model returns the setting of fresh that a new link would get. Of neighbours, only the
// machine's first namespace shows it; lo has got it as well.
func (c changedSettings) model(p setting) string {
	if path := p.of("default"); c.fresh[path] != "" {
		return path
	}
	return p.of(loopback)
}

func (s *Snapshot) byName(name string) *SavedLink {
	for i := range s.Links {
		if s.Links[i].Name == name {
			return &s.Links[i]
		}
	}
	return nil
}

func (l *SavedLink) set(path, value string) {
	if l.Settings == nil {
		l.Settings = make(Settings)
	}
	l.Settings[path] = value
}

// A setting is a path below /proc/sys/net in parts: of a link "ipv4/conf", "eth0" and
// "arp_notify"; of none, only the last.
type setting struct{ group, link, leaf string }

func parseSetting(path string) setting {
	part := strings.Split(path, "/")
	if len(part) == 4 && (part[1] == "conf" || part[1] == "neigh") {
		return setting{part[0] + "/" + part[1], part[2], part[3]}
	}
	return setting{leaf: path}
}

func (s setting) of(link string) string { return s.group + "/" + link + "/" + s.leaf }

func (s setting) general() bool { return slices.Contains([]string{"all", "default", loopback}, s.link) }

const settingsFolder = "/proc/sys/net"

// ReadSettings returns all settings of a namespace that can be read and written. It takes
// milliseconds.
func ReadSettings(ns *netns.Namespace) (Settings, error) {
	r := settingsReader{found: make(Settings), buffer: make([]byte, 1<<16)}
	err := ns.Do(func() error {
		fd, err := unix.Open(settingsFolder, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("sysctl: %w", &fs.PathError{Op: "open", Path: settingsFolder, Err: err})
		}
		return r.folder(fd, "")
	})
	return r.found, err
}

// A settingsReader reads a thousand files, with as few calls of the kernel for each as
// can be.
type settingsReader struct {
	found  Settings
	buffer []byte
}

// folder reads a folder, and closes it.
func (r settingsReader) folder(fd int, path string) error {
	defer unix.Close(fd)
	var names []string
	list := make([]byte, 1<<13)
	for {
		n, err := unix.ReadDirent(fd, list)
		if errors.Is(err, unix.ENOENT) { // gone with its link
			return nil
		}
		if err != nil {
			return fmt.Errorf("sysctl: %w", &fs.PathError{Op: "read", Path: filepath.Join(settingsFolder, path), Err: err})
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(list[:n], -1, names)
	}
	for _, name := range names {
		if err := r.file(fd, name, path+name); err != nil {
			return err
		}
	}
	return nil
}

// file reads a setting or a folder. What cannot be written and read cannot be opened for
// both, whoever asks; where /proc/sys is read-only, everything is read.
func (r settingsReader) file(at int, name, path string) error {
	fd, err := unix.Openat(at, name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EROFS) {
		fd, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if errors.Is(err, unix.EISDIR) {
		if fd, err = unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			return r.folder(fd, path+"/")
		}
	}
	if err != nil { // not for us, or gone with its link
		return nil
	}
	defer unix.Close(fd)
	if n, err := unix.Read(fd, r.buffer); err == nil && n < len(r.buffer) {
		r.found[path] = strings.TrimSpace(string(r.buffer[:n]))
	}
	return nil
}

// writeSettings writes the settings in the calling thread's namespace. What is for all
// links changes them, so it comes first; what is refused may depend on another one, and is
// tried again.
func writeSettings(settings Settings) error {
	left := slices.Sorted(maps.Keys(settings))
	return untilDone(left, func(path string) error { return Sysctl(path).Set(settings[path]) })
}

// untilDone does something to each, and again to those that were refused as long as that
// succeeds with one of them: they may depend on one another. It returns the last errors.
func untilDone[T any](all []T, do func(T) error) error {
	for {
		var errs []error
		var left []T
		for _, one := range all {
			if err := do(one); err != nil {
				left, errs = append(left, one), append(errs, err)
			}
		}
		if len(left) == 0 || len(left) == len(all) {
			return errors.Join(errs...)
		}
		all = left
	}
}
