package plugin_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/bandwidth"
	"github.com/seamnet/seam/plugin/dummy"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/ptp"
	"github.com/seamnet/seam/plugin/sbr"
	"github.com/seamnet/seam/plugin/static"
	"github.com/seamnet/seam/plugin/tuning"
	"golang.org/x/sys/unix"
)

// TestNamespaceOutOfReach: DEL succeeds when the namespace is gone, but not when it is there
// and only cannot be opened: what is inside would be left, and nobody told.
func TestNamespaceOutOfReach(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		const loop = "/run/netns/loop"
		pod, host := netnstest.NewPod(t, "web"), plugintest.Host(t)
		if err := os.Symlink(loop, loop); err != nil {
			t.Fatal(err)
		}
		for _, p := range []struct {
			pluginType string
			plugin     cni.Plugin
		}{{"dummy", dummy.New(host)}, {"tuning", tuning.New(host)}} {
			conf := `{"cniVersion":"1.1.0","name":"net","type":"` + p.pluginType + `"}`
			for path, want := range map[string]error{"": nil, "/run/netns/nowhere": nil, pod.Path + "/below": nil, loop: unix.ELOOP} {
				r := plugintest.Request(t, conf, pod, "c1", cni.Registry{"static": static.New()})
				r.NetNS = path
				if err := p.plugin.Del(context.Background(), r); !errors.Is(err, want) {
					t.Errorf("%s: namespace %q: %v, want %v", p.pluginType, path, err, want)
				}
			}
		}
	})
}

// TestUndoneByWhatIsLeft: a configuration that became invalid in one key is undone by the
// others, wherever in the file they stand.
func TestUndoneByWhatIsLeft(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod, dir := netnstest.NewPod(t, "web"), t.TempDir()
		p := tuning.New(plugintest.Host(t))
		request := func(sysctl string) *cni.Request {
			r := plugintest.Request(t, `{"cniVersion":"1.1.0","name":"net","type":"tuning","sysctl":{`+sysctl+`},"dataDir":"`+dir+`"}`, pod, "c1", nil)
			r.IfName, r.Prev = "lo", &cni.Result{}
			return r
		}
		const was, is = `"net.core.somaxconn":"500"`, `"net.core.somaxconn":"500","net.core.somaxconn":"600"`
		before := plugintest.Run(t, pod, "cat", "/proc/sys/net/core/somaxconn")
		if _, err := p.Add(context.Background(), request(was)); err != nil {
			t.Fatal(err)
		}
		if err := p.Del(context.Background(), request(is)); err != nil {
			t.Error(err)
		}
		if now := plugintest.Run(t, pod, "cat", "/proc/sys/net/core/somaxconn"); now != before {
			t.Errorf("somaxconn is %s, was %s", now, before)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left %v, %v", left, err)
		}
	})
}

// TestUndoneForAnother: DEL of a chain that was refused, because the pod has an interface of
// that name for another network, leaves what is done to that interface.
func TestUndoneForAnother(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod, host := netnstest.NewPod(t, "web"), plugintest.Host(t)
		plugins := map[string]cni.Plugin{"ptp": ptp.New(host), "bandwidth": bandwidth.New(host), "sbr": sbr.New(host)}
		request := func(network, pluginType string) *cni.Request {
			return plugintest.Request(t, `{"cniVersion":"1.1.0","name":"`+network+`","type":"`+pluginType+`","ingressRate":8000000,"table":100,
				"ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}]}}`, pod, "c1", cni.Registry{"static": static.New()})
		}
		chain := []string{"ptp", "bandwidth", "sbr"}
		var prev *cni.Result
		for _, pluginType := range chain {
			r := request("mine", pluginType)
			r.Prev = prev
			var err error
			if prev, err = plugins[pluginType].Add(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
		state := func() string {
			return plugintest.Run(t, nil, "tc", "qdisc", "show") + plugintest.Run(t, pod, "ip", "rule") + plugintest.Run(t, pod, "ip", "-br", "addr")
		}
		before := state()
		for _, pluginType := range chain {
			if err := plugins[pluginType].Del(context.Background(), request("refused", pluginType)); err != nil {
				t.Errorf("%s: %v", pluginType, err)
			}
		}
		if diff := cmp.Diff(before, state()); diff != "" {
			t.Errorf("the network mine (-before +after):\n%s", diff)
		}
		for _, pluginType := range slices.Backward(chain) {
			if err := plugins[pluginType].Del(context.Background(), request("mine", pluginType)); err != nil {
				t.Errorf("%s: %v", pluginType, err)
			}
		}
		if now := plugintest.Run(t, pod, "ip", "rule"); strings.Contains(now, "10.1.0.5") {
			t.Errorf("rules are left:\n%s", now)
		}
	})
}

// TestPeerElsewhere: the number of a veth's other end is not taken for a link of the host that
// has the same one, if that other end is in the pod.
func TestPeerElsewhere(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod, host := netnstest.NewPod(t, "web"), plugintest.Host(t)
		plugintest.Run(t, nil, "ip", "link", "add", "host0", "index", "50", "type", "veth", "peer", "name", "far0")
		plugintest.Run(t, nil, "tc", "qdisc", "add", "dev", "host0", "root", "handle", "1:", "tbf", "rate", "8mbit", "burst", "100kb", "latency", "25ms")
		plugintest.Run(t, pod, "ip", "link", "add", "eth0", "index", "60", "type", "veth", "peer", "name", "near0", "index", "50")
		r := plugintest.Request(t, `{"cniVersion":"1.1.0","name":"net","type":"bandwidth"}`, pod, "c1", nil)
		if err := bandwidth.New(host).Del(context.Background(), r); err != nil {
			t.Error(err)
		}
		if q := plugintest.Run(t, nil, "tc", "qdisc", "show", "dev", "host0"); !strings.Contains(q, "tbf 1:") {
			t.Errorf("bandwidth: DEL took another link's limit: %s", q)
		}
		plugintest.Run(t, nil, "ip", "link", "set", "host0", "alias", "seam:other/c2/eth0")
		r.Config.Type = "ptp"
		if err := ptp.New(host).Del(context.Background(), r); err != nil {
			t.Error(err)
		}
		if left, err := plugintest.Try(pod, "ip", "link", "show", "eth0"); err == nil {
			t.Errorf("ptp: DEL left\n%s", left)
		}
	})
}
