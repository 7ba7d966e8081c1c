// Package differential holds Seam's plugins and runtime against the reference: the
// same configurations must come to the same results and the same state in the pod,
// whether libcni runs Seam's plugins or Seam runs the reference's.
package differential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// cases are chains of plugins, without name and version.
var cases = []struct {
	name    string
	plugins string
	args    [][2]string
	caps    map[string]any
}{
	{"loopback", `{"type":"loopback"}`, nil, nil},
	{"bridge, layer 2", `{"type":"bridge","bridge":"br0"}`, nil, nil},
	{"bridge, defaults", `{"type":"bridge","bridge":"br0","ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}`, nil, nil},
	{"bridge, gateway", `{"type":"bridge","bridge":"br0","isGateway":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24","routes":[{"dst":"192.0.2.0/24"},{"dst":"198.51.100.0/24","gw":"10.1.0.7","priority":7}]}}`, nil, nil},
	{"bridge, default gateway, dual stack, ipMasq", `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"hairpinMode":true,"mtu":1400,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00:1::/64"}]]}}`, nil, nil},
	{"bridge, default route of IPAM", `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}]}}`, nil, nil},
	{"bridge, mac and ip by args", `{"type":"bridge","bridge":"br0","ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}`,
		[][2]string{{"IgnoreUnknown", "1"}, {"MAC", "02:00:00:00:00:07"}, {"IP", "10.1.0.77"}}, nil},
	{"bridge, mac and ips by capability", `{"type":"bridge","bridge":"br0","capabilities":{"mac":true,"ips":true},"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}`,
		nil, map[string]any{"mac": "02:00:00:00:00:08", "ips": []string{"10.1.0.78/24"}}},
	{"bridge, ipRanges by capability", `{"type":"bridge","bridge":"br0","capabilities":{"ipRanges":true},"ipam":{"type":"host-local"}}`,
		nil, map[string]any{"ipRanges": [][]map[string]string{{{"subnet": "10.3.0.0/24", "rangeStart": "10.3.0.9", "gateway": "10.3.0.254"}}}}},
	{"bridge, dns", `{"type":"bridge","bridge":"br0","dns":{"nameservers":["10.0.0.1"],"search":["a.example"]},"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}`, nil, nil},
	{"bridge, static", `{"type":"bridge","bridge":"br0","isGateway":true,"ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.254"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.0.0.2"]}}}`, nil, nil},
	{"bridge, static by args", `{"type":"bridge","bridge":"br0","ipam":{"type":"static"}}`,
		[][2]string{{"IgnoreUnknown", "1"}, {"IP", "10.1.0.5/24"}, {"GATEWAY", "10.1.0.1"}}, nil},
	{"ptp", `{"type":"ptp","ipMasq":true,"mtu":1400,"ipam":{"type":"host-local","subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0"}]}}`, nil, nil},
	{"ptp, dual stack", `{"type":"ptp","ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00:1::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}}`, nil, nil},
	{"bridge and portmap", `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}},{"type":"portmap","capabilities":{"portMappings":true}}`,
		nil, map[string]any{"portMappings": []map[string]any{{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}}},
	{"bridge and tuning", `{"type":"bridge","bridge":"br0","ipam":{"type":"host-local","subnet":"10.1.0.0/24"}},{"type":"tuning","mtu":1300}`, nil, nil},
	{"nerdctl's default", `{"type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0"}]}},
		{"type":"portmap","capabilities":{"portMappings":true}},{"type":"firewall","ingressPolicy":"same-bridge"},{"type":"tuning","capabilities":{"mac":true}}`,
		nil, map[string]any{"mac": "02:00:00:00:00:09", "portMappings": []map[string]any{{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}}},
	{"bridge and sbr", `{"type":"bridge","bridge":"br0","isGateway":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0"}]}},{"type":"sbr"}`, nil, nil},
	{"tap", `{"type":"tap","multiQueue":true,"owner":0,"group":0,"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}`, nil, nil},
}

var versions = []string{"0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

type fixture struct {
	*testing.T
	reference, ours string // folders of plugins
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, reference: os.Getenv("SEAM_REFERENCE_PLUGINS"), ours: t.TempDir()}
	if f.reference == "" {
		t.Skip("needs the reference plugins: set SEAM_REFERENCE_PLUGINS to their folder, as make test does")
	}
	if out, err := exec.Command(plugintest.Program(t), "install", "--bin-dir", f.ours).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return f
}

// outcome is what an ADD came to, in a form that two implementations can share.
type outcome struct{ Result, Pod string }

// names that are random, or derived: veths and MAC addresses nobody asked for, and
// the tag that only Seam's links bear.
var random = regexp.MustCompile(`\\ +alias seam:[^\s"]+|veth[0-9a-f]+|([0-9a-f]{2}:){5}[0-9a-f]{2}|fe80::[0-9a-f:]+`)

func (f *fixture) normal(s string) string {
	return random.ReplaceAllStringFunc(s, func(found string) string {
		switch {
		case strings.HasPrefix(found, "02:00:00:00"), found == "ff:ff:ff:ff:ff:ff", found == "00:00:00:00:00:00":
			return found
		case strings.Contains(found, "alias"):
			return ""
		case strings.HasPrefix(found, "veth"):
			return "vethX"
		}
		return "X"
	})
}

// pod returns addresses and routes, by ip's words.
func (f *fixture) pod(pod *netnstest.Pod, ifname string) string {
	f.Helper()
	var b strings.Builder
	for _, args := range [][]string{{"-o", "-4", "addr", "show", "dev", ifname}, {"-o", "-6", "addr", "show", "dev", ifname, "scope", "global"},
		{"-4", "route"}, {"-6", "route", "show", "default"}} {
		b.WriteString(plugintest.Run(f, pod, "ip", args...))
	}
	link := plugintest.Run(f, pod, "ip", "-o", "link", "show", "dev", ifname)
	_, link, _ = strings.Cut(link, "mtu ")
	b.WriteString(link)
	// The kernel numbers links as they come. It says nodad where Seam spares the wait for
	// duplicate detection, noprefixroute where the reference deletes the prefix's route.
	return regexp.MustCompile(`link-netnsid \d+|(?m)^\d+: | nodad| noprefixroute`).ReplaceAllString(f.normal(b.String()), "")
}

type runner interface {
	add(list []byte, id string, pod *netnstest.Pod, ifname string) (result []byte, err error)
	del(list []byte, id string, pod *netnstest.Pod, ifname string) error
}

func (f *fixture) run(r runner, list []byte, id string) (outcome, error) {
	f.Helper()
	pod := netnstest.NewPod(f, id)
	ifname := "eth0"
	if strings.Contains(string(list), "loopback") {
		ifname = "lo"
	}
	result, err := r.add(list, id, pod, ifname)
	if err != nil {
		return outcome{}, errors.Join(err, r.del(list, id, pod, ifname))
	}
	o := outcome{f.normal(strings.ReplaceAll(string(result), id, "ID")), f.pod(pod, ifname)}
	if err := r.del(list, id, pod, ifname); err != nil {
		f.Errorf("%s: del: %v", id, err)
	}
	if _, err := plugintest.Try(pod, "ip", "link", "show", "eth0"); err == nil {
		f.Errorf("%s: eth0 is left after DEL", id)
	}
	_, _ = plugintest.Try(nil, "ip", "link", "del", "br0")
	for _, dir := range []string{"/var/lib/cni/networks", "/var/lib/cni/results"} {
		if err := os.RemoveAll(dir); err != nil {
			f.Fatal(err)
		}
	}
	return o, nil
}

// byLibcni runs plugins of a folder as libcni does.
type byLibcni struct {
	dir  string
	args [][2]string
	caps map[string]any
}

func (l byLibcni) conf(id string, pod *netnstest.Pod, ifname string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: id, NetNS: pod.Path, IfName: ifname, Args: l.args, CapabilityArgs: l.caps}
}

func (l byLibcni) add(list []byte, id string, pod *netnstest.Pod, ifname string) ([]byte, error) {
	network, err := libcni.NetworkConfFromBytes(list)
	if err != nil {
		return nil, err
	}
	result, err := libcni.NewCNIConfig([]string{l.dir}, nil).AddNetworkList(context.Background(), network, l.conf(id, pod, ifname))
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(result, "", " ")
}

func (l byLibcni) del(list []byte, id string, pod *netnstest.Pod, ifname string) error {
	network, err := libcni.NetworkConfFromBytes(list)
	if err != nil {
		return err
	}
	return libcni.NewCNIConfig([]string{l.dir}, nil).DelNetworkList(context.Background(), network, l.conf(id, pod, ifname))
}

// bySeam runs plugins of a folder as Seam's runtime does.
type bySeam struct {
	dir  string
	args [][2]string
	caps map[string]any
}

func (s bySeam) container(id string, pod *netnstest.Pod, ifname string) (seam.Container, error) {
	c := seam.Container{ID: id, NetNS: pod.Path, IfName: ifname, Capabilities: map[string]json.RawMessage{}}
	for _, a := range s.args {
		c.Args = append(c.Args, cni.Arg{Key: a[0], Value: a[1]})
	}
	for name, value := range s.caps {
		data, err := json.Marshal(value)
		if err != nil {
			return c, err
		}
		c.Capabilities[name] = data
	}
	return c, nil
}

func (s bySeam) add(list []byte, id string, pod *netnstest.Pod, ifname string) ([]byte, error) {
	network, err := seam.Parse(list, "")
	if err != nil {
		return nil, err
	}
	c, err := s.container(id, pod, ifname)
	if err != nil {
		return nil, err
	}
	rt := seam.Runtime{Plugins: wire.Path{Dirs: []string{s.dir}}}
	result, err := rt.Attach(context.Background(), network, c)
	if err != nil {
		return nil, err
	}
	data, err := wire.EncodeResult(result, network.Version)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	return json.MarshalIndent(v, "", " ")
}

func (s bySeam) del(list []byte, id string, pod *netnstest.Pod, ifname string) error {
	network, err := seam.Parse(list, "")
	if err != nil {
		return err
	}
	c, err := s.container(id, pod, ifname)
	if err != nil {
		return err
	}
	return (&seam.Runtime{Plugins: wire.Path{Dirs: []string{s.dir}}}).Detach(context.Background(), network, c)
}

// TestSameResults: libcni with the reference plugins is the oracle. Against it stand
// libcni with Seam's plugins, and Seam's runtime with the reference plugins.
func TestSameResults(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		n := 0
		for _, c := range cases {
			for _, version := range versions {
				// The form of a version does not depend on the rest. Below 1.0.0 the reference's
				// loopback labels a new form with the old version.
				if version != "1.1.0" && !strings.Contains(c.name, "dual stack") {
					continue
				}
				n++
				list := fmt.Appendf(nil, `{"cniVersion":%q,"name":"net","plugins":[%s]}`, version, c.plugins)
				want, wantErr := f.run(byLibcni{f.reference, c.args, c.caps}, list, fmt.Sprintf("ref%d", n))
				for i, r := range []runner{
					byLibcni{f.ours, c.args, c.caps},
					bySeam{f.reference, c.args, c.caps},
					bySeam{f.ours, c.args, c.caps},
				} {
					who := []string{"libcni and Seam's plugins", "Seam and the reference's plugins", "Seam and Seam's plugins"}[i]
					got, err := f.run(r, list, fmt.Sprintf("p%d%c", n, 'a'+i))
					if (err == nil) != (wantErr == nil) {
						t.Errorf("%s, %s, %s: error %v; the reference's: %v", c.name, version, who, err, wantErr)
						continue
					}
					if diff := cmp.Diff(sameForm(t, want), sameForm(t, got)); diff != "" {
						t.Errorf("%s, %s, %s (-reference +seam):\n%s", c.name, version, who, diff)
					}
				}
			}
		}
	})
}

// sameForm brings a result's JSON into one form.
func sameForm(t *testing.T, o outcome) any {
	t.Helper()
	var v map[string]any
	if o.Result != "" {
		if err := json.Unmarshal([]byte(o.Result), &v); err != nil {
			t.Fatal(err)
		}
	}
	if dns, ok := v["dns"].(map[string]any); ok && len(dns) == 0 {
		delete(v, "dns")
	}
	return map[string]any{"result": v, "pod": strings.Split(o.Pod, "\n")}
}

// TestVersions: each plugin serves the versions that the reference plugin of its name does.
func TestVersions(t *testing.T) {
	f := setup(t)
	plugins, err := os.ReadDir(f.reference)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plugins {
		if strings.HasPrefix(p.Name(), ".") {
			continue
		}
		answer := func(dir string) string {
			cmd := exec.Command(filepath.Join(dir, p.Name()))
			cmd.Env = []string{"CNI_COMMAND=VERSION"}
			cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0"}`)
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("VERSION of %s/%s: %v", dir, p.Name(), err)
			}
			return strings.TrimSpace(string(out))
		}
		if diff := cmp.Diff(answer(f.reference), answer(f.ours)); diff != "" {
			t.Errorf("VERSION of %s (-reference +seam):\n%s", p.Name(), diff)
		}
	}
}
