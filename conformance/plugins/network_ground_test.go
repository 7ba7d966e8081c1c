package plugins

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGround: what is asked of a network follows from its configuration.
func TestGround(t *testing.T) {
	type ground struct {
		One, Apart string
		Masked     bool
	}
	for _, tt := range []struct {
		name, plugins string
		want          ground
	}{
		{"bridge", `{"type":"bridge","ipMasq":true}`, ground{Masked: true}},
		{"own type", `{"type":"ours","ipMasq":true}`, ground{Masked: true}},
		{"masquerade", `{"type":"bridge"},{"type":"masquerade"}`, ground{Masked: true}},
		{"wrapped", `{"type":"wrap","delegate":{"type":"wrap","delegate":{"type":"ptp","ipMasq":true}}}`, ground{Masked: true}},
		{"masquerading switched off", `{"type":"bridge","ipMasq": false}`, ground{}},
		{"device", `{"type":"host-device","device":"eth1"}`, ground{One: "the network lends one device"}},
		{"empty device", `{"type":"host-device","device":"","hwaddr":null}`, ground{}},
		{"passthru", `{"type":"macvlan","mode":"passthru"}`, ground{One: "the master has room for one"}},
		{"vlan", `{"type":"vlan","vlanId":5}`, ground{One: "the master has each VLAN once"}},
		{"static", `{"type":"bridge","ipam":{"type":"static","addresses":[{"address":"10.1.0.2/24"}]}}`, ground{One: "every pod has the same addresses"}},
		{"private", `{"type":"macvlan","mode":"private"}`, ground{Apart: "the mode keeps the pods apart"}},
		{"isolated", `{"type":"bridge"},{"type":"firewall","ingressPolicy":"isolated"}`, ground{Apart: "ingressPolicy keeps the pods apart"}},
		{"isolated ports", `{"type":"bridge","portIsolation":true}`, ground{Apart: "portIsolation keeps the pods apart"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := Target{Config: fmt.Appendf(nil, `{"cniVersion":"1.1.0","name":"n","plugins":[%s]}`, tt.plugins)}
			n, err := target.parse()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, ground{n.one(), n.apart(), n.masked()}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
