package plugin_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/ptp"
	"github.com/seamnet/seam/plugin/static"
)

// TestUsableAtOnce: when ADD has returned the pod takes packets to its IPv6 address, and
// the host those to the gateway's.
func TestUsableAtOnce(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		host, pod := plugintest.Host(t), netnstest.NewPod(t, "pod1")
		outside, inside := plugintest.Links(t, nil), plugintest.Links(t, pod)
		now, cancel := context.WithCancel(t.Context())
		cancel()
		for kind, p := range map[string]cni.Plugin{"bridge": bridge.New(host), "ptp": ptp.New(host)} {
			conf := plugintest.Conf(kind, `"isGateway":true,"ipam":{"type":"static","addresses":[{"address":"fd00:1::5/64","gateway":"fd00:1::1"}]}`)
			r := plugintest.Request(t, conf, pod, "c1", cni.Registry{"static": static.New()})
			for range 20 {
				plugintest.Must(t, add(t, p, r))
				for address, where := range map[string]*link.Handle{"fd00:1::5": inside, "fd00:1::1": outside} {
					if err := where.WaitLocal(now, netip.MustParseAddr(address)); err != nil {
						t.Errorf("%s: %v", kind, err)
					}
				}
				plugintest.Must(t, p.Del(t.Context(), r))
			}
			plugintest.Try(nil, "ip", "link", "del", "cni0")
		}
	})
}

func add(t *testing.T, p cni.Plugin, r *cni.Request) error {
	_, err := p.Add(t.Context(), r)
	return err
}
