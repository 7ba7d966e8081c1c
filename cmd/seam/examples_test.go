package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// What people are given to start from must please the validator, warnings included.
func TestExamplesAreValid(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../../examples/*.conflist", "../../examples/*/*.conflist"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 4 {
		t.Fatalf("only %d examples found: %q", len(files), files)
	}
	rules := networkRules()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range rules.Check(file, data) {
			t.Error(finding)
		}
	}
}

// Every built-in plugin can be checked, and only they.
func TestEveryPluginHasAConfig(t *testing.T) {
	configs := all.Configs()
	for name := range all.Registry(plugin.NewHost(plugin.DefaultDirs)) {
		if configs[name] == nil {
			t.Errorf("plugin %s: all.Configs has nothing to check its keys with", name)
		}
		delete(configs, name)
	}
	for name := range configs {
		t.Errorf("all.Configs has %s, which is no plugin", name)
	}
}
