package plan

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/plugintest"
)

// underWay begins to attach a container, which goes on until end is called.
func (th *theatre) underWay(c seam.Container) (end func()) {
	th.Helper()
	dir := th.TempDir()
	reached, on := filepath.Join(dir, "reached"), filepath.Join(dir, "on")
	script := "#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\ntouch " + reached + "\nwhile [ ! -e " + on + " ]; do sleep 0.05; done\nexit 1\n"
	plugintest.Must(th, os.WriteFile(filepath.Join(th.plugins, "slow"), []byte(script), 0o700))
	n := th.of("slow", `{"type":"bridge","bridge":"slow0","ipam":{"type":"host-local","subnet":"10.75.0.0/24"}},{"type":"slow"}`)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = th.rt.Attach(th.Context(), n, c) // is refused in the end
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(reached); err == nil {
			break
		}
		if time.Now().After(deadline) {
			th.Fatal("plugin slow is not reached")
		}
	}
	return func() {
		plugintest.Must(th, os.WriteFile(on, nil, 0o600))
		<-ended
	}
}

// What goes on is no killed operation, and what a killed one left is undone in the copy alone.
func TestOtherContainersAreLeftAlone(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		busy, planned := th.bare(0), th.bare(1)
		defer th.underWay(busy)()
		n := th.of("next", `{"type":"ptp","ipam":{"type":"host-local","subnet":"10.76.0.0/24"}}`)
		removals := func() (removed []Change) {
			var p *Plan
			th.untouched(busy, func() { p = th.plan(n, planned) })
			return slices.DeleteFunc(p.Runtime, func(c Change) bool { return c.Verb != "remove" })
		}
		if removed := removals(); len(removed) > 0 {
			t.Errorf("an operation that goes on was undone: %q", text(removed))
		}
		journal := filepath.Join(seam.DefaultRunDir, "journal")
		entries, err := os.ReadDir(journal)
		plugintest.Must(t, err)
		intent, err := os.ReadFile(filepath.Join(journal, entries[0].Name()))
		plugintest.Must(t, err)
		killed := filepath.Join(journal, strings.Repeat("f", 24)) // its lock is free
		plugintest.Must(t, os.WriteFile(killed, intent, 0o600))
		defer os.Remove(killed)
		if removed := removals(); !slices.ContainsFunc(removed, func(c Change) bool { return strings.HasSuffix(c.Subject, "/10.75.0.2") }) {
			t.Errorf("what was killed is not undone: %q", text(removed))
		}
	})
}

// A link of the host and one of the container may have the same number.
func TestLinksOfTheSameNumber(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		c := th.bare(0)
		plugintest.Run(t, nil, "ip", "link", "add", "nigh", "index", "91", "type", "veth", "peer", "name", "away", "netns", c.ID)
		plugintest.Run(t, nil, "ip", "-n", c.ID, "link", "add", "inside", "index", "91", "type", "veth", "peer", "name", "outside")
		plugintest.Run(t, nil, "ip", "-n", c.ID, "link", "set", "outside", "netns", strconv.Itoa(os.Getpid()))
		n := th.of("one", `{"type":"ptp","ipam":{"type":"host-local","subnet":"10.77.0.0/24"}}`)
		th.exact(n, c, th.plan(n, c))
	})
}

// What portmap can do, as each container has the port for another address, is a warning.
func TestPortsThatCanBeShared(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		n := th.of("blue", `{"type":"ptp",`+local+`},{"type":"portmap","capabilities":{"portMappings":true}}`)
		port := cni.PortMapping{HostPort: 8080, ContainerPort: 80}
		th.attach(n, wishing(th.bare(0), n, seam.Wishes{Ports: []cni.PortMapping{port}}))
		port.HostIP = "127.0.0.1"
		other := wishing(th.bare(1), n, seam.Wishes{Ports: []cni.PortMapping{port}})
		p := th.plan(n, other)
		th.finds(p, "port", false, "127.0.0.1 8080/tcp", "blue/c0/eth0")
		th.exact(n, other, p)
	})
}

// Without namespaces of its own it would make the host's mounts read-only.
func TestRehearsalOnTheHostIsRefused(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		n := th.of("blue", `{"type":"ptp"}`)
		question, err := json.Marshal(Question{Network: n, Container: th.bare(0), Host: "/proc/self/ns/net"})
		plugintest.Must(t, err)
		before, err := os.ReadFile("/proc/self/mountinfo")
		plugintest.Must(t, err)
		var out bytes.Buffer
		stage := &Stage{Host: plugin.NewHost(plugin.DefaultDirs)}
		plugintest.Must(t, stage.Answer(t.Context(), bytes.NewReader(question), &out))
		if !strings.Contains(out.String(), "namespaces of its own") {
			t.Errorf("answer: %s", out.String())
		}
		after, err := os.ReadFile("/proc/self/mountinfo")
		plugintest.Must(t, err)
		if diff := cmp.Diff(string(before), string(after)); diff != "" {
			t.Errorf("mounts (-before +after):\n%s", diff)
		}
	})
}

// These end before anything is copied that is no state, or that is no container's.
func TestWhatIsNotCopied(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		large := t.TempDir()
		for i := range 10 {
			plugintest.Must(t, os.WriteFile(filepath.Join(large, strconv.Itoa(i)), make([]byte, longestFile), 0o600))
		}
		ask := func(dataDir, netNS string) error {
			n := th.of("odd", `{"type":"ptp","ipam":{"type":"host-local","subnet":"10.78.0.0/24","dataDir":"`+dataDir+`"}}`)
			c := th.bare(0)
			if netNS != "" {
				c.NetNS = netNS
			}
			cmd := exec.Command("/proc/self/exe", rehearsing, th.plugins)
			_, err := Ask(cmd, Question{Network: n, Container: c, ConfDir: th.confDir, CacheDir: th.rt.CacheDir})
			return err
		}
		for want, err := range map[string]error{
			"too large to be copied":                     ask(large, ""),
			"folder /proc/sys: it is no place for state": ask("/proc/sys", ""),
			"folder /: it is no place for state":         ask("/", ""),
			"is the host's own":                          ask("/run/odd", "/proc/"+strconv.Itoa(os.Getpid())+"/ns/net"),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	})
}
