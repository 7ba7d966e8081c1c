package ptp_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/ptp"
	"github.com/seamnet/seam/plugin/static"
)

const conf = `{"cniVersion":"1.1.0","name":"net","type":"ptp","ipMasq":true,"ipam":{"type":"static",
"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"},{"address":"fd00:1::5/64"}],
"routes":[{"dst":"0.0.0.0/0","mtu":1300},{"dst":"::/0"}]}}`

var finder = cni.Registry{"static": static.New()}

func TestPTP(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		before := plugintest.State(t)
		p := ptp.New(plugintest.Host(t))
		pod := netnstest.NewPod(t, "pod1")
		r := plugintest.Request(t, conf, pod, "c1", finder)
		result, err := p.Add(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		veth := plugin.HostName(r.Tag())
		if len(result.Interfaces) != 2 || result.Interfaces[0].Name != veth || *result.IPs[0].Interface != 1 {
			t.Errorf("result: %+v", result)
		}
		routes := plugintest.Run(t, pod, "ip", "route")
		want := "default via 10.1.0.1 dev eth0 mtu 1300 \n" +
			"10.1.0.0/24 via 10.1.0.1 dev eth0 src 10.1.0.5 \n" +
			"10.1.0.1 dev eth0 scope link src 10.1.0.5 \n"
		if diff := cmp.Diff(want, routes); diff != "" {
			t.Errorf("pod's routes (-want +got):\n%s", diff)
		}
		for _, address := range []string{"10.1.0.1", "fd00:1::1"} {
			plugintest.Run(t, pod, "ping", "-c1", "-W5", address)
		}
		for _, address := range []string{"10.1.0.5", "fd00:1::5"} {
			plugintest.Run(t, nil, "ping", "-c1", "-W5", address)
		}
		r.Prev = result
		if err := p.Check(context.Background(), r); err != nil {
			t.Errorf("check: %v", err)
		}
		plugintest.Run(t, nil, "ip", "route", "del", "10.1.0.5")
		if err := p.Check(context.Background(), r); err == nil || !strings.Contains(err.Error(), "route to 10.1.0.5") {
			t.Errorf("check without the host's route: %v", err)
		}
		plugintest.Run(t, pod, "ip", "route", "del", "10.1.0.1")
		if err := p.Check(context.Background(), r); err == nil || !strings.Contains(err.Error(), "route 10.1.0.1/32 src 10.1.0.5 over eth0 is gone") {
			t.Errorf("check without the pod's route to its gateway: %v", err)
		}
		for range 2 {
			r.NetNS = ""
			if err := p.Del(context.Background(), r); err != nil {
				t.Errorf("del: %v", err)
			}
		}
		withoutTable := func(s string) string { s, _, _ = strings.Cut(s, "table inet seam"); return s }
		if diff := cmp.Diff(before, withoutTable(plugintest.State(t))); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// TestForwardPolicyDrop: a host whose iptables drop what they do not know lets the
// pod's traffic pass while the pod is there, and is as before afterwards, whether the
// pod was detached or just died.
func TestForwardPolicyDrop(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Run(t, nil, "iptables", "-P", "FORWARD", "DROP")
		uplink := netnstest.NewPod(t, "outside")
		plugintest.Run(t, nil, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside")
		plugintest.Run(t, nil, "ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
		plugintest.Run(t, nil, "ip", "link", "set", "up0", "up")
		plugintest.Run(t, uplink, "ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
		plugintest.Run(t, uplink, "ip", "link", "set", "eth0", "up")
		before := plugintest.Run(t, nil, "iptables", "-S")

		h := plugintest.Host(t)
		p := ptp.New(h)
		for _, dies := range []bool{false, true} {
			pod := netnstest.NewPod(t, "pod1")
			r := plugintest.Request(t, conf, pod, "c1", finder)
			result, err := p.Add(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			plugintest.Run(t, pod, "ping", "-c1", "-W5", "192.0.2.2")
			if rules := plugintest.Run(t, nil, "iptables", "-S"); !strings.Contains(rules, "-i "+plugin.HostName(r.Tag())+" -j ACCEPT") {
				t.Errorf("want the pod's link accepted in:\n%s", rules)
			}
			r.Prev = result
			plugintest.Run(t, nil, "iptables", "-F", "FORWARD")
			if err := p.Check(context.Background(), r); err == nil || !strings.Contains(err.Error(), "chain FORWARD drops it") {
				t.Errorf("check of a flushed FORWARD: %v", err)
			}
			if err := h.Repair(); err != nil {
				t.Error(err)
			}
			if err := p.Check(context.Background(), r); err != nil {
				t.Errorf("check after repair: %v", err)
			}
			plugintest.Run(t, pod, "ping", "-c1", "-W5", "192.0.2.2")
			if dies {
				plugintest.Run(t, pod, "ip", "link", "del", "eth0")
				r.Valid = []cni.Attachment{}
				if err := p.GC(context.Background(), r); err != nil {
					t.Error(err)
				}
			} else if err := p.Del(context.Background(), r); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(before, plugintest.Run(t, nil, "iptables", "-S")); diff != "" {
				t.Errorf("dies %t: iptables -S (-before +after):\n%s", dies, diff)
			}
			pod.NS.Close()
			plugintest.Run(t, nil, "ip", "netns", "del", "pod1")
		}
	})
}

// TestCrashedAdd: what a killed ADD leaves is in nobody's way once DEL was called.
func TestCrashedAdd(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		p := ptp.New(h)
		pod := netnstest.NewPod(t, "pod1")
		r := plugintest.Request(t, conf, pod, "c1", finder)
		links, err := h.Links()
		if err != nil {
			t.Fatal(err)
		}
		// As if killed right after the first message: a veth without alias.
		if err := links.AddVeth(link.Veth{Name: plugin.HostName(r.Tag()), PeerName: "eth0", PeerNS: pod.NS}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Add(context.Background(), r); cni.CodeOf(err) != cni.CodeExists {
			t.Errorf("add over the remains: %v, want code %d", err, cni.CodeExists)
		}
		if err := p.Del(context.Background(), r); err != nil {
			t.Error(err)
		}
		if _, err := p.Add(context.Background(), r); err != nil {
			t.Errorf("add after del: %v", err)
		}
	})
}

func TestWithoutIPAM(t *testing.T) {
	r := plugintest.Request(t, `{"cniVersion":"1.1.0","name":"net","type":"ptp"}`, nil, "c1", finder)
	_, err := ptp.New(plugin.NewHost(plugin.Dirs{})).Add(context.Background(), r)
	if cni.CodeOf(err) != cni.CodeInvalidConfig || !strings.Contains(err.Error(), "ipam") {
		t.Errorf("add without ipam: %v", err)
	}
}
