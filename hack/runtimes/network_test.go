package runtimes

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/seamnet/seam/netns/netnstest"
)

// network writes a network's file, without plugins that are not there yet, and lets
// Seam attach once, so that what a network keeps for its next container is there: a
// bridge, the firewall's static rules, folders.
func (n *node) network(list string) {
	n.Helper()
	var conf map[string]any
	n.must(json.Unmarshal([]byte(list), &conf))
	name := conf["name"].(string)
	var chain []any
	for _, p := range conf["plugins"].([]any) {
		if plugin := p.(map[string]any)["type"].(string); n.has(plugin) {
			chain = append(chain, p)
		} else {
			n.Logf("network %s is without %s: neither Seam nor SEAM_REFERENCE_PLUGINS has it", name, plugin)
		}
	}
	conf["plugins"] = chain
	n.write(filepath.Join(confDir, name+".conflist"), string(encode(conf)))

	pod := netnstest.NewPod(n, "first-on-"+name)
	n.run(built("seam"), "add", name, pod.Path)
	n.run(built("seam"), "del", name, pod.Path)
}

// has reports whether there is a plugin, and puts the reference's in the place of
// one that Seam does not have.
func (n *node) has(plugin string) bool {
	n.Helper()
	if exists(filepath.Join(binDir, plugin)) {
		return true
	}
	reference := filepath.Join(os.Getenv("SEAM_REFERENCE_PLUGINS"), plugin)
	if !filepath.IsAbs(reference) || !exists(reference) {
		return false
	}
	n.Logf("%s is the reference's: Seam has none", plugin)
	n.must(os.Symlink(reference, filepath.Join(binDir, plugin)))
	return true
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
