package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/conformance/plugins"
)

// conformTarget finds out what is meant: a file, a network of this host, or a plugin's type.
func (c *cli) conformTarget(arg string, f conformFlags) (plugins.Target, error) {
	target := plugins.Target{Dirs: c.flags.pluginDirs, Builtin: f.builtin}
	helper, err := filepath.EvalSymlinks(c.self)
	if err != nil {
		return target, err
	}
	target.Helper = helper
	switch st, err := os.Stat(arg); {
	case err == nil && isNetworkFile(arg):
		n, err := seam.LoadFile(arg)
		if err != nil {
			return target, err
		}
		return conformNetwork(target, n, f)
	case !strings.ContainsRune(arg, filepath.Separator):
	case err != nil:
		return target, hint(err, "TARGET is a program, the type of a plugin, or the file or name of a network")
	case st.Mode().IsRegular():
		return c.conformProgram(target, arg, f)
	default:
		return target, usage("%s: is no program", arg)
	}
	return c.conformType(target, arg, f)
}

// conformNetwork puts all plugins of a network on trial, or those of one type.
func conformNetwork(target plugins.Target, n *seam.Network, f conformFlags) (plugins.Target, error) {
	if f.config != "" || f.chained {
		return target, usage("--config and --chained are for a plugin alone: a network brings its own")
	}
	if f.pluginType != "" {
		target.Trial = []string{f.pluginType}
	}
	var err error
	target.Config, err = conflistOf(n)
	return target, err
}

// conflistOf returns the network as one list, with the plugins of its drop-in folder.
func conflistOf(n *seam.Network) (json.RawMessage, error) {
	list := struct {
		CNIVersion string            `json:"cniVersion"`
		Name       string            `json:"name"`
		Plugins    []json.RawMessage `json:"plugins"`
	}{CNIVersion: n.Version, Name: n.Name}
	for _, p := range n.Plugins {
		list.Plugins = append(list.Plugins, p.JSON)
	}
	return json.Marshal(list)
}

func isNetworkFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".conflist" || ext == ".conf" || ext == ".json"
}

func (c *cli) conformProgram(target plugins.Target, file string, f conformFlags) (plugins.Target, error) {
	conf, err := c.conformConfig(f)
	if err != nil {
		return target, err
	}
	pluginType := orElse(f.pluginType, orElse(typeOf(conf), filepath.Base(file)))
	abs, err := filepath.Abs(file)
	if err != nil {
		return target, err
	}
	target.Programs = map[string]string{pluginType: abs}
	target.Dirs = append([]string{filepath.Dir(abs)}, target.Dirs...)
	return c.conformType(target, pluginType, f)
}

func (c *cli) conformType(target plugins.Target, pluginType string, f conformFlags) (plugins.Target, error) {
	conf, err := c.conformConfig(f)
	if err != nil {
		return target, err
	}
	if n, loadErr := seam.Load(c.flags.confDir, pluginType); loadErr == nil && conf == nil && target.Programs == nil {
		return conformNetwork(target, n, f)
	} else if !errors.Is(loadErr, fs.ErrNotExist) && loadErr != nil {
		return target, loadErr
	}
	target.Trial = []string{pluginType}
	if target.Config, err = plugins.Network(pluginType, conf, f.chained); err != nil {
		return target, hint(usage("%v", err), "seam conform TARGET --config FILE; or is TARGET no file, network or plugin that is there?")
	}
	return target, nil
}

// conformConfig returns the plugin's object of --config, nil without.
func (c *cli) conformConfig(f conformFlags) (json.RawMessage, error) {
	if f.config == "" {
		return nil, nil
	}
	return c.read(f.config)
}

// typeOf returns the type in a plugin's object, or "".
func typeOf(conf json.RawMessage) string {
	var plugin struct{ Type string }
	_ = json.Unmarshal(conf, &plugin) // what is wrong with it is said where it is used
	return plugin.Type
}
