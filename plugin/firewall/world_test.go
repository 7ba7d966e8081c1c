package firewall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/firewall"
	"github.com/seamnet/seam/plugin/plugintest"
)

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A world is a host with three bridges and a neighbour on another network.
//
//	outside 192.0.2.9 ── 192.0.2.1 host ── bra 10.1.0.1, brb 10.2.0.1, brc 10.3.0.1
type world struct {
	t       *testing.T
	outside *netnstest.Pod
}

func ip(t testing.TB, pod *netnstest.Pod, format string, args ...any) {
	t.Helper()
	plugintest.Run(t, pod, "ip", strings.Fields(fmt.Sprintf(format, args...))...)
}

func sysctl(t testing.TB, key, value string) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/net/"+key, []byte(value), 0))
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t, netnstest.NewPod(t, "outside")}
	ip(t, nil, "link add up0 type veth peer name eth0 netns outside")
	ip(t, nil, "addr add 192.0.2.1/24 dev up0")
	ip(t, nil, "link set up0 up")
	ip(t, w.outside, "addr add 192.0.2.9/24 dev eth0")
	ip(t, w.outside, "link set eth0 up")
	ip(t, w.outside, "route add 10.0.0.0/8 via 192.0.2.1")
	sysctl(t, "ipv4/ip_forward", "1")
	listen(t, w.outside)
	for i, name := range []string{"bra", "brb", "brc"} {
		ip(t, nil, "link add %s type bridge", name)
		ip(t, nil, "addr add 10.%d.0.1/24 dev %s", i+1, name)
		ip(t, nil, "link set %s up", name)
	}
	return w
}

// A pod is one of a bridge, whose name it begins with: a1 is the first of bra.
type pod struct {
	*netnstest.Pod
	result *cni.Result
	addr   string
}

// pod makes one, with the result that the plugin bridge would have given.
func (w *world) pod(name string) pod {
	w.t.Helper()
	p := pod{Pod: netnstest.NewPod(w.t, name)}
	third, bridge := int(name[0]-'a')+1, "br"+name[:1]
	p.addr = fmt.Sprintf("10.%d.0.1%s", third, name[1:])
	ip(w.t, nil, "link add v%s type veth peer name eth0 netns %s", name, name)
	ip(w.t, nil, "link set v%s master %s up", name, bridge)
	ip(w.t, p.Pod, "addr add %s/24 dev eth0", p.addr)
	ip(w.t, p.Pod, "link set eth0 up")
	ip(w.t, p.Pod, "route add default via 10.%d.0.1", third)
	listen(w.t, p.Pod)
	p.result = result(bridge, "v"+name, p.Path, p.addr+"/24")
	return p
}

func result(bridge, port, path string, addrs ...string) *cni.Result {
	two := 2
	r := &cni.Result{Interfaces: []cni.Interface{{Name: bridge}, {Name: port}, {Name: "eth0", Sandbox: path}}}
	for _, a := range addrs {
		r.IPs = append(r.IPs, cni.IP{Address: netip.MustParsePrefix(a), Interface: &two})
	}
	return r
}

// listen answers on port 80 of the pod until the test ends.
func listen(t testing.TB, p *netnstest.Pod) {
	t.Helper()
	must(t, p.NS.Do(func() error {
		l, err := net.Listen("tcp4", ":80")
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	}))
}

// connects is patient for long enough on a host without a network.
func connects(from *netnstest.Pod, to string) bool {
	dial := func() error {
		c, err := net.DialTimeout("tcp4", to, 200*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err
	}
	if from == nil {
		return dial() == nil
	}
	return from.NS.Do(dial) == nil
}

// request is one of network "net": keys are the plugin's, with a leading comma.
func request(t testing.TB, keys, id string, prev *cni.Result) *cni.Request {
	t.Helper()
	r := plugintest.Request(t, `{"cniVersion":"1.0.0","name":"net","type":"firewall"`+keys+`}`, nil, id, nil)
	r.NetNS, r.Prev = "/run/netns/"+id, prev
	return r
}

// An implementation is this plugin or the reference's.
type implementation interface {
	Add(context.Context, *cni.Request) (*cni.Result, error)
	Check(context.Context, *cni.Request) error
	Del(context.Context, *cni.Request) error
}

// reference executes the reference plugin.
type reference struct{ path string }

// theReference returns the reference plugin, or nil where there is none.
func theReference(t testing.TB) implementation {
	dir := os.Getenv("SEAM_REFERENCE_PLUGINS")
	if dir == "" {
		t.Log("without a comparison with the reference plugin: SEAM_REFERENCE_PLUGINS is not set")
		return nil
	}
	return reference{filepath.Join(dir, "firewall")}
}

func (f reference) run(command string, r *cni.Request) error {
	var conf map[string]any
	if err := json.Unmarshal(r.Config.JSON, &conf); err != nil {
		return err
	}
	if r.Prev != nil {
		prev := map[string]any{"cniVersion": "1.0.0"}
		var interfaces, ips []any
		for _, i := range r.Prev.Interfaces {
			interfaces = append(interfaces, map[string]any{"name": i.Name, "sandbox": i.Sandbox})
		}
		for _, ip := range r.Prev.IPs {
			ips = append(ips, map[string]any{"address": ip.Address.String(), "interface": 2})
		}
		prev["interfaces"], prev["ips"] = interfaces, ips
		conf["prevResult"] = prev
	}
	in, err := json.Marshal(conf)
	if err != nil {
		return err
	}
	cmd := exec.Command(f.path)
	cmd.Stdin = bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+r.ContainerID, "CNI_IFNAME=eth0", "CNI_NETNS="+r.NetNS, "CNI_PATH=/opt/cni/bin")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("reference %s: %w: %s", command, err, out)
	}
	return nil
}

func (f reference) Add(_ context.Context, r *cni.Request) (*cni.Result, error) {
	return r.Prev, f.run("ADD", r)
}
func (f reference) Check(_ context.Context, r *cni.Request) error { return f.run("CHECK", r) }
func (f reference) Del(_ context.Context, r *cni.Request) error   { return f.run("DEL", r) }

func seam(t testing.TB) cni.Plugin { return newOn(plugintest.Host(t)) }

func newOn(h *plugin.Host) cni.Plugin { return firewall.New(h) }

// useLegacy makes the host's iptables the old one, or skips the test.
func useLegacy(t *testing.T) {
	t.Helper()
	if out, err := plugintest.Try(nil, "iptables-legacy", "-S"); err != nil {
		t.Skipf("no legacy iptables here: %v\n%s", err, out)
	}
	plugintest.Run(t, nil, "mount", "--bind", "/usr/sbin/xtables-legacy-multi", "/usr/sbin/xtables-nft-multi")
}
