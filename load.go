package seam

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/seamnet/seam/cni"
)

// Load returns the network of that name from a folder of configurations: the first
// of its *.conflist files in the order of their names, else of its *.conf and *.json
// files. A broken file that stands before it is an error, as it might be the one that is
// meant. If there is none the error matches fs.ErrNotExist.
func Load(dir, name string) (*Network, error) {
	lists, err := configFiles(dir, ".conflist")
	if err != nil {
		return nil, err
	}
	for _, file := range lists {
		n, err := LoadFile(file)
		if err != nil || n.Name == name {
			return n, err
		}
	}
	singles, err := configFiles(dir, ".conf", ".json")
	if err != nil {
		return nil, err
	}
	for _, file := range singles {
		n, err := loadSingle(file, func(found string) bool { return found == name })
		if err != nil || n != nil {
			return n, err
		}
	}
	if len(lists)+len(singles) == 0 {
		return nil, fmt.Errorf("network %q: no network configuration in %s: %w", name, dir, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("network %q: none of the files in %s has this name: %w", name, dir, fs.ErrNotExist)
}

// LoadAll returns all networks of a folder in the order in which Load searches,
// without those that Load cannot return because an earlier one has their name.
// With an error it still returns the networks that it could read.
func LoadAll(dir string) ([]*Network, error) {
	lists, err := configFiles(dir, ".conflist")
	if err != nil {
		return nil, err
	}
	singles, err := configFiles(dir, ".conf", ".json")
	if err != nil {
		return nil, err
	}
	var all []*Network
	var errs []error
	seen := make(map[string]bool)
	for _, file := range slices.Concat(lists, singles) {
		n, err := LoadFile(file)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !seen[n.Name]:
			seen[n.Name] = true
			all = append(all, n)
		}
	}
	return all, errors.Join(errs...)
}

// LoadFile loads a network from one file, of either form (see Parse). To the
// plugins of a list it appends those of the files *.conf in the folder that is named
// like the network and stands beside the file, unless the list forbids it with
// loadOnlyInlinedPlugins.
func LoadFile(file string) (*Network, error) {
	if ext := filepath.Ext(file); ext == ".conf" || ext == ".json" {
		return loadSingle(file, func(string) bool { return true })
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("network configuration: %w", err)
	}
	n, err := Parse(raw, file)
	if err != nil {
		return nil, err
	}
	// A name that is none must not lead to another folder.
	if !n.InlinedOnly && cni.CheckNetworkName(n.Name) == nil {
		dropIns, err := loadDropIns(filepath.Join(filepath.Dir(file), n.Name))
		if err != nil {
			return nil, err
		}
		n.Plugins = append(n.Plugins, dropIns...)
	}
	if len(n.Plugins) == 0 {
		return nil, inFile(file, errors.New(`no plugins: "plugins" is missing, and there is no drop-in folder named like the network`))
	}
	return n, nil
}

// loadSingle loads a single plugin's file if its network's name is wanted; else it
// returns nil.
func loadSingle(file string, wanted func(name string) bool) (*Network, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("network configuration: %w", err)
	}
	name, list, err := listOfOne(raw)
	if err != nil {
		return nil, inFile(file, err)
	}
	if !wanted(name) {
		return nil, nil
	}
	n, err := parseList(list, file)
	if err != nil {
		return nil, inFile(file, err)
	}
	return n, nil
}

func loadDropIns(dir string) ([]PluginConfig, error) {
	files, err := configFiles(dir, ".conf")
	if err != nil {
		return nil, err
	}
	var configs []PluginConfig
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("plugin configuration: %w", err)
		}
		p, err := parsePlugin(raw)
		if err != nil {
			return nil, inFile(file, err)
		}
		configs = append(configs, p.config(raw, file))
	}
	return configs, nil
}

// configFiles returns the files of a folder with one of the extensions, sorted. A
// missing folder has none.
func configFiles(dir string, extensions ...string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("network configurations: %w", err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains(extensions, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}
