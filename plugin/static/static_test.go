package static_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/plugin/static"
)

var netipValues = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func request(version, config string, args cni.Args) *cni.Request {
	return &cni.Request{
		Attachment: cni.Attachment{Network: "net", ContainerID: "c1", IfName: "eth0"},
		Args:       args,
		Config:     cni.Config{Name: "net", Version: version, Type: "static", JSON: []byte(config)},
	}
}

// ip takes "" for no gateway.
func ip(address, gateway string) cni.IP {
	ip := cni.IP{Address: netip.MustParsePrefix(address)}
	if gateway != "" {
		ip.Gateway = netip.MustParseAddr(gateway)
	}
	return ip
}

func arg(key, value string) cni.Arg { return cni.Arg{Key: key, Value: value} }

const two = `"addresses": [{"address": "10.10.0.5/24", "gateway": "10.10.0.254"}, {"address": "3ffe:ffff:0:01ff::1/64"}]`

// adds are configurations that both the reference plugin and Seam's take.
var adds = []struct {
	name   string
	config string
	args   cni.Args
	want   cni.Result
}{
	{
		name: "everything of the configuration",
		config: `{"ipam": {` + two + `, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.8.7/8", "gw": "10.10.0.1", "priority": 4}],
			"dns": {"nameservers": ["10.10.0.53"], "domain": "a.example", "search": ["b.example"], "options": ["edns0"]}}}`,
		want: cni.Result{
			IPs: []cni.IP{ip("10.10.0.5/24", "10.10.0.254"), ip("3ffe:ffff:0:1ff::1/64", "")},
			Routes: []cni.Route{
				{Dst: netip.MustParsePrefix("0.0.0.0/0")},
				{Dst: netip.MustParsePrefix("10.9.8.7/8"), GW: netip.MustParseAddr("10.10.0.1"), Priority: 4},
			},
			DNS: cni.DNS{Nameservers: []string{"10.10.0.53"}, Domain: "a.example", Search: []string{"b.example"}, Options: []string{"edns0"}},
		},
	},
	{name: "no address", config: `{"ipam": {}}`},
	{
		name:   "CNI_ARGS append, and give gateways by subnet",
		config: `{"ipam": {` + two + `}}`,
		args:   cni.Args{arg("IP", "10.10.1.5/24, 10.10.0.6/24,fd00::5/64"), arg("GATEWAY", "10.10.0.1,fd00::1 , 172.16.0.1")},
		want: cni.Result{IPs: []cni.IP{
			ip("10.10.0.5/24", "10.10.0.254"), ip("3ffe:ffff:0:1ff::1/64", ""),
			ip("10.10.1.5/24", ""), ip("10.10.0.6/24", "10.10.0.1"), ip("fd00::5/64", "fd00::1"),
		}},
	},
	{
		name:   "unknown keys in CNI_ARGS, to be ignored",
		config: `{"ipam": {}}`,
		args:   cni.Args{arg("K8S_POD_NAME", "p"), arg("IP", "10.10.0.5/32"), arg("IgnoreUnknown", "true")},
		want:   cni.Result{IPs: []cni.IP{ip("10.10.0.5/32", "")}},
	},
	{
		name:   "args replace them",
		config: `{"ipam": {` + two + `}, "args": {"cni": {"ips": ["10.10.3.5/24"]}}}`,
		args:   cni.Args{arg("IP", "10.10.1.5/24"), arg("GATEWAY", "10.10.3.1")},
		want:   cni.Result{IPs: []cni.IP{ip("10.10.3.5/24", "")}},
	},
	{
		name:   "runtimeConfig replaces those",
		config: `{"ipam": {` + two + `}, "args": {"cni": {"ips": ["10.10.3.5/24"]}}, "runtimeConfig": {"ips": ["10.10.4.5/24", "fd00::4/64"]}}`,
		want:   cni.Result{IPs: []cni.IP{ip("10.10.4.5/24", ""), ip("fd00::4/64", "")}},
	},
	{
		name:   "empty lists replace nothing",
		config: `{"ipam": {` + two + `}, "args": {"cni": {"ips": []}}, "runtimeConfig": {"IPs": []}}`,
		want:   cni.Result{IPs: []cni.IP{ip("10.10.0.5/24", "10.10.0.254"), ip("3ffe:ffff:0:1ff::1/64", "")}},
	},
}

func TestAdd(t *testing.T) {
	for _, test := range adds {
		t.Run(test.name, func(t *testing.T) {
			got, err := static.New().Add(t.Context(), request("1.1.0", test.config, test.args))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got, netipValues, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

var refusals = []struct {
	name    string
	version string
	config  string
	args    cni.Args
	code    cni.Code
	want    string
}{
	{
		name: "no length", config: `{"ipam": {"addresses": [{"address": "10.10.0.5"}]}}`, code: cni.CodeInvalidConfig,
		want: `static: network "net": ipam.addresses[0]: address "10.10.0.5" is not of the form ADDRESS/LENGTH`,
	},
	{
		name: "no length in CNI_ARGS", config: `{"ipam": {}}`, args: cni.Args{arg("IP", "10.10.0.5/24,10.10.0.6")}, code: cni.CodeInvalidEnvironment,
		want: `static: network "net": CNI_ARGS: IP: address "10.10.0.6" is not of the form ADDRESS/LENGTH`,
	},
	{
		name: "no length in args", config: `{"ipam": {}, "args": {"cni": {"ips": ["10.10.0.5/24", "10.10.0.6"]}}}`, code: cni.CodeInvalidConfig,
		want: `static: network "net": args.cni.ips[1]: address "10.10.0.6" is not of the form ADDRESS/LENGTH`,
	},
	{
		name: "no length in runtimeConfig", config: `{"ipam": {}, "runtimeConfig": {"ips": ["10.10.0.6"]}}`, code: cni.CodeInvalidConfig,
		want: `static: network "net": runtimeConfig.ips[0]: address "10.10.0.6" is not of the form ADDRESS/LENGTH`,
	},
	{
		name: "gateway is none", config: `{"ipam": {"addresses": [{"address": "10.10.0.5/24", "gateway": "10.10.0"}]}}`, code: cni.CodeInvalidConfig,
		want: `static: network "net": ipam.addresses[0]: gateway "10.10.0" is not an IP address`,
	},
	{
		name: "gateway in CNI_ARGS is none", config: `{"ipam": {}}`, args: cni.Args{arg("GATEWAY", "10.10.0.1/24")}, code: cni.CodeInvalidEnvironment,
		want: `static: network "net": CNI_ARGS: GATEWAY: "10.10.0.1/24" is not an IP address`,
	},
	{
		name: "unknown key in CNI_ARGS", config: `{"ipam": {}}`, args: cni.Args{arg("ip", "10.10.0.1/24")}, code: cni.CodeInvalidEnvironment,
		want: `static: network "net": CNI_ARGS: unknown key "ip"; remove it, or add IgnoreUnknown=1`,
	},
	{
		name: "wrong type", config: `{"ipam": {"addresses": "10.10.0.5/24"}}`, code: cni.CodeDecoding,
		want: `static: configuration of network "net": key "ipam.addresses": a JSON string where a list is wanted`,
	},
	{
		name: "two of a family in an old version", version: "0.2.0", code: cni.CodeInvalidConfig,
		config: `{"ipam": {` + two + `}, "args": {"cni": {"ips": ["fd00::1/64", "10.1.0.1/8", "fd00::2/64"]}}}`,
		want: `static: network "net": version "0.2.0" of CNI allows one address of a family; ` +
			`set cniVersion to 0.3.0 or later, or give one address of a family`,
	},
}

// stricter are configurations that the reference plugin takes.
var stricter = []struct{ config, want string }{
	{`{"ipam": {"addresses": [{"address": "10.10.0.5/24", "gateway": "fd00::1"}]}}`,
		`static: network "net": ipam.addresses[0]: gateway fd00::1 is not of the family of address 10.10.0.5/24`},
	{`{"ipam": {"addresses": [{"address": "::ffff:10.10.0.5/120"}]}}`,
		`static: network "net": ipam.addresses[0]: address ::ffff:10.10.0.5/120 is an IPv4 address in IPv6 form; write it as IPv4`},
	{`{"ipam": {"routes": [{"gw": "10.10.0.1"}]}}`,
		`static: network "net": ipam.routes: a route has no "dst"`},
	{`{"ipam": {"addresses": [{"address": "10.10.0.5"}]}, "runtimeConfig": {"ips": ["10.10.0.6/24"]}}`,
		`static: network "net": ipam.addresses[0]: address "10.10.0.5" is not of the form ADDRESS/LENGTH`},
}

func TestRefused(t *testing.T) {
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			r := request(test.version, test.config, test.args)
			if test.version == "" {
				r.Config.Version = "1.1.0"
			}
			_, err := static.New().Add(t.Context(), r)
			wantError(t, err, test.code, test.want)
			wantError(t, static.New().Status(t.Context(), r), cni.CodeNotAvailable, test.want)
			if err := static.New().Del(t.Context(), r); err != nil {
				t.Errorf("DEL: %v", err)
			}
			if err := static.New().GC(t.Context(), r); err != nil {
				t.Errorf("GC: %v", err)
			}
		})
	}
	for _, test := range stricter {
		_, err := static.New().Add(t.Context(), request("1.1.0", test.config, nil))
		wantError(t, err, cni.CodeInvalidConfig, test.want)
	}
}

func wantError(t *testing.T, err error, code cni.Code, text string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", text)
		return
	}
	if diff := cmp.Diff(text, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if got := cni.CodeOf(err); got != code {
		t.Errorf("code %d, want %d", got, code)
	}
}

func TestCheck(t *testing.T) {
	const prefix = `static: network "net": `
	for _, test := range []struct {
		name string
		prev []cni.IP
		none bool // no previous result
		want string
	}{
		{name: "as added", prev: []cni.IP{ip("10.10.0.5/24", "10.10.0.254"), ip("3ffe:ffff:0:1ff::1/64", "")}},
		{name: "a gateway was filled in, an address added", prev: []cni.IP{
			ip("172.20.0.2/16", ""), ip("3ffe:ffff:0:1ff::1/64", "3ffe:ffff:0:1ff::ff"), ip("10.10.0.5/24", "10.10.0.254")}},
		{name: "an address is missing", prev: []cni.IP{ip("10.10.0.5/24", "10.10.0.254")},
			want: prefix + "address 3ffe:ffff:0:1ff::1/64 is not in the result"},
		{name: "another length", prev: []cni.IP{ip("10.10.0.5/16", "10.10.0.254"), ip("3ffe:ffff:0:1ff::1/64", "")},
			want: prefix + "address 10.10.0.5/24 is not in the result"},
		{name: "another gateway", prev: []cni.IP{ip("10.10.0.5/24", "10.10.0.1"), ip("3ffe:ffff:0:1ff::1/64", "")},
			want: prefix + "address 10.10.0.5/24 has gateway 10.10.0.1 in the result, not 10.10.0.254"},
		{name: "no gateway", prev: []cni.IP{ip("10.10.0.5/24", ""), ip("3ffe:ffff:0:1ff::1/64", "")},
			want: prefix + "address 10.10.0.5/24 has no gateway in the result, not 10.10.0.254"},
		{name: "no result", none: true, want: prefix + "CHECK needs a prevResult"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request("1.1.0", `{"ipam": {`+two+`}}`, nil)
			if !test.none {
				r.Prev = &cni.Result{IPs: test.prev}
			}
			err := static.New().Check(t.Context(), r)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "":
				wantError(t, err, cni.CodeInvalidConfig, test.want)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	if err := static.New().Status(t.Context(), request("1.1.0", `{"ipam": {`+two+`}}`, nil)); err != nil {
		t.Error(err)
	}
}

// TestLikeReference compares with the reference plugin, if there is one.
// What is probably not meant is let pass all the same.
func TestDoubt(t *testing.T) {
	for _, test := range []struct{ name, ipam, want string }{
		{"neighbour", `"addresses": [{"address": "10.5.0.9/24", "gateway": "10.5.0.1"}]`, ""},
		{"stranger", `"addresses": [{"address": "10.5.0.9/24"}, {"address": "10.5.0.9/24", "gateway": "10.5.1.1"}]`,
			"ipam.addresses[1].gateway: 10.5.1.1 is outside of 10.5.0.0/24"},
		{"no neighbours", `"addresses": [{"address": "192.0.2.9/32", "gateway": "192.0.2.1"}]`, ""},
		{"link-local", `"addresses": [{"address": "2001:db8::9/64", "gateway": "fe80::1"}]`, ""},
		{"routes", `"routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.5.0.1/16"}, {"dst": "fd00::1/64"}]`,
			"ipam.routes[1].dst: 10.5.0.1/16 is taken as 10.5.0.0/16\nipam.routes[2].dst: fd00::1/64 is taken as fd00::/64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conf, got := new(static.Config), ""
			r := &cni.Request{Config: cni.Config{JSON: []byte(`{"ipam": {` + test.ipam + `}}`)}}
			if err := r.Decode(conf); err != nil {
				t.Fatal(err)
			}
			if err := conf.Doubt(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("doubts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLikeReference(t *testing.T) {
	const referencePlugins = "SEAM_REFERENCE_PLUGINS"
	plugins := os.Getenv(referencePlugins)
	if plugins == "" {
		t.Skipf("%s is not set", referencePlugins)
	}
	add := func(t *testing.T, version, config string, args cni.Args) (*cni.Result, bool) {
		t.Helper()
		cmd := exec.Command(filepath.Join(plugins, "static"))
		cmd.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0",
			"CNI_NETNS=/nonexistent", "CNI_PATH=/nonexistent", "CNI_ARGS=" + args.String()}
		cmd.Stdin = bytes.NewReader([]byte(`{"cniVersion": "` + version + `", "name": "net", "type": "static", ` + config[1:]))
		out, err := cmd.Output()
		if err != nil {
			return nil, false
		}
		r, err := wire.DecodeResult(out, version)
		if err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		return r, true
	}
	for _, test := range adds {
		got, ok := add(t, "1.1.0", test.config, test.args)
		if !ok {
			t.Errorf("%s: the reference refuses it", test.name)
			continue
		}
		if diff := cmp.Diff(&test.want, got, netipValues, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +reference):\n%s", test.name, diff)
		}
	}
	for _, test := range refusals {
		version := test.version
		if version == "" {
			version = "1.1.0"
		}
		if _, ok := add(t, version, test.config, test.args); ok {
			t.Errorf("%s: the reference takes it", test.name)
		}
	}
}

// TestReadmeExamples gives the addresses of each example.
func TestReadmeExamples(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(text), "```json\n")[1:]
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	for _, e := range examples {
		e, _, _ = strings.Cut(e, "```")
		var list struct {
			CNIVersion, Name string
			Plugins          []json.RawMessage
		}
		if err := json.Unmarshal([]byte(e), &list); err != nil {
			t.Errorf("%v in:\n%s", err, e)
			continue
		}
		for _, p := range list.Plugins {
			if _, err := static.New().Add(t.Context(), request(list.CNIVersion, string(p), nil)); err != nil {
				t.Errorf("%v in:\n%s", err, e)
			}
		}
	}
}

// FuzzAdd holds that any configuration is refused with a code of the specification,
// or gives addresses that Check finds again.
func FuzzAdd(f *testing.F) {
	for _, test := range adds {
		f.Add([]byte(test.config), test.args.String())
	}
	for _, test := range refusals {
		f.Add([]byte(test.config), test.args.String())
	}
	f.Fuzz(func(t *testing.T, config []byte, argText string) {
		args, err := cni.ParseArgs(argText)
		if err != nil || !json.Valid(config) {
			return
		}
		r := request("1.1.0", string(config), args)
		r.Prev, err = static.New().Add(t.Context(), r)
		if err != nil {
			switch code := cni.CodeOf(err); code {
			case cni.CodeDecoding, cni.CodeInvalidConfig, cni.CodeInvalidEnvironment:
			default:
				t.Errorf("%v: code %d", err, code)
			}
			return
		}
		seen := map[netip.Prefix]bool{}
		for _, ip := range r.Prev.IPs {
			if !ip.Address.IsValid() || (ip.Gateway.IsValid() && ip.Gateway.Is4() != ip.Address.Addr().Is4()) {
				t.Errorf("got %+v", ip)
			}
			if seen[ip.Address] {
				return // given twice with different gateways, Check finds the first
			}
			seen[ip.Address] = true
		}
		if err := static.New().Check(t.Context(), r); err != nil {
			t.Error(err)
		}
	})
}
