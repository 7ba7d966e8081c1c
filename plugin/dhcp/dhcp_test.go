package dhcp_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestLease goes all the way: an address, what the server was told and asked for, two
// interfaces, CHECK, DEL, GC.
func TestLease(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t, "--dhcp-option=option:router,10.9.0.1")
		daemon(t)
		pod := netnstest.NewPod(t, "web")
		r := l.request(pod, "c1", `, "priority": 50,
			"request": [{"option": "42"}],
			"provide": [{"option": "host-name", "value": "none", "fromArg": "K8S_POD_NAME"},
				{"option": "vendor-class-identifier", "value": "acme"}, {"option": "user-class", "fromArg": "MISSING"}]`)
		r.Args = cni.Args{{Key: "K8S_POD_NAME", Value: "web-0"}} // known, as the configuration names it
		address := l.add(r)
		if got, want := l.leased("c1/lan/eth0"), []string{address.Addr().String()}; !cmp.Equal(got, want) {
			t.Errorf("the server leased %q, the pod has %q", got, want)
		}
		if !netip.MustParsePrefix("10.9.0.0/24").Contains(address.Addr()) || address.Bits() != 24 {
			t.Errorf("address %s", address)
		}
		want := []cni.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), GW: netip.MustParseAddr("10.9.0.1"), Priority: 50}}
		if diff := cmp.Diff(want, r.Prev.Routes, values); diff != "" || r.Prev.IPs[0].Gateway != want[0].GW || !r.Prev.DNS.IsZero() {
			t.Errorf("result %+v, routes (-want +got):\n%s", r.Prev, diff)
		}
		if got := plugintest.Run(t, pod, "ip", "route"); !strings.Contains(got, "default via 10.9.0.1 dev eth0 metric 50") {
			t.Errorf("pod's routes:\n%s", got)
		}
		for _, text := range []string{"client provides name: web-0", "vendor class: acme", "requested options: 42:ntp-server, 3:router, 1:netmask"} {
			l.logs(text)
		}
		if strings.Contains(l.log.String(), "user class") {
			t.Errorf("an option whose argument is missing was sent:\n%s", l.log)
		}
		second := l.request(pod, "c1", "")
		second.IfName = "eth1"
		if other := l.add(second); other == address {
			t.Errorf("both interfaces have %s", other)
		}
		for _, r := range []*cni.Request{r, second} {
			if err := l.plugins["dhcp"].Check(t.Context(), alone(r)); err != nil {
				t.Errorf("CHECK: %v", err)
			}
		}
		// As with the reference, who asks again gets what it has.
		if again, err := l.plugins["dhcp"].Add(t.Context(), alone(r)); err != nil || again.IPs[0].Address != address {
			t.Errorf("ADD again: %+v, %v", again, err)
		}
		valid := l.request(nil, "", "")
		valid.Valid = nil
		if err := l.bridge.GC(t.Context(), valid); err != nil || len(l.leased("c1/lan/eth1")) != 1 {
			t.Errorf("GC that was told nothing: %v, %s", err, l.leased("c1/lan/eth1"))
		}
		valid.Valid = []cni.Attachment{r.Attachment}
		if err := l.bridge.GC(t.Context(), valid); err != nil {
			t.Errorf("GC: %v", err)
		}
		l.freed("c1/lan/eth1")
		if len(l.leased("c1/lan/eth0")) != 1 {
			t.Error("GC released a valid attachment's lease")
		}
		for range 2 {
			if err := l.bridge.Del(t.Context(), r); err != nil {
				t.Errorf("DEL: %v", err)
			}
		}
		l.freed("c1/lan/eth0")
		l.logs("DHCPRELEASE(eth0) " + address.Addr().String())
		noRecords(t)
	})
}

var values = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// TestRoutes holds the options for routes against each other, and no mask.
func TestRoutes(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t, "--dhcp-option=option:router,10.9.0.1",
			"--dhcp-vendorclass=set:odd,odd", "--dhcp-option=tag:odd,1,255.0.255.0", "--dhcp-option=33,172.16.5.0,10.9.0.2", "--dhcp-option=121,192.168.7.0/24,10.9.0.3,10.77.0.0/16,0.0.0.0")
		daemon(t)
		link := 253
		route := func(dst, gw string, scope *int) cni.Route {
			return cni.Route{Dst: netip.MustParsePrefix(dst), GW: netip.MustParseAddr(gw), Scope: scope}
		}
		for i, test := range []struct {
			request string
			want    []cni.Route
		}{
			{`{"option": "33"}`, []cni.Route{route("172.16.0.0/16", "10.9.0.2", nil), route("0.0.0.0/0", "10.9.0.1", nil)}},
			{`{"option": "33"}, {"option": "121"}`, []cni.Route{route("192.168.7.0/24", "10.9.0.3", nil), route("10.77.0.0/16", "0.0.0.0", &link)}},
			{`{"skipDefault": true, "option": "subnet-mask"}`, nil},
		} {
			pod := netnstest.NewPod(t, fmt.Sprintf("pod%d", i))
			r := l.request(pod, fmt.Sprintf("c%d", i), `, "request": [`+test.request+`]`)
			l.add(r)
			if diff := cmp.Diff(test.want, r.Prev.Routes, values); diff != "" {
				t.Errorf("%s: routes (-want +got):\n%s", test.request, diff)
			}
			if got := plugintest.Run(t, pod, "ip", "route"); i == 1 && !strings.Contains(got, "10.77.0.0/16 dev eth0 scope link") {
				t.Errorf("pod's routes:\n%s", got)
			}
		}
		r := l.request(netnstest.NewPod(t, "nomask"), "nomask", `, "provide": [{"option": "60", "value": "odd"}]`)
		_, err := l.bridge.Add(t.Context(), r)
		wantError(t, err, cni.CodeInternal, "without a valid subnet mask")
		l.freed("nomask/lan/eth0")
	})
}

// TestRenew has the lease renewed by its server at T1, kept over the daemon's end, and
// rebound by another server at T2.
func TestRenew(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t) // T1 is a minute, T2 105 seconds
		stop := daemon(t)
		r := l.request(netnstest.NewPod(t, "web"), "c1", "")
		address := l.add(r).Addr().String()
		granted := func() int { return strings.Count(l.log.String(), "DHCPACK(eth0) "+address) }
		asked := func(before int) {
			t.Helper()
			eventually(t, func() bool { return granted() > before }, func() string { return "not asked:\n" + l.log.String() })
		}
		first := granted()
		restart := func(by time.Duration) {
			t.Helper()
			stop()
			if len(l.leased("c1/lan/eth0")) != 1 {
				t.Error("the lease was released as the daemon ended")
			}
			age(t, by)
			stop = daemon(t)
		}
		restart(59200 * time.Millisecond)
		if granted() != first {
			t.Errorf("asked before T1:\n%s", l.log)
		}
		asked(first)
		l.stop()
		for _, change := range []string{"del 10.9.0.1/24", "add 10.9.0.2/24"} {
			plugintest.Run(t, nil, "ip", strings.Fields("-n dhcpd addr "+change+" dev eth0")...)
		}
		l.serve("10.9.0.10,10.9.0.99")
		restart(106 * time.Second)
		asked(0)
		before := granted()
		if err := l.plugins["dhcp"].Check(t.Context(), alone(r)); err != nil { // by the new server
			t.Error(err)
		}
		if granted() == before {
			t.Errorf("CHECK did not renew:\n%s", l.log)
		}
		if strings.Contains(l.log.String(), "DHCPDISCOVER") {
			t.Errorf("the lease was not rebound but leased anew:\n%s", l.log)
		}
	})
}

// TestForgotten has the server forget its leases: CHECK gets the same address again,
// and finds that another was given in its place.
func TestForgotten(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		stop := daemon(t)
		pod := netnstest.NewPod(t, "web")
		r := l.request(pod, "c1", "")
		address := l.add(r)
		forget := func(addresses string, args ...string) {
			l.stop()
			if err := os.Remove(l.leases); err != nil {
				t.Fatal(err)
			}
			l.serve(addresses, args...)
		}
		// One that says nothing to that: no finding, and at T2 all are asked anew.
		forget("10.9.0.10,10.9.0.99")
		if err := l.plugins["dhcp"].Check(t.Context(), alone(r)); err != nil {
			t.Error(err)
		}
		stop()
		age(t, 110*time.Second)
		daemon(t)
		eventually(t, func() bool { return cmp.Equal(l.leased("c1/lan/eth0"), []string{address.Addr().String()}) },
			func() string { return "not leased again:\n" + l.log.String() })
		forget("10.9.0.10,10.9.0.99", "--dhcp-authoritative")
		if err := l.plugins["dhcp"].Check(t.Context(), alone(r)); err != nil {
			t.Error(err)
		}
		if got := l.leased("c1/lan/eth0"); !cmp.Equal(got, []string{address.Addr().String()}) {
			t.Errorf("the server leased %q, not %s again", got, address)
		}
		forget("10.9.0.100,10.9.0.199", "--dhcp-authoritative")
		wantError(t, l.plugins["dhcp"].Check(t.Context(), alone(r)), cni.CodeInternal, "the lease is lost: servers have another address for it")
		if got := plugintest.Run(t, pod, "ip", "-o", "link", "show", "eth0"); strings.Contains(got, ",UP") {
			t.Errorf("the link of a lost lease is up: %s", got)
		}
		noRecords(t)
		wantError(t, l.plugins["dhcp"].Check(t.Context(), alone(r)), cni.CodeInternal, "no lease is held, and "+address.Addr().String()+" cannot be leased again")
		noRecords(t)
	})
}

// TestAdopted has CHECK take up what another daemon, which remembers nothing, leased.
func TestAdopted(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		stop := daemon(t)
		r := l.request(netnstest.NewPod(t, "web"), "c1", "")
		l.add(r)
		stop()
		if err := os.RemoveAll(records); err != nil {
			t.Fatal(err)
		}
		daemon(t)
		if err := l.bridge.Check(t.Context(), r); err != nil {
			t.Error(err)
		}
		if rec, _ := record(t); rec["containerID"] != "c1" {
			t.Errorf("record %v", rec)
		}
		r.Prev.IPs[0].Address = netip.MustParsePrefix("10.9.0.250/24")
		wantError(t, l.plugins["dhcp"].Check(t.Context(), alone(r)), cni.CodeInternal, "is leased, but not in the result")
		r.Prev = nil
		wantError(t, l.plugins["dhcp"].Check(t.Context(), alone(r)), cni.CodeInvalidConfig, "CHECK needs a prevResult")
	})
}

// TestExpired has a lease end while no server answers: its link is set down.
func TestExpired(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		stop := daemon(t)
		pod := netnstest.NewPod(t, "web")
		l.add(l.request(pod, "c1", ""))
		stop()
		l.stop()
		age(t, 119*time.Second)
		daemon(t)
		eventually(t, func() bool {
			return !strings.Contains(plugintest.Run(t, pod, "ip", "-o", "link", "show", "eth0"), ",UP")
		}, func() string { return "the link stays up" })
		noRecords(t)
	})
}

// age makes the only lease on record older.
func age(t *testing.T, by time.Duration) {
	t.Helper()
	rec, path := record(t)
	since, err := time.Parse(time.RFC3339Nano, rec["since"].(string))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	older := strings.Replace(string(data), rec["since"].(string), since.Add(-by).Format(time.RFC3339Nano), 1)
	if err := os.WriteFile(path, []byte(older), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReplaced has a namespace go away and another take its path, with a link of the
// same name and index: that is no place for the lease.
func TestReplaced(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		stop := daemon(t)
		ns, err := netns.NewAt("/run/netns/web")
		if err != nil {
			t.Fatal(err)
		}
		r := l.request(&netnstest.Pod{NS: ns, Path: "/run/netns/web"}, "c1", "")
		l.add(r)
		ns.Close()
		if err := netns.Remove("/run/netns/web"); err != nil {
			t.Fatal(err)
		}
		pod := netnstest.NewPod(t, "web")
		stop()
		age(t, 61*time.Second) // it is to be renewed at once
		daemon(t)
		l.add(l.request(pod, "c2", "")) // has its own, of the same name and index
		eventually(t, func() bool {
			files, _ := filepath.Glob(records + "/*")
			return len(files) == 1
		}, func() string { return "the lease of the namespace that is gone is kept" })
		if rec, _ := record(t); rec["containerID"] != "c2" {
			t.Errorf("record %v", rec)
		}
		r.NetNS = ""
		if err := l.bridge.Del(t.Context(), r); err != nil {
			t.Errorf("DEL without a namespace: %v", err)
		}
	})
}
