package runtimes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/plugin/plugintest"
	"golang.org/x/sys/unix"
)

var counted = regexp.MustCompile(`counter packets \d+ bytes \d+`)

// footprint returns all that is of the node, as lines: links, addresses, routes,
// firewall, processes, mounts, control groups, namespaces, and files of plugins and
// runtimes. It waits until nothing comes or goes: after an exec Podman's monitor still
// runs for a moment.
func (n *node) footprint() string {
	n.Helper()
	before := n.glance()
	n.eventually(func() error {
		time.Sleep(150 * time.Millisecond)
		now := n.glance()
		diff := cmp.Diff(before, now)
		before = now
		if diff != "" {
			return fmt.Errorf("something comes and goes (-before +now):\n%s", diff)
		}
		return nil
	})
	return before
}

// glance is the footprint of this moment.
func (n *node) glance() string {
	n.Helper()
	lines := strings.Split(counted.ReplaceAllString(plugintest.State(n), "counter"), "\n")
	lines = append(lines, processes()...)
	lines = append(lines, mounts()...)
	lines = append(lines, n.cgroups()...)
	for _, dir := range []string{"/var/lib/cni", "/run/seam", "/run/netns", "/run/containerd"} {
		// Of two that let go of a network's lock at the same moment neither removes its file.
		lines = append(lines, slices.DeleteFunc(files(dir), func(f string) bool { return filepath.Dir(f) == "/run/seam/networks" })...)
	}
	return strings.Join(lines, "\n")
}

// same waits until the node is as it was, or fails.
func (n *node) same(before string) {
	n.Helper()
	n.eventually(func() error {
		if diff := cmp.Diff(before, n.glance()); diff != "" {
			return fmt.Errorf("something is left, or gone (-before +now):\n%s", diff)
		}
		return nil
	})
}

// processes returns the names of all that run, sorted.
func processes() []string {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	var found []string
	for _, file := range names {
		if name := contents(file); name != "" { // else it ended just now
			found = append(found, "process "+strings.TrimSpace(name))
		}
	}
	slices.Sort(found)
	return found
}

func mounts() []string {
	var found []string
	for line := range strings.Lines(contents("/proc/self/mountinfo")) {
		fields := strings.Fields(line)
		kind := fields[slices.Index(fields, "-")+1]
		// Podman's own, which it takes away unless another of its processes is there still.
		if strings.HasSuffix(fields[4], "/podman/overlay") {
			continue
		}
		found = append(found, "mount "+kind+" "+fields[4])
	}
	slices.Sort(found)
	return found
}

// files returns what is below a folder, without folders: some appear with the first
// use and stay.
func files(dir string) []string {
	var found []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return nil
	})
	return found
}

// contents returns what is in a file, nothing if it is not there.
func contents(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(data)
}

// kill ends a process of the node.
func (n *node) kill(pid string) {
	n.Helper()
	number, err := strconv.Atoi(pid)
	n.must(err)
	if err := unix.Kill(number, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		n.Error(err)
	}
}
