package hostdevice_test

import (
	"context"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/ptp"
)

// TestRefusedForItsSake: an attachment whose interface was to have the name that a lent
// device has is refused, and its DEL, which runtimes send nevertheless, leaves the device
// where it is.
func TestRefusedForItsSake(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		lent, result := f.add(`"device":"ens5"`)
		p := ptp.New(f.host)
		other := plugintest.Request(t, `{"cniVersion":"1.1.0","name":"other","type":"ptp"`+ipam+`}`, f.pod, "c1", finder)
		if _, err := cni.Add(context.Background(), p, other); cni.CodeOf(err) != cni.CodeExists {
			t.Errorf("add: %v, want a refusal", err)
		}
		if err := p.Del(context.Background(), other); err != nil {
			t.Errorf("del: %v", err)
		}
		lent.Prev = result
		if err := f.plugin.Check(context.Background(), lent); err != nil {
			t.Errorf("the lent device: %v", err)
		}
	})
}
