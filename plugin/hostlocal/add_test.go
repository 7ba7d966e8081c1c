package hostlocal

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
)

func ip(address, gateway string) cni.IP {
	return cni.IP{Address: netip.MustParsePrefix(address), Gateway: netip.MustParseAddr(gateway)}
}

func TestAddResult(t *testing.T) {
	resolvConf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolvConf, []byte("nameserver 10.1.0.53\nsearch a.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	table := 7
	for _, test := range []struct {
		name string
		ipam string
		more []string
		args cni.Args
		want cni.Result
	}{
		{
			name: "old form",
			ipam: `{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20", "gateway": "10.1.0.254"}`,
			want: cni.Result{IPs: []cni.IP{ip("10.1.0.10/24", "10.1.0.254")}},
		},
		{
			name: "old form first, then both families, routes and resolver",
			ipam: `{
				"subnet": "10.0.0.0/8",
				"ranges": [[{"subnet": "192.168.5.0/24"}], [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::a"}]],
				"routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd00::/8", "gw": "fd00:1::9", "mtu": 1400, "advmss": 1300, "priority": 5, "table": 7}],
				"resolvConf": "` + resolvConf + `"}`,
			want: cni.Result{
				IPs: []cni.IP{ip("10.0.0.2/8", "10.0.0.1"), ip("192.168.5.2/24", "192.168.5.1"), ip("fd00:1::a/64", "fd00:1::1")},
				Routes: []cni.Route{
					{Dst: netip.MustParsePrefix("0.0.0.0/0")},
					{Dst: netip.MustParsePrefix("fd00::/8"), GW: netip.MustParseAddr("fd00:1::9"), MTU: 1400, AdvMSS: 1300, Priority: 5, Table: &table},
				},
				DNS: cni.DNS{Nameservers: []string{"10.1.0.53"}, Search: []string{"a.example"}},
			},
		},
		{
			name: "ranges of the runtime first, its keys capitalised",
			ipam: simple,
			more: []string{`"runtimeConfig": {"IPRanges": [[{"Subnet": "10.7.0.0/24"}, {"Subnet": "10.8.0.0/24"}]]}`},
			want: cni.Result{IPs: []cni.IP{ip("10.7.0.2/24", "10.7.0.1"), ip("10.1.0.2/24", "10.1.0.1")}},
		},
		{
			name: "requested in every way, each in its own set, one twice",
			ipam: `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00::/64"}], [{"subnet": "10.4.0.0/24"}]]}`,
			args: cni.Args{{Key: "IgnoreUnknown", Value: "1"}, {Key: "IP", Value: "10.2.0.77/28"}, {Key: "K8S_POD_NAME", Value: "a"}},
			more: []string{
				`"args": {"cni": {"ips": ["fd00::beef/64", "10.2.0.77"]}}`,
				`"runtimeConfig": {"ips": ["10.1.0.5"]}`,
			},
			want: cni.Result{IPs: []cni.IP{ip("10.1.0.5/24", "10.1.0.1"), ip("10.2.0.77/24", "10.2.0.1"), ip("fd00::beef/64", "fd00::1"), ip("10.4.0.2/24", "10.4.0.1")}},
		},
		{
			name: "keys of other plugins in CNI_ARGS",
			ipam: simple,
			args: cni.Args{{Key: "MAC", Value: "02:00:00:00:00:01"}, {Key: "GATEWAY", Value: "10.1.0.1"}},
			want: cni.Result{IPs: []cni.IP{ip("10.1.0.2/24", "10.1.0.1")}},
		},
		{
			name: "second range of a set when the first is asked past",
			ipam: `{"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "10.2.0.0/16", "gateway": "10.2.0.9"}]]}`,
			args: cni.Args{{Key: "IP", Value: "10.2.3.4"}},
			want: cni.Result{IPs: []cni.IP{ip("10.2.3.4/16", "10.2.0.9")}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			r := request("c1", test.ipam, test.more...)
			r.Args = test.args
			got, err := h.Add(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got, netipValues, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAddFiles pins the form on disk, which is the reference plugin's.
func TestAddFiles(t *testing.T) {
	h := newHost(t)
	h.add(request("c1", `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}`))
	want := `10.1.0.2 "c1\r\neth0"
fd00::2 "c1\r\neth0"
last_reserved_ip.0 "10.1.0.2"
last_reserved_ip.1 "fd00::2"
lock ""
`
	if diff := cmp.Diff(want, h.files()); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"10.1.0.2,fd00::2"}, h.index()); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	st, err := os.Stat(filepath.Join(h.dir, "net/10.1.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o600 {
		t.Errorf("mode of a lease: %v, want -rw-------", st.Mode())
	}
}

// TestAddTurn holds that an address that was freed comes last.
func TestAddTurn(t *testing.T) {
	h := newHost(t)
	const ipam = `{"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.4"}`
	var got []string
	for range 5 {
		got = append(got, h.add(request("c1", ipam))...)
		h.del(request("c1", ipam))
	}
	want := []string{"10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.4", "10.1.0.5"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, cursor := range []string{"", "garbage", "10.1.0.3", "fd00::1", "10.1.0.6\n"} {
		h.write("last_reserved_ip.0", cursor)
		if got := h.add(request("c1", ipam)); got[0] != "10.1.0.4" {
			t.Errorf("cursor %q: got %s, want 10.1.0.4", cursor, got)
		}
		h.del(request("c1", ipam))
	}
	h.write("last_reserved_ip.0", "10.1.0.255 and more than any address has")
	h.add(request("c1", ipam))
	if !strings.Contains(h.files(), `last_reserved_ip.0 "10.1.0.4"`) {
		t.Errorf("cursor was not written whole:\n%s", h.files())
	}
}

// TestAddRefused holds that what cannot be given is said in a sentence, and that
// nothing at all is left behind.
func TestAddRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		ipam    string
		more    []string
		args    cni.Args
		version string
		code    cni.Code
		want    string
	}{
		{
			name: "no ranges", ipam: `{}`, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": no addresses to give: "ipam" has no "ranges"`,
		},
		{
			name: "empty set", ipam: `{"ranges": [[]]}`, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": ipam.ranges[0]: empty set of ranges`,
		},
		{
			name: "no subnet", ipam: `{"ranges": [[{"rangeStart": "10.1.0.5"}]]}`, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": ipam.ranges[0]: no subnet is given`,
		},
		{
			name: "wrong type", ipam: `{"ranges": [{"subnet": "10.1.0.0/24"}]}`, code: cni.CodeDecoding,
			want: `host-local: configuration of network "net": key "ipam.ranges": a JSON object where a list is wanted`,
		},
		{
			name: "subnet is none", ipam: `{"subnet": "10.1.0.0"}`, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": ipam: subnet "10.1.0.0" is not of the form ADDRESS/LENGTH`,
		},
		{
			name: "gateway is none", ipam: `{"ranges": [[{"subnet": "10.1.0.0/24", "gateway": "10.1.0"}]]}`, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": ipam.ranges[0]: gateway "10.1.0" is not an IP address`,
		},
		{
			name: "gateway outside", ipam: `{"ranges": [[{"subnet": "10.1.0.0/24", "gateway": "10.2.0.1"}]]}`, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": ipam.ranges[0]: gateway 10.2.0.1 is outside of subnet 10.1.0.0/24`,
		},
		{
			name: "sets overlap", ipam: `{"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "10.1.0.0/25"}]]}`,
			code: cni.CodeInvalidConfig,
			want: `host-local: network "net": ipam.ranges[1]: range 10.1.0.1-10.1.0.126 overlaps 10.1.0.1-10.1.0.254 of ipam`,
		},
		{
			name: "route to nowhere", ipam: `{"subnet": "10.1.0.0/24", "routes": [{"gw": "10.1.0.1"}]}`, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": ipam.routes: a route has no "dst"`,
		},
		{
			name: "resolver is not there", ipam: `{"subnet": "10.1.0.0/24", "resolvConf": "/nonexistent"}`, code: cni.CodeIO,
			want: `host-local: network "net": resolvConf: open /nonexistent: no such file or directory`,
		},
		{
			name: "leases in the caller's folder", ipam: `{"subnet": "10.1.0.0/24", "dataDir": "leases"}`, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": ipam.dataDir "leases": must be an absolute path`,
		},
		{
			name: "resolver in the caller's folder", ipam: `{"subnet": "10.1.0.0/24", "resolvConf": "resolv.conf"}`, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": ipam.resolvConf "resolv.conf": must be an absolute path`,
		},
		{
			name: "two addresses of a family in an old version", version: "0.2.0", code: cni.CodeInvalidConfig,
			ipam: `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}], [{"subnet": "10.2.0.0/24"}]]}`,
			want: `host-local: network "net": version "0.2.0" of CNI allows one address of a family; ` +
				`set cniVersion to 0.3.0 or later, or give one set of ranges a family`,
		},
		{
			name: "unknown key in CNI_ARGS", ipam: simple, args: cni.Args{{Key: "ip", Value: "10.1.0.4"}}, code: cni.CodeInvalidEnvironment,
			want: `host-local: network "net": CNI_ARGS: unknown key "ip"; remove it, or add IgnoreUnknown=1`,
		},
		{
			name: "requested is no address", ipam: simple, args: cni.Args{{Key: "IP", Value: "10.1.0.4/33"}}, code: cni.CodeInvalidConfig,
			want: `host-local: network "net": requested address "10.1.0.4/33" is not an IP address`,
		},
		{
			name: "requested is the gateway", code: cni.CodeInvalidConfig,
			ipam: `{"ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "10.1.0.0/24"}]]}`,
			more: []string{`"args": {"cni": {"ips": ["10.1.0.1"]}}`},
			want: `host-local: network "net": requested address 10.1.0.1 is the subnet's gateway`,
		},
		{
			name: "requested is of no range", ipam: `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/126"}]]}`, code: cni.CodeInvalidConfig,
			more: []string{`"runtimeConfig": {"ips": ["10.3.0.1"]}`},
			want: `host-local: network "net": no set of ranges can give the requested address 10.3.0.1; ` +
				`each set gives one address; the sets are [10.1.0.1-10.1.0.254] [fd00::1-fd00::3]`,
		},
		{
			name: "two requested of one set", ipam: simple, code: cni.CodeInvalidConfig,
			more: []string{`"runtimeConfig": {"ips": ["10.1.0.4", "10.1.0.5"]}`},
			want: `host-local: network "net": no set of ranges can give the requested address 10.1.0.5; ` +
				`each set gives one address; the sets are [10.1.0.1-10.1.0.254]`,
		},
		{
			name: "requested is the broadcast address", ipam: `{"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.255"}`, code: cni.CodeInvalidConfig,
			more: []string{`"runtimeConfig": {"ips": ["10.1.0.255"]}`},
			want: `host-local: network "net": no set of ranges can give the requested address 10.1.0.255; ` +
				`each set gives one address; the sets are [10.1.0.1-10.1.0.254]`,
		},
		{
			name: "requested is taken", code: cni.CodeTryAgain,
			ipam: `{"ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "10.1.0.0/24"}]]}`,
			more: []string{`"runtimeConfig": {"ips": ["10.1.0.99"]}`},
			want: `host-local: network "net": requested address 10.1.0.99 is leased to container other, interface eth0; ` +
				`ask for another one, or remove that container`,
		},
		{
			name: "exhausted, in the second set", code: cni.CodeTryAgain,
			ipam: `{"ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.99", "rangeEnd": "10.1.0.99"}]]}`,
			want: `host-local: network "net": no free address in 10.1.0.99-10.1.0.99: all 1 are held; ` +
				`remove containers, give the network a larger range, or let GC free what containers left behind`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.write("10.1.0.99", "other\r\neth0")
			r := request("c1", test.ipam, test.more...)
			r.Args = test.args
			if test.version != "" {
				r.Config.Version = test.version
			}
			_, err := h.Add(t.Context(), r)
			wantError(t, err, test.code, test.want)
			if diff := cmp.Diff("10.1.0.99 \"other\\r\\neth0\"\n", strings.ReplaceAll(h.files(), "lock \"\"\n", "")); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAddTwice: an attachment that has an address in one of the sets is refused, and
// keeps it, whoever wrote it down and in which form.
func TestAddTwice(t *testing.T) {
	for _, lease := range []string{"", "c1\r\neth0", "c1", "c1\r\neth0\r\n"} {
		h := newHost(t)
		r := request("c1", simple)
		holder := "container c1, interface eth0"
		if lease == "" {
			h.add(r)
		} else {
			h.write("10.1.0.2", lease)
		}
		if lease == "c1" {
			holder = "container c1"
		}
		before := h.leases()
		_, err := cni.Add(t.Context(), h, r)
		wantError(t, err, cni.CodeExists, `host-local: network "net": address 10.1.0.2 is leased to `+holder+
			` already; DEL the attachment before it is added again`)
		if diff := cmp.Diff(before, h.leases()); diff != "" {
			t.Errorf("lease %q (-before +after):\n%s", lease, diff)
		}
	}
}

// TestAddElsewhere: another interface, and another range, are no second time.
func TestAddElsewhere(t *testing.T) {
	h := newHost(t)
	h.add(request("c1", simple))
	second := request("c1", simple)
	second.IfName = "eth1"
	h.add(second)
	h.add(request("c1", `{"subnet": "10.2.0.0/24"}`))
	if diff := cmp.Diff([]string{"10.1.0.2,10.2.0.2", "10.1.0.3"}, sorted(h.index())); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	h.del(request("c1", simple))
	if diff := cmp.Diff("10.1.0.3 \"c1\\r\\neth1\"\n", h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
}

// TestAddRolledBack: a lease that cannot be written takes those before it along.
func TestAddRolledBack(t *testing.T) {
	h := newHost(t)
	h.write("lock", "")
	// A cursor that is a folder fails, after the leases are written.
	if err := os.Mkdir(filepath.Join(h.dir, "net/last_reserved_ip.1"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := cni.Add(t.Context(), h, request("c1", `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}`))
	if code := cni.CodeOf(err); code != cni.CodeIO {
		t.Errorf("error %v, code %d; want code %d", err, code, cni.CodeIO)
	}
	if diff := cmp.Diff("", h.leases()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
}

// TestLockIsBounded: who cannot get the lock in time says so.
func TestLockIsBounded(t *testing.T) {
	h := newHost(t)
	r := request("c1", simple)
	b, err := h.open(t.Context(), r, "", (*book).create)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = h.Add(ctx, r)
	wantError(t, err, cni.CodeTryAgain, `host-local: network "net": lock `+filepath.Join(h.dir, "net/lock")+
		`: another process holds it: context deadline exceeded; see who: lslocks`)
	b.close()
	h.add(r)
}
