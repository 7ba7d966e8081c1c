package runtimes

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const cgroupDir = "/sys/fs/cgroup"

// mountCgroups mounts the machine's control groups again: the node's /sys, which shows
// its own links, lies over them. All that containers make there is below n.cgroup.
func (n *node) mountCgroups() {
	n.Helper()
	own, err := os.ReadFile("/proc/self/cgroup")
	n.must(err)
	lines := strings.Split(strings.TrimSpace(string(own)), "\n")
	if len(lines) == 1 { // version 2 alone
		n.must(unix.Mount("cgroup2", cgroupDir, "cgroup2", 0, ""))
	} else {
		n.must(unix.Mount("tmpfs", cgroupDir, "tmpfs", 0, "mode=755"))
		for _, line := range lines {
			n.mountHierarchy(strings.Split(line, ":")[1])
		}
	}
	n.Cleanup(n.removeCgroups)
}

// mountHierarchy mounts the control groups, version 1, of those controllers.
func (n *node) mountHierarchy(controllers string) {
	n.Helper()
	if controllers == "" { // version 2 beside version 1, which no runtime uses then
		return
	}
	name, options := controllers, controllers
	if named, ok := strings.CutPrefix(controllers, "name="); ok {
		name, options = named, "none,"+controllers
	}
	dir := filepath.Join(cgroupDir, name)
	n.must(os.Mkdir(dir, 0o755))
	n.must(unix.Mount("cgroup", dir, "cgroup", 0, options))
}

// cgroups returns the control groups below n.cgroup, that itself included.
func (n *node) cgroups() []string {
	var found []string
	for _, pattern := range []string{"", "*"} {
		tops, _ := filepath.Glob(filepath.Join(cgroupDir, pattern, n.cgroup))
		for _, top := range tops {
			_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					found = append(found, path)
				}
				return nil
			})
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// removeCgroups removes what a failed test left, and the parent, which runtimes keep.
func (n *node) removeCgroups() {
	n.Helper()
	for _, dir := range slices.Backward(n.cgroups()) {
		for procs := range strings.FieldsSeq(contents(filepath.Join(dir, "cgroup.procs"))) {
			n.kill(procs)
		}
		n.eventually(func() error { return os.Remove(dir) })
	}
}
