package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// inventory tells, a line each, the links of the host, its named namespaces, and the
// files in which attachments are remembered. Locks and cursors, which outlive
// attachments, are left out.
func (s *stage) inventory() (string, error) {
	host, err := s.Host.Links()
	if err != nil {
		return "", err
	}
	links, err := host.List()
	if err != nil {
		return "", err
	}
	var all []string
	for _, l := range links {
		all = append(all, "link "+l.Name)
	}
	files := []string{netnsDir, cacheDir, s.Host.Dirs.Leases, s.Host.Dirs.State}
	for _, dir := range files {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !outlives(path) {
				all = append(all, "file "+path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n"), nil
}

// outlives reports whether the file is a lock or a cursor. Those of networks are the
// only files right below a folder "networks"; leases are one deeper.
func outlives(path string) bool {
	name := filepath.Base(path)
	return strings.HasSuffix(name, "lock") || strings.HasPrefix(name, "last_reserved_ip") || filepath.Base(filepath.Dir(path)) == "networks"
}

// nothingLeft removes the bridges, which plugins make and leave for the next
// container, and compares with what was there before the first one.
func nothingLeft(_ context.Context, s *stage) ([]string, error) {
	host, err := s.Host.Links()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, bridge := range []string{"demo0", "told0"} {
		if err := host.Delete(bridge); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	after, err := s.inventory()
	errs = append(errs, err)
	before := strings.Split(s.before, "\n")
	for _, line := range strings.Split(after, "\n") {
		if !slices.Contains(before, line) {
			errs = append(errs, fmt.Errorf("left: %s", line))
		}
	}
	if s.neighbour != nil {
		errs = append(errs, s.neighbour.remove())
	}
	return []string{"no link, lease, rule, record or namespace; the two empty bridges went last"}, errors.Join(append(errs, os.RemoveAll(root))...)
}
