package docker

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
)

const (
	confDir = "/etc/cni/net.d"
	nets    = "1111111111111111111111111111111111111111111111111111111111111111"
)

// prod is a network that pods are on.
const prod = `{"cniVersion": "1.1.0", "name": "prod", "plugins": [
	{"type": "bridge", "bridge": "prod0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.61.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.99.0.0/16"}]}},
	{"type": "portmap", "capabilities": {"portMappings": true}},
	{"type": "tuning", "sysctl": {"net.ipv4.conf.all.log_martians": "1", "net.ipv4.conf.IFNAME.arp_filter": "1"}}]}`

// binDir has Seam's plugins, which a test runs in process only where the chain's are its own.
func newDriver(t *testing.T) *Driver {
	t.Helper()
	must(t, os.MkdirAll(confDir, 0o755))
	must(t, os.WriteFile(filepath.Join(confDir, "prod.conflist"), []byte(prod), 0o600))
	d, err := New(Config{
		Name: "seam", StateDir: "/run/state", RunDir: "/run/seam/docker/seam", ConfDir: confDir,
		Runtime: &seam.Runtime{Plugins: wire.Path{Dirs: []string{os.Getenv(programsKey)}}},
		Log:     slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

// programsKey says where the plugins are that TestMain made: those of plugin/all are not to
// be imported from here.
const programsKey = "SEAM_TEST_PROGRAMS"

func TestMain(m *testing.M) {
	if os.Getenv(programsKey) != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "seam-docker-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = buildPlugins(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv(programsKey, dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func buildPlugins(dir string) error {
	program := filepath.Join(dir, "seam")
	build := exec.Command("go", "build", "-o", program, "github.com/seamnet/seam/cmd/seam")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return exec.Command(program, "install", "--bin-dir", dir).Run()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d *Driver) create(t *testing.T, options map[string]string, pools ...cnm.AddressPool) {
	t.Helper()
	must(t, d.CreateNetwork(context.Background(), &cnm.Network{ID: nets, Options: options, Pools: pools}))
}

func poolOf(space, subnet, gateway string) cnm.AddressPool {
	return cnm.AddressPool{Space: space, Subnet: netip.MustParsePrefix(subnet), Gateway: netip.MustParsePrefix(gateway)}
}

// sandbox makes a container's namespace, alive.
func sandbox(t *testing.T, name string) *netnstest.Pod {
	t.Helper()
	return netnstest.NewPod(t, name)
}

func (d *Driver) endpoint(t *testing.T, id string, e cnm.Endpoint) *cnm.Interface {
	t.Helper()
	e.Network, e.ID = nets, cnm.EndpointID(id)
	i, err := d.CreateEndpoint(context.Background(), &e)
	must(t, err)
	again, err := d.CreateEndpoint(context.Background(), &e)
	must(t, err)
	if diff := cmp.Diff(i, again, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("asked again (-first +again):\n%s", diff)
	}
	return i
}

func (d *Driver) joins(t *testing.T, id, path string) *cnm.Joined {
	t.Helper()
	j, err := d.Join(context.Background(), &cnm.Join{Network: nets, Endpoint: cnm.EndpointID(id), Sandbox: path})
	must(t, err)
	return j
}

func (d *Driver) leaves(t *testing.T, id string) {
	t.Helper()
	must(t, d.Leave(context.Background(), nets, cnm.EndpointID(id)))
	must(t, d.DeleteEndpoint(context.Background(), nets, cnm.EndpointID(id)))
	must(t, d.Leave(context.Background(), nets, cnm.EndpointID(id)))
	must(t, d.DeleteEndpoint(context.Background(), nets, cnm.EndpointID(id)))
}

// ip runs ip inside.
func ip(t *testing.T, p *netnstest.Pod, args string) string {
	t.Helper()
	var out []byte
	must(t, p.NS.Do(func() (err error) {
		out, err = exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("ip %s: %w\n%s", args, err, out)
		}
		return err
	}))
	return string(out)
}

// carry is what an engine does with a link that it is handed.
func carry(t *testing.T, box *netnstest.Pod, j *cnm.Joined, address, name string) {
	t.Helper()
	run(t, "ip", "link", "set", j.Link.Name, "netns", filepath.Base(box.Path), "name", name)
	ip(t, box, "addr add "+address+" dev "+name)
	ip(t, box, "link set "+name+" up")
	for _, r := range j.Routes {
		ip(t, box, "route add "+r.Dst.String()+" via "+r.NextHop.String())
	}
	ip(t, box, "route add default via "+j.Gateways[0].String())
}

func setting(t *testing.T, box *netnstest.Pod, file string) string {
	t.Helper()
	var got []byte
	must(t, box.NS.Do(func() (err error) { got, err = os.ReadFile("/proc/sys/net/ipv4/conf/" + file); return err }))
	return strings.TrimSpace(string(got))
}

func TestJoinLive(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		d := newDriver(t)
		d.create(t, map[string]string{"seam.network": "prod"}, poolOf("LocalDefault", "172.30.0.0/16", "172.30.0.1/16"))
		d.endpoint(t, "aaaa", cnm.Endpoint{Interface: cnm.Interface{Addresses: []netip.Prefix{netip.MustParsePrefix("172.30.0.7/16")}}})
		box := sandbox(t, "box")
		j := d.joins(t, "aaaa", box.Path)
		if fmt.Sprint(j.Gateways, j.Routes) != "[172.30.0.1] [{10.99.0.0/16 172.30.0.1}]" || j.Link == nil || j.NoGatewayService {
			t.Errorf("joined: %+v", j)
		}
		carry(t, box, j, "172.30.0.7/16", "eth0")
		d.busy.Wait()
		if got := setting(t, box, "eth0/arp_filter"); got != "1" {
			t.Errorf("arp_filter %s, want 1: the engine does not carry it over", got)
		}
		podReaches(t, "10.61.0.", "172.30.0.7")
		must(t, d.Leave(context.Background(), nets, "aaaa"))
		ip(t, box, "link set eth0 netns "+strconv.Itoa(os.Getpid())+" name "+j.Link.Name)
		d.leaves(t, "aaaa")
		if got := ip(t, box, "-o link"); strings.Contains(got, "eth0") {
			t.Errorf("left: %s", got)
		}
		must(t, d.DeleteNetwork(context.Background(), nets))
	})
}

// TestJoinLater is what engines before 28 do: the sandbox comes after Join, and the engine
// moves the interface.
func TestJoinLater(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		d := newDriver(t)
		d.create(t, map[string]string{"seam.network": "prod"}) // null IPAM
		i := d.endpoint(t, "bbbb", cnm.Endpoint{})
		if fmt.Sprint(i.Addresses) != "[10.61.0.2/24]" || i.MAC == nil {
			t.Fatalf("answered: %+v", i)
		}
		later := "/run/netns/later"
		j := d.joins(t, "bbbb", later)
		if fmt.Sprint(j.Gateways, j.Routes) != "[10.61.0.1] [{10.99.0.0/16 10.61.0.1}]" || j.Link == nil {
			t.Fatalf("joined: %+v", j)
		}
		box := sandbox(t, "later")
		carry(t, box, j, "10.61.0.2/24", "eth7")
		d.busy.Wait()
		for file, want := range map[string]string{"all/log_martians": "1", "eth7/arp_filter": "1"} {
			if got := setting(t, box, file); got != want {
				t.Errorf("%s: %s, want %s", file, got, want)
			}
		}
		run(t, filepath.Join(os.Getenv(programsKey), "seam"), "--plugin-dir", os.Getenv(programsKey), "check", "--all")
		records, err := d.conf.Runtime.Attachments()
		must(t, err)
		for _, r := range records {
			if r.IfName != "reserved" && (r.NetNS != later || !r.Alive()) {
				t.Errorf("record: %+v", r)
			}
		}
		must(t, d.Leave(context.Background(), nets, "bbbb"))
		ip(t, box, "link set eth7 netns "+strconv.Itoa(os.Getpid())+" name "+j.Link.Name)
		d.leaves(t, "bbbb")
		must(t, d.DeleteNetwork(context.Background(), nets))
		if records, _ := d.conf.Runtime.Attachments(); len(records) > 0 {
			t.Errorf("left: %+v", records)
		}
		if _, err := netns.Open(d.staging(&endpoint{Asked: cnm.Endpoint{ID: "bbbb"}})); err == nil {
			t.Error("the staging namespace is left")
		}
	})
}

// podReaches attaches a pod to prod, beside the container, and lets both reach each other.
func podReaches(t *testing.T, subnet, container string) {
	t.Helper()
	pod := sandbox(t, "pod")
	program := filepath.Join(os.Getenv(programsKey), "seam")
	run(t, program, "--plugin-dir", os.Getenv(programsKey), "add", "prod", "pod")
	if got := ip(t, pod, "-4 -o addr show dev eth0"); !strings.Contains(got, subnet) {
		t.Errorf("pod: %s", got)
	}
	run(t, "ip", "netns", "exec", "pod", "ping", "-c1", "-W2", container)
	run(t, program, "--plugin-dir", os.Getenv(programsKey), "del", "prod", "pod")
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
