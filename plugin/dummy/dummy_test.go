package dummy_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/dummy"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
)

const conf = `{"cniVersion":"1.1.0","name":"net","type":"dummy","ipam":{"type":"static",
"addresses":[{"address":"10.1.0.5/24"},{"address":"fd00:1::5/64"}]}}`

var finder = cni.Registry{"static": static.New()}

func on(t *testing.T, test func(f *plugintest.Fixture)) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Need(t, "dummy")
		test(plugintest.New(t, dummy.New(plugintest.Host(t)), finder))
	})
}

// TestLife: an interface with both families' addresses that leads nowhere; refused where
// one is, found out when it is broken, and gone afterwards whatever is missing.
func TestLife(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		r := f.Request(conf)
		l := f.Attach(f, r)
		if l.Kind != "dummy" || !l.Up || l.Alias != "seam:net/c1/eth0" {
			f.Errorf("%+v", l)
		}
		index := 0
		want := &cni.Result{
			Interfaces: []cni.Interface{{Name: "eth0", MAC: l.MAC, Sandbox: f.Pod.Path}},
			IPs: []cni.IP{
				{Address: netip.MustParsePrefix("10.1.0.5/24"), Interface: &index},
				{Address: netip.MustParsePrefix("fd00:1::5/64"), Interface: &index},
			},
		}
		plugintest.WantResult(f, "dual-stack", want, r.Prev, cmpopts.EquateEmpty())
		for _, address := range []string{"10.1.0.5", "fd00:1::5"} {
			plugintest.Reach(f, f.Pod, f.Pod, address)
		}
		f.Passes(r)
		f.Refuses("again", f.Request(conf), cni.CodeExists, "eth0 is in the pod")
		if diff := cmp.Diff(l, f.Link(f.Inside, "eth0")); diff != "" {
			f.Errorf("again (-before +after):\n%s", diff)
		}
		plugintest.Must(f, f.Inside.Set(l, link.Change{Down: true}))
		f.Finds(r, "eth0 is down")
		plugintest.Must(f, f.Inside.DeleteAddr(l, netip.MustParsePrefix("10.1.0.5/24")))
		f.Finds(r, "eth0 is down", "address 10.1.0.5/24 of eth0 is gone")
		r.Config.JSON, r.Prev = []byte(strings.Replace(conf, `"type"`, `"mtu":-1,"type"`, 1)), nil
		f.DetachTwice(r)
		f.Refuses("no ipam", f.Request(strings.Replace(conf, `"ipam"`, `"x"`, 1)), cni.CodeInvalidConfig, "ipam: is missing")
		if err := f.Status(f.Context(), f.Request(conf)); err != nil {
			f.Errorf("STATUS: %v", err)
		}
	})
}

// TestStatus: a kernel without dummies is what the host lacks, before any ADD.
func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.WantLackTold(t, "dummy", dummy.New(plugintest.Host(t)), plugintest.Request(t, conf, nil, "c1", finder))
	})
}

// nodad is what Seam says of addresses that nobody else can have.
var nodad = regexp.MustCompile(` nodad`)

// TestLikeReference: the same result and the same state inside, and each takes the other's
// attachments over.
func TestLikeReference(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		f.WantLikeReference(f.Request(conf), plugintest.Unlike{MAC: true, State: nodad})
	})
}
