package plugin_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/ptp"
)

// A tape is an IPAM plugin that keeps what it was asked.
type tape struct {
	calls  []string
	last   *cni.Request
	result cni.Result
	fail   map[string]error // by verb
	asked  func(verb string)
}

func (p *tape) note(verb string, r *cni.Request) error {
	p.calls, p.last = append(p.calls, verb), r
	if p.asked != nil {
		p.asked(verb)
	}
	return p.fail[verb]
}

func (p *tape) Add(_ context.Context, r *cni.Request) (*cni.Result, error) {
	if err := p.note("ADD", r); err != nil {
		return nil, err
	}
	return p.result.Clone(), nil
}
func (p *tape) Check(_ context.Context, r *cni.Request) error  { return p.note("CHECK", r) }
func (p *tape) Del(_ context.Context, r *cni.Request) error    { return p.note("DEL", r) }
func (p *tape) GC(_ context.Context, r *cni.Request) error     { return p.note("GC", r) }
func (p *tape) Status(_ context.Context, r *cni.Request) error { return p.note("STATUS", r) }

func (p *tape) take() []string {
	calls := p.calls
	p.calls = nil
	return calls
}

// desk is an interface plugin with that IPAM.
type desk struct {
	*testing.T
	cni.Plugin
	tape *tape
	pod  *netnstest.Pod
	conf string
}

func (d *desk) request() *cni.Request {
	d.Helper()
	return plugintest.Request(d, d.conf, d.pod, "c1", cni.Registry{"tape": d.tape})
}

// wantCalls fails the test if IPAM was asked something else since it was last called.
func (d *desk) wantCalls(when string, want ...string) {
	d.Helper()
	if diff := cmp.Diff(want, d.tape.take()); diff != "" {
		d.Errorf("%s: calls of IPAM (-want +got):\n%s", when, diff)
	}
}

func (d *desk) wantNoInterface(when string) {
	d.Helper()
	if out, err := plugintest.Try(d.pod, "ip", "link", "show", "eth0"); err == nil {
		d.Errorf("%s: the interface is left: %s", when, out)
	}
}

// interfaces runs the test for each plugin that makes an interface.
func interfaces(t *testing.T, test func(d *desk)) {
	netnstest.Host(t, func(t *testing.T) {
		for name, make := range map[string]func(*plugin.Host) cni.Plugin{"bridge": bridge.New, "ptp": ptp.New} {
			t.Run(name, func(t *testing.T) {
				tape := &tape{fail: map[string]error{}}
				tape.result.IPs = []cni.IP{{Address: netip.MustParsePrefix("10.1.0.5/24"), Gateway: netip.MustParseAddr("10.1.0.1")}}
				tape.result.DNS.Nameservers = []string{"10.1.0.53"}
				test(&desk{
					T: t, Plugin: make(plugintest.Host(t)), tape: tape, pod: netnstest.NewPod(t, name+"-pod"),
					conf: `{"cniVersion":"1.1.0","name":"` + name + `-net","type":"` + name + `","mtu":1400,"ipMasq":true,
						"dns":{"domain":"own.example"},"ipam":{"type":"tape","x":{"n":12345678901234567890}}}`,
				})
			})
		}
	})
}

var sameRequest = cmp.Options{
	cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.IgnoreFields(cni.Request{}, "Plugins"),
}

// TestIPAMIsAskedTheSame: each verb reaches IPAM with the whole configuration and the
// parameters that the interface plugin has.
func TestIPAMIsAskedTheSame(t *testing.T) {
	interfaces(t, func(d *desk) {
		r := d.request()
		r.Args = cni.Args{{Key: "IgnoreUnknown", Value: "1"}, {Key: "K8S_POD_NAME", Value: "p"}}
		want := *r
		want.Config.Type = "tape"
		same := func(verb string) {
			d.Helper()
			d.wantCalls(verb, verb)
			if diff := cmp.Diff(&want, d.tape.last, sameRequest); diff != "" {
				d.Errorf("%s: request (-want +got):\n%s", verb, diff)
			}
		}
		result, err := d.Add(d.Context(), r)
		if err != nil {
			d.Fatal(err)
		}
		same("ADD")
		r.Prev, want.Prev = result, result
		for _, verb := range []struct {
			name string
			call func(context.Context, *cni.Request) error
		}{{"CHECK", d.Check}, {"STATUS", d.Status}, {"DEL", d.Del}} {
			if err := verb.call(d.Context(), r); err != nil {
				d.Errorf("%s: %v", verb.name, err)
			}
			same(verb.name)
		}
		// An absent list is not an empty one.
		for _, valid := range [][]cni.Attachment{nil, {}, {r.Attachment}} {
			r.Valid, want.Valid = valid, valid
			if err := d.GC(d.Context(), r); err != nil {
				d.Error(err)
			}
			same("GC")
		}
	})
}

// TestIPAMIsUndone: what IPAM gave is given back when it failed itself, and when
// anything after it did.
func TestIPAMIsUndone(t *testing.T) {
	interfaces(t, func(d *desk) {
		busy := cni.Errorf(cni.CodeTryAgain, "busy")
		d.tape.fail["ADD"] = busy
		if _, err := d.Add(d.Context(), d.request()); !errors.Is(err, busy) || cni.CodeOf(err) != cni.CodeTryAgain {
			d.Errorf("ADD: %v, want IPAM's error and code", err)
		}
		d.wantCalls("IPAM fails", "ADD", "DEL")
		if err := d.Del(d.Context(), d.request()); err != nil {
			d.Error(err)
		}
		d.wantCalls("DEL", "DEL")
		d.wantNoInterface("IPAM fails")

		delete(d.tape.fail, "ADD")
		d.tape.result.Routes = []cni.Route{{Dst: netip.MustParsePrefix("192.0.2.0/24"), GW: netip.MustParseAddr("198.51.100.1")}}
		if _, err := cni.Add(d.Context(), d, d.request()); err == nil {
			d.Error("ADD with a gateway that is no neighbour: no error")
		}
		d.wantCalls("a route fails", "ADD", "DEL")
		d.wantNoInterface("a route fails")

		d.tape.result = cni.Result{}
		if _, err := cni.Add(d.Context(), d, d.request()); err == nil || !strings.Contains(err.Error(), "gave no address") {
			d.Errorf("ADD without addresses: %v", err)
		}
		d.wantCalls("no address", "ADD", "DEL")
		d.wantNoInterface("no address")
	})
}

// TestIPAMIsReleased: DEL reaches IPAM whatever else is missing, before the interface
// goes, over which a lease may have to be released; and its error stops nothing.
func TestIPAMIsReleased(t *testing.T) {
	interfaces(t, func(d *desk) {
		if _, err := d.Add(d.Context(), d.request()); err != nil {
			d.Fatal(err)
		}
		d.tape.take()
		d.tape.asked = func(verb string) { plugintest.Run(d, d.pod, "ip", "link", "show", "eth0") }
		stuck := cni.Errorf(cni.CodeIO, "stuck")
		d.tape.fail["DEL"] = stuck
		r := d.request()
		if err := d.Del(d.Context(), r); !errors.Is(err, stuck) || cni.CodeOf(err) != cni.CodeIO {
			d.Errorf("DEL: %v, want IPAM's error and code", err)
		}
		d.wantCalls("DEL", "DEL")
		d.wantNoInterface("DEL")
		d.tape.asked = nil
		delete(d.tape.fail, "DEL")
		for name, netNS := range map[string]string{"no namespace": "", "namespace gone": "/run/netns/gone"} {
			r := d.request()
			r.NetNS = netNS
			if err := d.Del(d.Context(), r); err != nil {
				d.Errorf("%s: %v", name, err)
			}
			d.wantCalls(name, "DEL")
		}
	})
}

// TestIPAMsAnswers: what IPAM says to the other verbs is the plugin's answer, with its
// code, and GC goes on over it.
func TestIPAMsAnswers(t *testing.T) {
	interfaces(t, func(d *desk) {
		r := d.request()
		result, err := d.Add(d.Context(), r)
		if err != nil {
			d.Fatal(err)
		}
		if result.DNS.Domain != "own.example" {
			d.Errorf("dns %+v: the configuration's goes before IPAM's", result.DNS)
		}
		r.Prev = result
		limited := cni.Errorf(cni.CodeLimited, "no addresses, and no daemon")
		for _, verb := range []string{"CHECK", "STATUS", "GC"} {
			d.tape.fail[verb] = limited
		}
		r.Valid = []cni.Attachment{}
		for verb, call := range map[string]func(context.Context, *cni.Request) error{"CHECK": d.Check, "STATUS": d.Status, "GC": d.GC} {
			if err := call(d.Context(), r); !errors.Is(err, limited) || cni.CodeOf(err) != cni.CodeLimited {
				d.Errorf("%s: %v, want IPAM's error and code", verb, err)
			}
		}
		d.wantNoInterface("GC whose IPAM fails")
		r.Plugins = cni.Registry{}
		if err := d.Status(d.Context(), r); cni.CodeOf(err) != cni.CodeNotAvailable {
			d.Errorf("STATUS without the IPAM plugin: %v, want code %d", err, cni.CodeNotAvailable)
		}
	})
}

// TestDNSOfIPAM: without a key of its own the plugin passes on what IPAM says.
func TestDNSOfIPAM(t *testing.T) {
	interfaces(t, func(d *desk) {
		d.conf = strings.Replace(d.conf, `"dns"`, `"x"`, 1)
		d.tape.result.DNS = cni.DNS{Nameservers: []string{"10.1.0.53"}, Options: []string{"ndots:2"}}
		result, err := d.Add(d.Context(), d.request())
		if err != nil {
			d.Fatal(err)
		}
		if diff := cmp.Diff(d.tape.result.DNS, result.DNS); diff != "" {
			d.Errorf("dns (-want +got):\n%s", diff)
		}
	})
}

// TestIPAMNotThere: ADD is refused before anything is made, and says that there is nothing
// to roll back, as DEL cannot do without the plugin.
func TestIPAMNotThere(t *testing.T) {
	interfaces(t, func(d *desk) {
		d.conf = strings.Replace(d.conf, `"tape"`, `"tpae"`, 1)
		_, err := d.Add(d.Context(), d.request())
		plugintest.WantError(d, "ADD", err, cni.CodeInvalidConfig, `"tpae"`)
		if !cni.IsUntouched(err) {
			d.Errorf("%v: does not say that nothing was made", err)
		}
		d.wantNoInterface("after ADD")
		if err := d.Del(d.Context(), d.request()); err == nil {
			d.Error("DEL: passes, though what IPAM may hold is not released")
		}
	})
}

// TestIPAMMakesInterfaces: an interface plugin that is named as IPAM, be it the same or
// another, is refused as that; it does not ask itself without end.
func TestIPAMMakesInterfaces(t *testing.T) {
	interfaces(t, func(d *desk) {
		host := plugintest.Host(d.T)
		finder := cni.Registry{"bridge": bridge.New(host), "ptp": ptp.New(host)}
		for ipam := range finder {
			conf := strings.Replace(d.conf, `"tape"`, `"`+ipam+`"`, 1)
			request := func() *cni.Request { return plugintest.Request(d, conf, d.pod, "c1", finder) }
			_, err := cni.Add(d.Context(), d, request())
			plugintest.WantError(d, "ADD", err, cni.CodeInvalidConfig, ipam, "makes interfaces")
			d.wantNoInterface("after ADD with " + ipam)
			plugintest.WantError(d, "STATUS", d.Status(d.Context(), request()), cni.CodeInvalidConfig, "makes interfaces")
			collect := request()
			collect.Valid = []cni.Attachment{}
			if err := errors.Join(d.Del(d.Context(), request()), d.GC(d.Context(), collect)); err != nil {
				d.Errorf("DEL, GC with %s: %v", ipam, err)
			}
		}
	})
}

// TestIPAMSpoilt: what was attached is detached, whatever the configuration has become.
func TestIPAMSpoilt(t *testing.T) {
	interfaces(t, func(d *desk) {
		before := plugintest.State(d)
		result, err := d.Add(d.Context(), d.request())
		plugintest.Must(d, err)
		r := d.request()
		r.Config.JSON = []byte(strings.Replace(d.conf, `"tape"`, `"`+r.Config.Type+`"`, 1))
		r.Prev = result
		plugintest.Must(d, d.Del(d.Context(), r))
		d.wantNoInterface("after DEL")
		if after := plugintest.State(d); strings.Contains(after, "10.1.0.5") && !strings.Contains(before, "10.1.0.5") {
			d.Errorf("state after DEL:\n%s", after)
		}
	})
}

// TestIPAMUntouched: that IPAM took nothing does not mean that nothing was made.
func TestIPAMUntouched(t *testing.T) {
	interfaces(t, func(d *desk) {
		d.tape.fail["ADD"] = cni.Untouched(errors.New("its version is too old"))
		_, err := cni.Add(d.Context(), d, d.request())
		if err == nil || cni.IsUntouched(err) {
			d.Errorf("%v: says that nothing was made", err)
		}
		d.wantNoInterface("after the roll-back")
	})
}
