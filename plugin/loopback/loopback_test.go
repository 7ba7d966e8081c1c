package loopback_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/loopback"
	"github.com/seamnet/seam/plugin/plugintest"
)

const conf = `{"cniVersion":"1.1.0","name":"lo","type":"loopback"}`

func TestLoopback(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		ns, err := netns.NewAt("/run/netns/pod1")
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		pod := &netnstest.Pod{NS: ns, Path: "/run/netns/pod1"}
		p := loopback.New()
		r := plugintest.Request(t, conf, pod, "c1", nil)
		for range 2 { // repeatable
			result, err := p.Add(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			zero := 0
			want := &cni.Result{
				Interfaces: []cni.Interface{{Name: "lo", MAC: make([]byte, 6), Sandbox: pod.Path}},
				IPs: []cni.IP{
					{Address: netip.MustParsePrefix("127.0.0.1/8"), Interface: &zero},
					{Address: netip.MustParsePrefix("::1/128"), Interface: &zero},
				},
			}
			if diff := cmp.Diff(want, result, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		}
		if err := p.Check(context.Background(), r); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := p.Del(context.Background(), r); err != nil {
				t.Error(err)
			}
		}
		if err := p.Check(context.Background(), r); err == nil || !strings.Contains(err.Error(), "lo is down") {
			t.Errorf("check after del: %v", err)
		}
		r.NetNS = "/run/netns/gone"
		if err := p.Del(context.Background(), r); err != nil {
			t.Errorf("del without namespace: %v", err)
		}
		if _, err := p.Add(context.Background(), r); cni.CodeOf(err) != cni.CodeInvalidNetNS {
			t.Errorf("add without namespace: %v", err)
		}
	})
}

// TestAnyIfName: the interface is lo whatever its name was asked to be, and a result of
// plugins before stays as it is.
func TestAnyIfName(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "pod1")
		p := loopback.New()
		r := plugintest.Request(t, conf, pod, "c1", nil)
		r.IfName = "eth0"
		if err := p.Del(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		zero := 0
		r.Prev = &cni.Result{
			Interfaces: []cni.Interface{{Name: "net0", Sandbox: pod.Path}},
			IPs:        []cni.IP{{Address: netip.MustParsePrefix("10.1.0.5/24"), Interface: &zero}},
			DNS:        cni.DNS{Domain: "a.example"},
		}
		result, err := p.Add(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r.Prev, result, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
			t.Errorf("result (-prev +got):\n%s", diff)
		}
		if got := plugintest.Run(t, pod, "ip", "link", "show", "lo"); !strings.Contains(got, "LOOPBACK,UP") {
			t.Errorf("lo is not up: %s", got)
		}
		plain := filepath.Join(t.TempDir(), "plain")
		if err := os.WriteFile(plain, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"", plain} {
			r.NetNS = path
			if err := p.Del(context.Background(), r); err != nil {
				t.Errorf("DEL with namespace %q: %v", path, err)
			}
		}
	})
}
