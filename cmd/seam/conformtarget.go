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
		target.Config, err = conflistOf(n)
		return target, err
	case err == nil && st.Mode().IsRegular() && strings.ContainsRune(arg, filepath.Separator):
		return c.conformProgram(target, arg, f)
	}
	return c.conformType(target, arg, f)
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
	pluginType := orElse(f.pluginType, filepath.Base(file))
	abs, err := filepath.Abs(file)
	if err != nil {
		return target, err
	}
	target.Programs = map[string]string{pluginType: abs}
	target.Dirs = append([]string{filepath.Dir(abs)}, target.Dirs...)
	return c.conformType(target, pluginType, f)
}

func (c *cli) conformType(target plugins.Target, pluginType string, f conformFlags) (plugins.Target, error) {
	var conf json.RawMessage
	if f.config != "" {
		text, err := c.read(f.config)
		if err != nil {
			return target, err
		}
		conf = text
	}
	var err error
	if n, loadErr := seam.Load(c.flags.confDir, pluginType); loadErr == nil && conf == nil && target.Programs == nil {
		target.Config, err = conflistOf(n)
		return target, err
	} else if !errors.Is(loadErr, fs.ErrNotExist) && loadErr != nil {
		return target, loadErr
	}
	target.Trial = []string{pluginType}
	if target.Config, err = plugins.Network(pluginType, conf); err != nil {
		return target, hint(usage("%v", err), "seam conform TARGET --config FILE")
	}
	return target, nil
}
