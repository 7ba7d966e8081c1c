package cnm_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/cnm"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
)

// A moby is the program of testdata/moby: Docker's own macvlan driver and its own IPAM, each
// behind a socket.
type moby struct {
	*plugintest.Fixture
	program, dir string
	process      *exec.Cmd
}

// newMoby starts the program on a host with the link eth1 to a network where Outside is,
// which has the address.
func newMoby(t *testing.T, outside string) *moby {
	t.Helper()
	folder := os.Getenv("SEAM_DOCKER_DRIVERS")
	if folder == "" {
		t.Skip("needs the driver of testdata/moby: set SEAM_DOCKER_DRIVERS to the folder where it was built, as make test does")
	}
	plugintest.Need(t, "macvlan")
	m := &moby{
		Fixture: plugintest.New(t, cnm.New(plugintest.Host(t)), cni.Registry{"static": static.New()}),
		program: filepath.Join(folder, "moby"), dir: t.TempDir(),
	}
	m.Outside = plugintest.LAN(t, nil, "eth1")
	other := plugintest.Links(t, m.Outside)
	plugintest.Must(t, other.AddAddr(m.Link(other, "eth0"), link.Addr{Prefix: netip.MustParsePrefix(outside), NoDAD: true}))
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *moby) start() {
	m.Helper()
	m.process = exec.Command(m.program, m.dir)
	m.process.Stderr = os.Stderr
	plugintest.Must(m, m.process.Start())
	for range 500 {
		err := m.Status(m.Context(), m.request("c1", m.Pod, byMoby))
		if err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.Fatal("the driver does not start")
}

func (m *moby) kill() {
	_ = m.process.Process.Kill()
	_ = m.process.Wait()
}

const (
	byMoby = `"ipamDriver":"mobyipam","subnet":"10.70.0.0/24","ipRange":"10.70.0.64/26","gateway":"10.70.0.1"`
	byCNI  = `"ipam":{"type":"static","addresses":[{"address":"10.70.0.9/24","gateway":"10.70.0.1"}]}`
)

func (m *moby) request(id string, pod *netnstest.Pod, addresses string) *cni.Request {
	m.Helper()
	conf := plugintest.Conf("cnm", `"driver":"moby","pluginDirs":["`+m.dir+`"],"options":{"parent":"eth1"},`+addresses)
	return plugintest.Request(m, conf, pod, id, m.Plugins)
}

func (m *moby) gc(valid ...cni.Attachment) error {
	gc := m.request("", nil, byMoby)
	gc.Attachment, gc.Valid = cni.Attachment{Network: "net"}, append([]cni.Attachment{}, valid...)
	return m.GC(m.Context(), gc)
}

// TestForeign: pods have interfaces of a driver and addresses of an IPAM driver that are
// Docker's own; they reach one another and the network, also when the driver was killed and
// started again.
func TestForeign(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		m := newMoby(t, "10.70.0.1/24")
		other := netnstest.NewPod(t, "pod2")
		first, second := m.request("c1", m.Pod, byMoby), m.request("c2", other, byMoby)
		l := m.Attach(m, first)
		zero := 0
		want := &cni.Result{
			Interfaces: []cni.Interface{{Name: "eth0", Sandbox: m.Pod.Path, MAC: l.MAC}},
			IPs:        []cni.IP{{Address: netip.MustParsePrefix("10.70.0.64/24"), Gateway: netip.MustParseAddr("10.70.0.1"), Interface: &zero}},
			Routes:     []cni.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), GW: netip.MustParseAddr("10.70.0.1")}},
		}
		plugintest.WantResult(t, "first", want, first.Prev, cmpopts.EquateEmpty())
		if l.Kind != "macvlan" || !l.Up || l.Parent != m.Link(m.Host, "eth1").Index {
			t.Errorf("interface %+v", l)
		}
		result, err := m.Add(t.Context(), second)
		plugintest.Must(t, err)
		second.Prev = result
		there := result.IPs[0].Address.Addr().String()
		plugintest.Reach(t, m.Pod, other, there)
		plugintest.Reach(t, m.Pod, m.Outside, "10.70.0.1")
		m.Passes(first)
		m.Passes(second)

		m.kill()
		plugintest.WantError(t, "DEL while the driver is dead", m.Del(t.Context(), second), cni.CodeTryAgain, "driver moby: ", "is the driver running?")
		m.start()
		plugintest.Reach(t, m.Pod, other, there)
		m.Passes(first)
		// The IPAM driver has forgotten what it gave, and says so.
		plugintest.WantError(t, "DEL afterwards", m.Del(t.Context(), second), cni.CodeInternal, "driver mobyipam: IpamDriver.ReleaseAddress: ", "the next time this is passed over")
		plugintest.Must(t, m.Del(t.Context(), second))
		m.Passes(first)
		if err := m.Del(t.Context(), first); err != nil && !strings.Contains(err.Error(), "ReleaseAddress") {
			t.Error(err)
		}
		m.DetachTwice(first)
		if err := m.gc(); err != nil && !strings.Contains(err.Error(), "ReleasePool") {
			t.Error(err)
		}
		plugintest.Must(t, m.gc())
		m.left()
	})
}

// left fails the test if the driver has left a link.
func (m *moby) left() {
	m.Helper()
	if links := plugintest.Run(m, nil, "ip", "-br", "link"); strings.Count(links, "\n") != 2 || !strings.Contains(links, "eth1") {
		m.Errorf("left:\n%s", links)
	}
}

// TestForeignByCNI: the same driver, with an address of CNI's IPAM, of which it takes the
// subnet.
func TestForeignByCNI(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		m := newMoby(t, "10.70.0.1/24")
		r := m.request("c1", m.Pod, byCNI)
		m.Attach(m, r)
		plugintest.Reach(t, m.Pod, m.Outside, "10.70.0.1")
		if out := m.IP("route"); !strings.Contains(out, "default via 10.70.0.1 dev eth0") {
			t.Errorf("routes:\n%s", out)
		}
		m.Passes(r)
		m.DetachTwice(r)
		plugintest.Must(t, m.gc())
		m.left()
	})
}
