package portmap_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin/portmap"
)

// Whatever is asked for is refused, or comes to elements that make sense.
func FuzzMappings(f *testing.F) {
	f.Add([]byte(`[{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":"192.0.2.1"}]`))
	f.Add([]byte(`[{"HostPort":53,"ContainerPort":5353,"Protocol":"UDP","HostIP":"::"}]`))
	f.Add([]byte(`[{"hostPort":70000,"containerPort":-1,"hostIP":"fe80::1%eth0"}]`))
	prev := &cni.Result{IPs: []cni.IP{
		{Address: netip.MustParsePrefix("10.1.0.2/24")}, {Address: netip.MustParsePrefix("fd00::2/64")},
	}}
	f.Fuzz(func(t *testing.T, mappings []byte) {
		conf := append(append([]byte(`{"type":"portmap","name":"net","runtimeConfig":{"portMappings":`), mappings...), "}}"...)
		if !json.Valid(conf) {
			return
		}
		r := &cni.Request{Config: cni.Config{Name: "net", Type: "portmap", JSON: conf}, Prev: prev}
		c := portmap.Default()
		if err := r.Decode(c); err != nil {
			if code := cni.CodeOf(err); code != cni.CodeInvalidConfig && code != cni.CodeDecoding {
				t.Errorf("code %d: %v", code, err)
			}
			return
		}
		elements, err := c.Elements(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range elements {
			fw, ok := e.(nft.Forward)
			if ok && (fw.HostPort == 0 || fw.To.Port() == 0 || fw.Protocol.Number() == 0 ||
				fw.HostIP.IsValid() && fw.HostIP.Is4() != fw.To.Addr().Is4()) {
				t.Errorf("%s from %s", fw, mappings)
			}
		}
	})
}
