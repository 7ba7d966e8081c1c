package bandwidth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/bandwidth"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/ptp"
	"github.com/seamnet/seam/plugin/static"
)

var (
	ctx  = context.Background()
	must = plugintest.Must
)

const interfaceConf = `{"cniVersion":"1.1.0","name":"net","type":"ptp","ipam":{"type":"static",
"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"},{"address":"fd00:1::5/64","gateway":"fd00:1::1"}],
"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}}`

// limits is 1 MB a second, with what 50 ms of that are as burst.
const limits = `"ingressRate":8000000,"ingressBurst":400000,"egressRate":8000000,"egressBurst":400000`

// world is a host with a pod that maker, ptp, attached.
type world struct {
	*plugintest.Fixture
	maker cni.Plugin
	veth  string // the host's end of the pod's eth0
	state string // folder of records
}

func newWorld(t *testing.T) *world {
	t.Helper()
	h := plugintest.Host(t)
	w := &world{Fixture: plugintest.New(t, bandwidth.New(h), cni.Registry{"static": static.New()}), maker: ptp.New(h)}
	made := w.Request(interfaceConf)
	w.Attach(w.maker, made)
	w.Prev, w.veth, w.state = made.Prev, plugin.HostName(made.Tag()), h.Dirs.State
	plugintest.Run(t, w.Pod, "ping", "-c1", "-W2", "fd00:1::1") // the kernel has made all of its routes
	return w
}

func conf(keys string) string { return plugintest.Conf("bandwidth", keys) }

// tc returns queues and filters of the host without what two hosts need not share.
func tc(t testing.TB) string {
	t.Helper()
	return plugintest.Run(t, nil, "tc", "qdisc", "show")
}

// TestCheck: each thing that a person can break by hand is found.
func TestCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		for _, tt := range []struct{ name, keys, breaks, want string }{
			{"queue to the pod", limits, "qdisc del dev VETH root", "is noqueue, not tbf"},
			{"another rate", limits, "qdisc change dev VETH root handle 1: tbf rate 9mbit burst 50000 limit 75000", "lets pass 1125000 bytes a second"},
			{"another burst", limits, "qdisc change dev VETH root handle 1: tbf rate 8mbit burst 40000 limit 75000", "burst 40ms"},
			{"queue from the pod", limits, "qdisc del dev IFB root", "qdisc of IFB: is"},
			{"redirection", limits, "filter del dev VETH ingress", "filters of VETH: all redirect to link"},
			{"ingress", limits, "qdisc del dev VETH ingress", "filters of VETH"},
			{"ifb", limits, "LINK del IFB", "link IFB: is not there"},
			{"ifb down", limits, "LINK set IFB down", "link IFB: is down"},
			{"class", limits + `,"shapedSubnets":["10.0.0.0/8"]`, "class change dev VETH parent 1: classid 1:1 htb rate 9mbit", "has no class 1:1 of 1000000 bytes"},
			{"subnet to the pod", limits + `,"shapedSubnets":["10.0.0.0/8"]`, "filter del dev VETH parent 1:", "filters of VETH: from 10.0.0.0/8 shaped is gone"},
			{"subnet from the pod", limits + `,"unshapedSubnets":["::/0","fd00:1::7/128"]`, "filter del dev VETH ingress pref 2", "to ::/0 pass is gone"},
			{"classes", limits + `,"unshapedSubnets":["10.0.0.0/8"]`, "qdisc del dev VETH root", "is noqueue, not htb"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				r := w.Request(conf(tt.keys))
				result, err := w.Add(ctx, r)
				must(t, err)
				r.Prev = result
				must(t, w.Check(ctx, r))
				ifb := result.Interfaces[len(result.Interfaces)-1].Name
				names := strings.NewReplacer("VETH", w.veth, "IFB", ifb)
				args := append([]string{"tc"}, strings.Fields(names.Replace(tt.breaks))...)
				if args[1] == "LINK" {
					args[0], args[1] = "ip", "link"
				}
				plugintest.Run(t, nil, args[0], args[1:]...)
				plugintest.WantError(t, "CHECK", w.Check(ctx, r), cni.CodeInternal, names.Replace(tt.want))
				must(t, w.Del(ctx, r))
				if left := tc(t); strings.Contains(left, "tbf") || strings.Contains(left, "htb") || strings.Contains(left, "ingress") {
					t.Errorf("DEL left:\n%s", left)
				}
			})
		}
	})
}

// TestDel: nothing is left, whatever DEL is not told.
func TestDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before, queues := plugintest.State(t), tc(t)
		for name, forget := range map[string]func(*cni.Request){
			"all is known":   func(*cni.Request) {},
			"no prevResult":  func(r *cni.Request) { r.Prev = nil },
			"no limits":      func(r *cni.Request) { r.Config.JSON = json.RawMessage(`{}`) },
			"invalid limits": func(r *cni.Request) { r.Config.JSON = json.RawMessage(`{"ingressRate":"fast"}`) },
			"nothing":        func(r *cni.Request) { r.Prev, r.Config.JSON = nil, json.RawMessage(`{}`) },
		} {
			_, err := w.Add(ctx, w.Request(conf(limits)))
			must(t, err)
			r := w.Request(conf(limits))
			forget(r)
			must(t, w.Del(ctx, r))
			must(t, w.Del(ctx, r))
			if diff := cmp.Diff(before+queues, plugintest.State(t)+tc(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		for _, netNS := range []string{"", "/run/netns/none"} {
			_, err := w.Add(ctx, w.Request(conf(`"egressRate":8000000`)))
			must(t, err)
			r := w.Request(conf(""))
			r.NetNS = netNS
			must(t, w.Del(ctx, r))
			if links := plugintest.Run(t, nil, "ip", "link"); strings.Contains(links, "bwp") {
				t.Errorf("netns %q: DEL left:\n%s", netNS, links)
			}
			must(t, w.Del(ctx, w.Request(conf("")))) // what leads to the ifb that is gone
		}
		if diff := cmp.Diff(queues, tc(t)); diff != "" {
			t.Errorf("queues (-want +got):\n%s", diff)
		}
	})
}

func TestGC(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.Request(conf(limits))
		_, err := w.Add(ctx, r)
		must(t, err)
		want := plugintest.Run(t, nil, "ip", "-o", "link")
		gc := w.Request(conf(""))
		gc.Attachment = cni.Attachment{Network: "net"}
		for name, valid := range map[string][]cni.Attachment{"no list": nil, "valid": {r.Attachment}} {
			gc.Valid = valid
			must(t, w.GC(ctx, gc))
			if diff := cmp.Diff(want, plugintest.Run(t, nil, "ip", "-o", "link")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		plugintest.Run(t, w.Pod, "ip", "link", "del", "eth0")
		gc.Valid = []cni.Attachment{{Network: "net", ContainerID: "c2", IfName: "eth0"}}
		must(t, w.GC(ctx, gc))
		if links := plugintest.Run(t, nil, "ip", "link"); strings.Contains(links, "bwp") {
			t.Errorf("left:\n%s", links)
		}
	})
}

// TestGCAfterKill: an ifb that was made when the plugin was killed, and bears no alias yet,
// is collected, and so is a record of one that was not made.
func TestGCAfterKill(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.Request(conf(limits))
		_, err := w.Add(ctx, r)
		must(t, err)
		records := filepath.Join(w.state, "bandwidth")
		if left, err := os.ReadDir(records); err != nil || len(left) > 0 {
			t.Errorf("after ADD: %v, %v, want an empty folder", left, err)
		}
		name := "bwp" + r.Tag().Hash(12)
		must(t, os.WriteFile("/sys/class/net/"+name+"/ifalias", []byte("\n"), 0))
		for container, link := range map[string]string{r.ContainerID: name, "never": "bwp000000000000"} {
			tag := cni.Attachment{Network: "net", ContainerID: container, IfName: "eth0"}.Tag()
			must(t, os.WriteFile(filepath.Join(records, tag.Hash(32)+".json"), fmt.Appendf(nil, `{"tag":%q,"link":%q}`, tag, link), 0o600))
		}
		gc := w.Request(conf(""))
		gc.Attachment = cni.Attachment{Network: "net"}
		gc.Valid = []cni.Attachment{r.Attachment}
		must(t, w.GC(ctx, gc))
		if links := plugintest.Run(t, nil, "ip", "link"); !strings.Contains(links, name) {
			t.Errorf("of a valid attachment, gone:\n%s", links)
		}
		gc.Valid = []cni.Attachment{}
		must(t, w.GC(ctx, gc))
		if links := plugintest.Run(t, nil, "ip", "link"); strings.Contains(links, name) {
			t.Errorf("left:\n%s", links)
		}
		if left, err := os.ReadDir(records); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// TestTwoInterfaces: the reference's name for the ifb is the same for all interfaces of
// a container on a network, Seam's is not.
func TestTwoInterfaces(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		second := w.Request(strings.NewReplacer("10.1.", "10.2.", "fd00:1:", "fd00:2:").Replace(interfaceConf))
		second.IfName = "eth1"
		prev, err := w.maker.Add(ctx, second)
		must(t, err)
		r1, r2 := w.Request(conf(limits)), w.Request(conf(limits))
		r2.IfName, r2.Prev = "eth1", prev
		for _, r := range []*cni.Request{r1, r2} {
			r.Prev, err = w.Add(ctx, r)
			must(t, err)
		}
		must(t, errors.Join(w.Check(ctx, r1), w.Check(ctx, r2)))
		must(t, w.Del(ctx, r2))
		must(t, w.Del(ctx, r2)) // must not take the first one's for the reference's
		must(t, w.Check(ctx, r1))
	})
}

// TestInTheWay: what is there already is refused, and stays.
func TestInTheWay(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		_, err := w.Add(ctx, w.Request(conf(`"egressRate":8000000`)))
		must(t, err)
		want := tc(t) + plugintest.State(t)
		for _, keys := range []string{limits, `"egressRate":8000000`} {
			_, err = w.Add(ctx, w.Request(conf(keys)))
			if cni.CodeOf(err) != cni.CodeExists {
				t.Errorf("ADD again: %v, code %d", err, cni.CodeOf(err))
			}
			if diff := cmp.Diff(want, tc(t)+plugintest.State(t)); diff != "" {
				t.Errorf("ADD again (-want +got):\n%s", diff)
			}
		}
		must(t, w.Del(ctx, w.Request(conf(""))))

		plugintest.Run(t, nil, "tc", "qdisc", "add", "dev", w.veth, "root", "tbf", "rate", "1mbit", "burst", "9k", "latency", "9ms")
		plugintest.Run(t, nil, "tc", "qdisc", "add", "dev", w.veth, "clsact")
		want = tc(t)
		_, err = w.Add(ctx, w.Request(conf(limits)))
		if cni.CodeOf(err) != cni.CodeExists {
			t.Errorf("over another's qdisc: %v", err)
		}
		_, err = cni.Add(ctx, w, w.Request(conf(`"egressRate":8000000`)))
		plugintest.WantError(t, "over another's clsact", err, cni.CodeInternal, "add qdisc ingress")
		if diff := cmp.Diff(want, tc(t)); diff != "" {
			t.Errorf("another's (-want +got):\n%s", diff)
		}
	})
}

func TestInvalid(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before := plugintest.State(t) + tc(t)
		for _, tt := range []struct {
			keys, want string
			code       cni.Code
		}{
			{`"ingressBurst":8000`, "ingressBurst 8000: there is no ingressRate", cni.CodeInvalidConfig},
			{`"runtimeConfig":{"bandwidth":{"egressBurst":8000}}`, "egressBurst 8000: there is no egressRate", cni.CodeInvalidConfig},
			{`"ingressRate":7`, "at least 8", cni.CodeInvalidConfig},
			{`"ingressRate":8000,"ingressBurst":7`, "at least 8", cni.CodeInvalidConfig},
			{`"egressRate":8000,"egressBurst":34359738360`, "less than 4 GiB", cni.CodeInvalidConfig},
			{`"egressRate":-8000`, "egressRate", cni.CodeDecoding},
			{`"shapedSubnets":["10.0.0.0"]`, "10.0.0.0", cni.CodeDecoding},
			{`"shapedSubnets":["::ffff:10.0.0.0/104"]`, "write it as", cni.CodeInvalidConfig},
			{`"shapedSubnets":["10.0.0.0/8"],"unshapedSubnets":["10.1.0.0/16"]`, "only one of them", cni.CodeInvalidConfig},
		} {
			_, err := w.Add(ctx, w.Request(conf(tt.keys)))
			plugintest.WantError(t, tt.keys, err, tt.code, tt.want)
		}
		r := w.Request(conf(limits))
		r.Prev = nil
		_, err := w.Add(ctx, r)
		plugintest.WantError(t, "no prevResult", err, cni.CodeInvalidConfig, "needs prevResult")
		r = w.Request(conf("")) // no prevResult and no limits
		r.Prev = nil
		plugintest.WantError(t, "no prevResult", w.Check(ctx, r), cni.CodeInvalidConfig, "needs prevResult")
		r = w.Request(conf(limits))
		r.Prev = &cni.Result{Interfaces: []cni.Interface{{Name: "eth0", Sandbox: w.Pod.Path}}}
		_, err = w.Add(ctx, r)
		plugintest.WantError(t, "host end not named", err, cni.CodeInvalidConfig, "prevResult does not name "+w.veth)
		r.IfName = "lo"
		_, err = w.Add(ctx, r)
		plugintest.WantError(t, "no veth", err, cni.CodeInternal, "not a veth")
		must(t, w.Check(ctx, w.Request(conf(""))))
		if diff := cmp.Diff(before, plugintest.State(t)+tc(t)); diff != "" {
			t.Errorf("touched (-want +got):\n%s", diff)
		}
	})
}

// TestKeys: which limits count, and what a burst is when none is given. The names of
// containerd's runtimeConfig begin with capitals.
func TestKeys(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		for _, tt := range []struct{ name, keys, want string }{
			{"none", "", ""},
			{"zero", `"ingressRate":0,"runtimeConfig":{"bandwidth":{"ingressRate":8000}}`, ""},
			{"default burst", `"ingressRate":80000000`, "rate 80Mbit burst 1000000b lat 25ms"},
			{"default burst of a low rate", `"ingressRate":80000`, "rate 80Kbit burst 3028b lat 25ms"},
			{"top level", `"ingressRate":8000000,"ingressBurst":400000,"runtimeConfig":{"bandwidth":{"ingressRate":8000}}`, "rate 8Mbit burst 50000b lat 25ms"},
			{"runtime", `"runtimeConfig":{"bandwidth":{"IngressRate":8000000,"IngressBurst":400000,"EgressRate":0}}`, "rate 8Mbit burst 50000b lat 25ms"},
			{"boundless burst", `"runtimeConfig":{"bandwidth":{"ingressRate":8000000,"ingressBurst":4294967294}}`, "rate 8Mbit burst 274877906b lat"},
			{"containerd's burst", `"runtimeConfig":{"bandwidth":{"ingressRate":8000000,"ingressBurst":4294967295}}`, "rate 8Mbit burst 100000b lat 25ms"},
			{"large rate", `"ingressRate":80000000000`, "rate 80Gbit burst 1000000000b lat 25ms"},
		} {
			_, err := w.Add(ctx, w.Request(conf(tt.keys)))
			must(t, err)
			must(t, w.Check(ctx, w.Request(conf(tt.keys))))
			got := plugintest.Run(t, nil, "tc", "qdisc", "show", "dev", w.veth)
			if !strings.Contains(got, tt.want) || (tt.want == "") != strings.HasPrefix(got, "qdisc noqueue") {
				t.Errorf("%s: want %q in %s", tt.name, tt.want, got)
			}
			must(t, w.Del(ctx, w.Request(conf(tt.keys))))
		}
	})
}

func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := bandwidth.New(plugintest.Host(t))
		must(t, p.Status(ctx, plugintest.Request(t, conf(limits), nil, "c1", nil)))
		plugintest.WantError(t, "invalid", p.Status(ctx, plugintest.Request(t, conf(`"ingressBurst":8`), nil, "c1", nil)), cni.CodeInvalidConfig, "there is no ingressRate")

		host := plugintest.Links(t, nil)
		probe := host.AddIFB(link.Base{Name: "probe"})
		shaped := &bandwidth.Config{Limits: &bandwidth.Limits{EgressRate: 8000}}
		if err := shaped.Available(host); (err == nil) != (probe == nil) {
			t.Errorf("available: %v, and one is made: %v", err, probe)
		}
		must(t, new(bandwidth.Config).Available(host))
	})
}
