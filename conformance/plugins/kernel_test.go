package plugins_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// The bridge that is made to fit less, and what a network of it looks like.
const (
	dual   = `{"type":"host-local","ranges":[[{"subnet":"10.77.0.0/24"}],[{"subnet":"fd00:77::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`
	sound  = `{"type":"TYPE","bridge":"conform0","isGateway":true,"hairpinMode":true,"capabilities":{"mac":true,"ips":true,"bandwidth":true},KEYS"ipam":` + dual + `}`
	ground = `{"type":"bridge","bridge":"conform0","isGateway":true,"hairpinMode":true,"ipam":` + dual + `}`
)

// A misfit is a plugin that is broken on purpose, with the check that must find it.
type misfit struct {
	plugin string // of crooked
	keys   string // of its configuration, each with a comma behind it; chained: all
	check  string
	want   conformance.Outcome
	note   string // a part of what the finding says
}

// network returns the conflist with the plugin: in the bridge's place or chained to it.
func (f misfit) network() string {
	if strings.HasPrefix(f.plugin, "chained-") {
		return fmt.Sprintf(`{"cniVersion":"1.1.0","name":"faulty","plugins":[%s,{%s"type":%q}]}`, ground, f.keys, f.plugin)
	}
	conf := strings.NewReplacer("TYPE", f.plugin, "KEYS", f.keys).Replace(sound)
	return fmt.Sprintf(`{"cniVersion":"1.1.0","name":"faulty","plugins":[%s]}`, conf)
}

// find carries out its check and wants what it must say.
func (f misfit) find(t *testing.T) {
	t.Helper()
	target := plugins.Target{Config: []byte(f.network()), Dirs: []string{t.TempDir()}, Builtin: true}
	suite, err := plugins.Suite(target, f.plugin, nil)
	if err != nil {
		t.Error(err)
		return
	}
	report, err := conformance.Run(t.Context(), suite, conformance.Options{Match: regexp.MustCompile("^" + f.check + "$")})
	if err != nil {
		t.Error(err)
		return
	}
	got := report.Findings[0]
	if notes := strings.Join(got.Notes, "\n"); got.Outcome != f.want || !strings.Contains(notes, f.note) {
		t.Errorf("%s: %s %s: %s; want %s, with %q", f.plugin, got.ID, got.Outcome, notes, f.want, f.note)
	}
}

// findAll finds several at a time: most of it is waiting for answers that do not come.
func findAll(t *testing.T, misfits []misfit) {
	t.Helper()
	slots := make(chan struct{}, 8)
	var group sync.WaitGroup
	for _, f := range misfits {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f.find(t)
		})
	}
	group.Wait()
}

func TestKernelMisfits(t *testing.T) {
	t.Parallel()
	const failed, lacking, differs = conformance.Failed, conformance.Lacking, conformance.Differs
	findAll(t, []misfit{
		{"renames", "", "kernel/interface", failed, "eth0"},
		{"sets-down", "", "kernel/up", lacking, "is down"},
		{"lies-about-mac", "", "kernel/interfaces", failed, "the result says 02:00:00:00:00:99"},
		{"takes-others", "", "kernel/two-pods", failed, "not"},
		{"forgets-address", "", "kernel/addresses", failed, "the result says 10.77.0.2/24"},
		{"adds-address", "", "kernel/no-other-addresses", lacking, "10.99.0.1/32"},
		{"asks-for-duplicates", "", "kernel/usable", lacking, "tentative true"},
		{"forgets-routes", "", "kernel/routes", failed, "0.0.0.0/0"},
		{"forgets-keys", "", "kernel/route-keys", lacking, "priority 77"},
		{"forgets-keys", "", "kernel/route-metrics", differs, "mtu 1333"},
		{"adds-default", "", "kernel/no-default-route", lacking, "0.0.0.0/0"},
		{"stops-forwarding", "", "kernel/gateway", lacking, "does not forward"},
		{"takes-default", "", "kernel/host-untouched", failed, "route 0.0.0.0/0 via 192.0.2.1 over eth0"},
		{"turns-off-ipv6", "", "kernel/ipv6-turned-off", lacking, "the result says fd00:77::2/64"},
		{"deaf", `"mtu":1400,`, "kernel/mtu", failed, "the configuration says 1400"},
		{"deaf", `"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"},`, "kernel/sysctl", failed, `says "1"`},
		{"deaf", "", "kernel/bandwidth-ingress", failed, "the limit is 24.0"},
		{"deaf", "", "kernel/bandwidth-egress", failed, "the limit is 24.0"},
		{"deaf", "", "kernel/chosen-mac", failed, "was asked for"},
		{"deaf", "", "kernel/chosen-ips", failed, "was asked for"},
		{"deaf", "", "kernel/args-mac", differs, "was asked for"},
		{"deaf", "", "kernel/args-ip", differs, "was asked for"},
		{"shortens-ids", "", "kernel/long-names", failed, "too long"},
		{"folds-ids", "", "kernel/container-ids", failed, "were not attached"},
		{"takes-others", "", "kernel/two-interfaces", failed, "eth0"},
		{"keeps-all", "", "kernel/gone", failed, "still in the pod after DEL"},
	})
}

// crooked returns plugins that are the bridge or nothing, but for one fault each.
func crooked(bridge, portmap cni.Plugin) cni.Registry {
	registry := cni.Registry{
		"deaf":         broken{Plugin: bridge, add: deafen(bridge.Add)},
		"takes-others": broken{Plugin: bridge, del: takeOthers(bridge)},
		"keeps-all":    broken{Plugin: bridge, del: func(context.Context, *cni.Request) error { return nil }},
		"shortens-ids": broken{Plugin: bridge, add: func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
			if len(r.ContainerID) > 32 {
				return nil, cni.Untouched(errors.New("the container's ID is too long"))
			}
			return bridge.Add(ctx, r)
		}},
		"folds-ids": broken{Plugin: bridge, add: func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
			folded := *r
			folded.ContainerID = strings.ToLower(r.ContainerID)
			return bridge.Add(ctx, &folded)
		}},
	}
	for name, spoil := range spoilers() {
		registry[name] = broken{Plugin: bridge, add: func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
			result, err := bridge.Add(ctx, r)
			if err == nil {
				err = spoil(&scene{r, result})
			}
			return result, err
		}}
	}
	maps.Copy(registry, crookedNetworks(bridge))
	for name, p := range crookedChained(portmap) {
		registry["chained-"+name] = p
	}
	return registry
}

// deafen has a plugin never hear of what was asked for beside the plainest.
func deafen(add addFunc) addFunc {
	return func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
		o, err := wire.ParseObject(r.Config.JSON)
		if err != nil {
			return nil, err
		}
		o.Delete("runtimeConfig", "args", "mtu", "ipMasq", "portIsolation", "macspoofchk")
		deaf := *r
		deaf.Config.JSON, deaf.Args = o.Bytes(), nil
		return add(ctx, &deaf)
	}
}

// takeOthers removes, with an attachment's veth, those of all others.
func takeOthers(bridge cni.Plugin) delFunc {
	return func(ctx context.Context, r *cni.Request) error {
		err := bridge.Del(ctx, r)
		h, openErr := link.Open()
		if openErr != nil {
			return openErr
		}
		defer h.Close()
		list, listErr := h.List()
		for _, l := range list {
			if strings.HasPrefix(l.Name, "veth") {
				_ = h.Delete(l.Name) // or its peer's end took it
			}
		}
		return errors.Join(err, listErr)
	}
}

// A scene is what a fault can spoil: all that ADD made.
type scene struct {
	request *cni.Request
	result  *cni.Result
}

// inPod calls f with the pod's links and its interface.
func (s *scene) inPod(f func(*link.Handle, link.Link) error) error {
	ns, err := netns.Open(s.request.NetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := link.In(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.ByName(s.request.IfName)
	if err != nil {
		return err
	}
	return f(h, l)
}

// within calls f in the pod's namespace.
func (s *scene) within(f func() error) error {
	ns, err := netns.Open(s.request.NetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(f)
}

// set writes a setting in the pod.
func (s *scene) set(name link.Sysctl, value string) error {
	return s.within(func() error { return name.Write(value) })
}

// firewall adds a table of the host's, in nft's words.
func firewall(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

func host(f func(*link.Handle) error) error {
	h, err := link.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	return f(h)
}

var defaultRoute = link.Route{Route: cni.Route{Dst: netip.MustParsePrefix("0.0.0.0/0")}}

func spoilers() map[string]func(*scene) error {
	all := podSpoilers()
	all["renames"] = func(s *scene) error {
		return s.inPod(func(h *link.Handle, l link.Link) error {
			return errors.Join(h.Set(l, link.Change{Down: true}), h.Rename(l, "other0"))
		})
	}
	all["lies-about-mac"] = func(s *scene) error {
		s.result.Interfaces[2].MAC = net.HardwareAddr{2, 0, 0, 0, 0, 0x99}
		return nil
	}
	all["stops-forwarding"] = func(*scene) error { return link.Sysctl("ipv4/ip_forward").Write("0") }
	all["takes-default"] = func(*scene) error {
		return host(func(h *link.Handle) error {
			l, err := h.ByName(plugins.Uplink)
			return errors.Join(err, h.DeleteRoute(l, defaultRoute))
		})
	}
	all["narrows"] = func(s *scene) error {
		return host(func(h *link.Handle) error {
			return h.Set(link.Link{Name: s.result.Interfaces[1].Name}, link.Change{MTU: 1280})
		})
	}
	for name, rules := range firewalls() {
		all[name] = func(*scene) error { return firewall(rules) }
	}
	return all
}

// podSpoilers change the pod after ADD.
func podSpoilers() map[string]func(*scene) error {
	pod := func(f func(*link.Handle, link.Link) error) func(*scene) error {
		return func(s *scene) error { return s.inPod(f) }
	}
	return map[string]func(*scene) error{
		"sets-down": pod(func(h *link.Handle, l link.Link) error { return h.Set(l, link.Change{Down: true}) }),
		"forgets-address": pod(func(h *link.Handle, l link.Link) error {
			return h.DeleteAddr(l, netip.MustParsePrefix("10.77.0.2/24"))
		}),
		"adds-address": pod(func(h *link.Handle, l link.Link) error {
			return h.AddAddr(l, link.Addr{Prefix: netip.MustParsePrefix("10.99.0.1/32")})
		}),
		"asks-for-duplicates": func(s *scene) error {
			addr := s.result.IPs[slices.IndexFunc(s.result.IPs, func(ip cni.IP) bool { return ip.Address.Addr().Is6() })].Address
			return errors.Join(s.set("ipv6/conf/eth0/accept_dad", "1"), s.inPod(func(h *link.Handle, l link.Link) error {
				return errors.Join(h.DeleteAddr(l, addr), h.AddAddr(l, link.Addr{Prefix: addr}))
			}))
		},
		"forgets-routes": pod(func(h *link.Handle, l link.Link) error { return h.DeleteRoute(l, defaultRoute) }),
		"forgets-keys": pod(func(h *link.Handle, l link.Link) error {
			told := cni.Route{Dst: netip.MustParsePrefix("198.51.100.0/24")}
			table := 1077
			return errors.Join(
				ignore(h.DeleteRoute(l, link.Route{Route: told})),
				ignore(h.DeleteRoute(l, link.Route{Route: cni.Route{Dst: told.Dst, Table: &table}})),
				h.AddRoute(l, link.Route{Route: cni.Route{Dst: told.Dst, GW: netip.MustParseAddr("10.77.0.1")}}),
			)
		}),
		"adds-default": pod(func(h *link.Handle, l link.Link) error { return h.AddRoute(l, defaultRoute) }),
		"stops-neighbours": func(s *scene) error {
			return s.within(func() error {
				return firewall(`table inet wrong { chain in { type filter hook input priority 0; ip saddr 10.77.0.0/24 reject; }; }`)
			})
		},
		"turns-off-ipv6": func(s *scene) error { return s.set("ipv6/conf/eth0/disable_ipv6", "1") },
	}
}

func ignore(err error) error {
	if link.Missing(err) {
		return nil
	}
	return err
}
