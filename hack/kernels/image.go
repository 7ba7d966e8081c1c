package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kernels are the series that are looked for, the wanted one first.
var kernels = []string{"6.12", "6.1"}

// An image is an unpacked kernel package.
type image struct {
	Version string // as uname -r prints it
	Root    string // what is in the package: boot, lib/modules
}

func (i image) kernel() string  { return filepath.Join(i.Root, "boot", "vmlinuz-"+i.Version) }
func (i image) modules() string { return filepath.Join(i.Root, "lib", "modules") }

// findImage returns a kernel of the series ("": any that we know) from the cache, and
// if there is none, gets it from apt.
func findImage(ctx context.Context, cache, series string) (image, error) {
	wanted := kernels
	if series != "" {
		wanted = []string{series}
	}
	for _, s := range wanted {
		dirs, err := filepath.Glob(filepath.Join(cache, "linux-image-*"))
		if err != nil {
			return image{}, err
		}
		for i := range dirs {
			dirs[i] = filepath.Base(dirs[i])
		}
		if name := newest(dirs, s); name != "" {
			return image{Version: strings.TrimPrefix(name, "linux-image-"), Root: filepath.Join(cache, name)}, nil
		}
	}
	name, err := choose(ctx, wanted)
	if err != nil {
		return image{}, err
	}
	return fetch(ctx, cache, name)
}

// choose returns the newest package of the first of the series that apt has any of.
func choose(ctx context.Context, series []string) (string, error) {
	for _, update := range []bool{false, true} {
		if update {
			if err := tool(ctx, "", "apt-get", "update", "-qq"); err != nil {
				return "", err
			}
		}
		out, err := exec.CommandContext(ctx, "apt-cache", "search", "--names-only", "^linux-image-[0-9]").Output()
		if err != nil {
			return "", fmt.Errorf("apt-cache search: %w", err)
		}
		for _, s := range series {
			if name := newest(strings.Fields(string(out)), s); name != "" {
				return name, nil
			}
		}
	}
	return "", fmt.Errorf("apt has no linux-image package of %s", strings.Join(series, " or "))
}

// stock matches the names of Debian's kernels without flavours: "cloud" has no 9p, "rt"
// nothing that tests need.
var stock = regexp.MustCompile(`^linux-image-(\d+\.\d+)\.\d+(\+(deb|bpo)\d*)?(-\d+)?-amd64$`)

// newest returns the package of the series whose version is the highest, "" if none is.
func newest(names []string, series string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		m := stock.FindStringSubmatch(n)
		return m == nil || m[1] != series
	})
	if len(names) == 0 {
		return ""
	}
	return slices.MaxFunc(names, func(a, b string) int {
		return slices.Compare(numbers(a), numbers(b))
	})
}

func numbers(name string) []int {
	var all []int
	for _, d := range regexp.MustCompile(`\d+`).FindAllString(name, -1) {
		n, _ := strconv.Atoi(d)
		all = append(all, n)
	}
	return all
}

// fetch downloads and unpacks a kernel package into the cache. It is never installed:
// that would change how this machine boots.
func fetch(ctx context.Context, cache, name string) (image, error) {
	final := filepath.Join(cache, name)
	dir := final + ".new"
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return image{}, err
	}
	defer os.RemoveAll(dir)
	fmt.Println("getting", name)
	if err := tool(ctx, dir, "apt-get", "download", "-qq", name); err != nil {
		return image{}, err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		return image{}, cmp.Or(err, fmt.Errorf("download %s: %d packages, want 1", name, len(debs)))
	}
	version := strings.TrimPrefix(name, "linux-image-")
	if err := tool(ctx, dir, "dpkg-deb", "-x", debs[0], dir); err != nil {
		return image{}, err
	}
	if err := tool(ctx, dir, "depmod", "-b", dir, version); err != nil {
		return image{}, err
	}
	return image{Version: version, Root: final}, errors.Join(os.Remove(debs[0]), os.Rename(dir, final))
}

// tool runs a program in a folder, and says what it printed if it fails.
func tool(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
