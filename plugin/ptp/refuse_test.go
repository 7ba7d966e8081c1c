package ptp_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/ptp"
)

// TestExistingInterface: what is there is refused and untouched, whoever made it, also by
// the DEL that a runtime sends after a failed ADD.
func TestExistingInterface(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := ptp.New(plugintest.Host(t))
		pod := netnstest.NewPod(t, "pod1")
		r := plugintest.Request(t, conf, pod, "c1", finder)
		if _, err := p.Add(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		state := func() string {
			return plugintest.State(t) + plugintest.Run(t, pod, "ip", "-o", "addr", "show", "scope", "global")
		}
		before := state()
		for _, id := range []string{"c1", "c2"} {
			other := *r
			other.ContainerID = id
			if _, err := cni.Add(context.Background(), p, &other); cni.CodeOf(err) != cni.CodeExists {
				t.Errorf("second ADD as %s: %v, want code %d", id, err, cni.CodeExists)
			}
			if id != "c1" {
				if err := p.Del(context.Background(), &other); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(before, state()); diff != "" {
				t.Errorf("second ADD as %s: state (-before +after):\n%s", id, diff)
			}
		}
	})
}

// TestFailedAddLeavesNothing, neither links nor addresses nor routes.
func TestFailedAddLeavesNothing(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := ptp.New(plugintest.Host(t))
		pod := netnstest.NewPod(t, "pod1")
		warm := plugintest.Request(t, conf, pod, "c1", finder)
		if _, err := p.Add(context.Background(), warm); err != nil {
			t.Fatal(err)
		}
		if err := p.Del(context.Background(), warm); err != nil {
			t.Fatal(err)
		}
		before := plugintest.State(t)
		for name, edit := range map[string][2]string{
			"ipam unknown":       {`"type":"static"`, `"type":"nowhere"`},
			"ipam empty":         {`"addresses"`, `"x"`},
			"route to nowhere":   {`{"dst":"::/0"}`, `{"dst":"::/0","gw":"2001:db8::1"}`},
			"mtu below IPv6's":   {`"ipMasq":true`, `"mtu":1000`},
			"mtu negative":       {`"ipMasq":true`, `"mtu":-1`},
			"mtu that is a word": {`"ipMasq":true`, `"mtu":"big"`},
		} {
			r := plugintest.Request(t, strings.Replace(conf, edit[0], edit[1], 1), pod, "c1", finder)
			_, err := cni.Add(context.Background(), p, r)
			if err == nil {
				t.Errorf("%s: ADD succeeded", name)
			}
			t.Logf("%s: %v", name, err)
			if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
				t.Errorf("%s: state (-before +after):\n%s", name, diff)
			}
			if out, err := plugintest.Try(pod, "ip", "link", "show", "eth0"); err == nil {
				t.Errorf("%s: eth0 is left: %s", name, out)
			}
		}
	})
}

// TestHostRoutes: the host reaches each address over its own veth alone, and the pod the
// host over its gateway alone.
func TestHostRoutes(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := ptp.New(plugintest.Host(t))
		pod := netnstest.NewPod(t, "pod1")
		result, err := p.Add(context.Background(), plugintest.Request(t, conf, pod, "c1", finder))
		if err != nil {
			t.Fatal(err)
		}
		veth := result.Interfaces[0].Name
		got := plugintest.Run(t, nil, "ip", "route") + plugintest.Run(t, nil, "ip", "-6", "route", "show", "fd00:1::5") +
			plugintest.Run(t, nil, "ip", "-o", "addr", "show", "dev", veth, "scope", "global")
		for _, want := range []string{
			"10.1.0.5 dev " + veth + " scope host", "fd00:1::5 dev " + veth, "inet 10.1.0.1/32", "inet6 fd00:1::1/128",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("want %q in:\n%s", want, got)
			}
		}
		if got := plugintest.Run(t, pod, "ip", "route", "show", "proto", "kernel"); got != "" {
			t.Errorf("the subnet's own route is left in the pod: %s", got)
		}
	})
}

// TestTwoInterfaces: a pod may be attached to the network twice, by the same gateway, and
// each interface outlives the other.
func TestTwoInterfaces(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := ptp.New(plugintest.Host(t))
		pod := netnstest.NewPod(t, "pod1")
		other := strings.NewReplacer("10.1.0.5", "10.1.0.6", "fd00:1::5", "fd00:1::6").Replace(conf)
		requests := []*cni.Request{plugintest.Request(t, conf, pod, "c1", finder), plugintest.Request(t, other, pod, "c1", finder)}
		requests[1].IfName = "net1"
		for _, r := range requests {
			result, err := p.Add(context.Background(), r)
			if err != nil {
				t.Fatalf("%s: %v", r.IfName, err)
			}
			r.Prev = result
		}
		for _, address := range []string{"10.1.0.5", "fd00:1::5", "10.1.0.6", "fd00:1::6"} {
			plugintest.Run(t, nil, "ping", "-c1", "-W5", address)
		}
		for _, r := range requests {
			if err := p.Check(context.Background(), r); err != nil {
				t.Errorf("check of %s: %v", r.IfName, err)
			}
		}
		if err := p.Del(context.Background(), requests[0]); err != nil {
			t.Errorf("del: %v", err)
		}
		if err := p.Check(context.Background(), requests[1]); err != nil {
			t.Errorf("check of net1 without eth0: %v", err)
		}
		for _, address := range []string{"10.1.0.1", "fd00:1::1", "192.0.2.1"} {
			plugintest.Run(t, pod, "ip", "route", "get", address)
		}
		for _, address := range []string{"10.1.0.6", "fd00:1::6"} {
			plugintest.Run(t, nil, "ping", "-c1", "-W5", address)
		}
	})
}

// TestCarriesAtOnce: when ADD has returned, the host's end carries what it is given. The
// kernel takes a moment for that after the pod's end is up, and drops packets until then.
func TestCarriesAtOnce(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := ptp.New(plugintest.Host(t))
		r := plugintest.Request(t, conf, netnstest.NewPod(t, "pod1"), "c1", finder)
		for range 20 {
			result, err := p.Add(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			state, err := os.ReadFile("/sys/class/net/" + result.Interfaces[0].Name + "/operstate")
			if err != nil || string(state) != "up\n" {
				t.Errorf("operational state %q, %v", state, err)
			}
			if err := p.Del(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
	})
}
