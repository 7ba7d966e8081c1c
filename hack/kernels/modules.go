package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// needed are the modules without which the machine has no root, no network card and no
// /dev/net/tun. All others are loaded as on any machine, by the kernel, which calls modprobe.
var needed = []string{"virtio_pci", "9pnet_virtio", "9p", "overlay", "e1000", "virtio_net", "tun"}

// loadOrder returns the files of modules and of those that they depend on, each after
// what it needs. dep and builtin are the texts of depmod's modules.dep and of the
// kernel's modules.builtin; what is built in needs no file.
func loadOrder(dep, builtin string, names []string) ([]string, error) {
	needs := make(map[string][]string)
	for line := range strings.Lines(dep) {
		file, rest, _ := strings.Cut(line, ":")
		// depmod writes all that a module needs, the last to be loaded first.
		list := strings.Fields(rest)
		slices.Reverse(list)
		needs[moduleName(file)] = append(list, file)
	}
	for file := range strings.FieldsSeq(builtin) {
		if name := moduleName(file); needs[name] == nil {
			needs[name] = []string{}
		}
	}
	var order []string
	for _, name := range names {
		files, ok := needs[name]
		if !ok {
			return nil, fmt.Errorf("module %s: this kernel has none", name)
		}
		for _, f := range files {
			if !slices.Contains(order, f) {
				order = append(order, f)
			}
		}
	}
	return order, nil
}

// moduleName returns the name of the module in a file: kernel/net/9p/9pnet.ko.xz has 9pnet.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// bootModules returns the paths of the needed modules of an image, in order.
func (i image) bootModules() ([]string, error) {
	dir := filepath.Join(i.modules(), i.Version)
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	files, err := loadOrder(string(dep), string(builtin), needed)
	for j := range files {
		files[j] = filepath.Join(dir, files[j])
	}
	return files, err
}
