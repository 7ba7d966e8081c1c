// Package plugintest drives plugins in tests as a runtime would, in the calling
// process: requests from configurations as administrators write them, and the
// kernel's state as the lines that ip prints; with a Fixture, next to the reference plugin,
// too. It is not for production code, and it is not the conformance suite. Its failures
// print the request that was made.
package plugintest

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
)

// Host returns a plugin.Host with empty folders, closed when the test ends.
func Host(t testing.TB) *plugin.Host {
	t.Helper()
	dir := t.TempDir()
	h := plugin.NewHost(plugin.Dirs{Leases: filepath.Join(dir, "leases"), State: filepath.Join(dir, "state"), Drivers: filepath.Join(dir, "drivers")})
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// Request returns the request of one call: conf is the plugin's configuration with
// name and cniVersion, pod the namespace (nil: none), id the container's.
func Request(t testing.TB, conf string, pod *netnstest.Pod, id string, plugins cni.Finder) *cni.Request {
	t.Helper()
	var c struct{ Name, Type, CNIVersion string }
	if err := json.Unmarshal([]byte(conf), &c); err != nil {
		t.Fatalf("%v in %s", err, conf)
	}
	r := &cni.Request{
		Attachment: cni.Attachment{Network: c.Name, ContainerID: id, IfName: "eth0"},
		Config:     cni.Config{Name: c.Name, Version: c.CNIVersion, Type: c.Type, JSON: []byte(conf)},
		Plugins:    plugins,
	}
	if pod != nil {
		r.NetNS = pod.Path
	}
	return r
}

// Conf returns the configuration of a plugin on the network net. The keys are members of a
// JSON object as they stand between its braces, `"mtu":1400` say; there may be none.
func Conf(pluginType, keys string) string {
	if keys != "" {
		keys = "," + keys
	}
	return `{"cniVersion":"1.1.0","name":"net","type":"` + pluginType + `"` + keys + `}`
}

// Run runs a program, inside the pod if one is given, and returns what it printed;
// the test fails if the program does.
func Run(t testing.TB, pod *netnstest.Pod, name string, args ...string) string {
	t.Helper()
	out, err := Try(pod, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// Try is Run for a program that may fail.
func Try(pod *netnstest.Pod, name string, args ...string) (string, error) {
	var out []byte
	run := func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	}
	if pod == nil {
		err := run()
		return string(out), err
	}
	err := pod.NS.Do(run)
	return string(out), err
}

// State returns what a test compares before and after: links, addresses, routes and
// firewall of the host, without what changes by itself.
func State(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for _, args := range [][]string{
		{"ip", "-o", "link"}, {"ip", "-o", "addr"}, {"ip", "route", "show", "table", "all"},
		{"ip", "-6", "route", "show", "table", "all"}, {"ip", "rule"}, {"nft", "list", "ruleset"},
	} {
		for line := range strings.Lines(Run(t, nil, args[0], args[1:]...)) {
			// A bridge without ports loses its carrier and gets it back, and the kernel
			// assigns link-local addresses when it likes.
			if !strings.Contains(line, "fe80::") && !strings.Contains(line, "ff00::/8") {
				b.WriteString(strings.NewReplacer("NO-CARRIER,", "", ",LOWER_UP", "", " state DOWN", "", " state UP", "", " state UNKNOWN", "", " linkdown", "").Replace(line))
			}
		}
	}
	return b.String()
}
