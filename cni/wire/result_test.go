package wire

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
)

// sameResult compares addresses by value and takes nil and empty lists for one.
var sameResult = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func dualStack() *cni.Result {
	return &cni.Result{
		Interfaces: []cni.Interface{
			{Name: "cni0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}},
			{Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, MTU: 1400, Sandbox: "/run/netns/a", SocketPath: "/s", PciID: "0000:01:00.0"},
		},
		IPs: []cni.IP{
			{Address: netip.MustParsePrefix("10.1.0.5/16"), Gateway: netip.MustParseAddr("10.1.0.1"), Interface: new(1)},
			{Address: netip.MustParsePrefix("10.2.0.5/16")},
			{Address: netip.MustParsePrefix("fd00::5/64"), Gateway: netip.MustParseAddr("fd00::1"), Interface: new(1)},
		},
		Routes: []cni.Route{
			{Dst: netip.MustParsePrefix("::/0")},
			{Dst: netip.MustParsePrefix("0.0.0.0/0"), GW: netip.MustParseAddr("10.1.0.9"), MTU: 1300, Table: new(0), Scope: new(0)},
		},
		DNS: cni.DNS{Nameservers: []string{"10.1.0.1"}, Search: []string{"a.b"}},
	}
}

func TestEncodeResult(t *testing.T) {
	old := `"ip4":{"ip":"10.1.0.5/16","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.9"}]},` +
		`"ip6":{"ip":"fd00::5/64","gateway":"fd00::1","routes":[{"dst":"::/0"}]},` +
		`"dns":{"nameservers":["10.1.0.1"],"search":["a.b"]}}`
	links := `"interfaces":[{"name":"cni0","mac":"02:00:00:00:00:01"},{"name":"eth0","mac":"02:00:00:00:00:02",%s"sandbox":"/run/netns/a"%s}],`
	tail := `"routes":[{"dst":"::/0"},{"dst":"0.0.0.0/0","gw":"10.1.0.9","mtu":1300,"table":0,"scope":0}],` +
		`"dns":{"nameservers":["10.1.0.1"],"search":["a.b"]}}`
	middle := fmt.Sprintf(links, "", "") +
		`"ips":[{"version":"4","interface":1,"address":"10.1.0.5/16","gateway":"10.1.0.1"},{"version":"4","address":"10.2.0.5/16"},` +
		`{"version":"6","interface":1,"address":"fd00::5/64","gateway":"fd00::1"}],` + tail
	current := fmt.Sprintf(links, `"mtu":1400,`, `,"socketPath":"/s","pciID":"0000:01:00.0"`) +
		`"ips":[{"interface":1,"address":"10.1.0.5/16","gateway":"10.1.0.1"},{"address":"10.2.0.5/16"},` +
		`{"interface":1,"address":"fd00::5/64","gateway":"fd00::1"}],` + tail
	for version, want := range map[string]string{
		"": old, "0.1.0": old, "0.2.0": old,
		"0.3.0": middle, "0.3.1": middle, "0.4.0": middle,
		"1.0.0": current, "1.1.0": current,
	} {
		t.Run("version "+version, func(t *testing.T) {
			got, err := EncodeResult(dualStack(), version)
			if err != nil {
				t.Fatal(err)
			}
			if version == "" {
				version = "0.1.0"
			}
			if diff := cmp.Diff(`{"cniVersion":"`+version+`",`+want, string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestEncodeResultRefuses(t *testing.T) {
	tests := []struct {
		name    string
		r       *cni.Result
		version string
		code    cni.Code
		want    string
	}{
		{"old form without an address", &cni.Result{}, "0.2.0", cni.CodeInternal, "version 0.2.0 has no form"},
		{"unknown version", &cni.Result{}, "1.2.0", cni.CodeIncompatibleVersion, `"1.2.0" is not supported`},
		{"no address", &cni.Result{IPs: make([]cni.IP, 1)}, "1.0.0", cni.CodeInternal, "ips[0]: no address"},
		{"no destination", &cni.Result{Routes: make([]cni.Route, 1)}, "1.0.0", cni.CodeInternal, "routes[0]: no dst"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := EncodeResult(tt.r, tt.version)
			if err == nil || cni.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want code %d and %q", err, tt.code, tt.want)
			}
		})
	}
	if got, err := EncodeResult(nil, "1.1.0"); err != nil || string(got) != `{"cniVersion":"1.1.0"}` {
		t.Errorf("nil: %s, %v", got, err)
	}
}

func TestDecodeResult(t *testing.T) {
	pod := &cni.Result{IPs: []cni.IP{{Address: netip.MustParsePrefix("10.0.0.2/24")}}}
	tests := []struct {
		name, in, fallback string
		want               *cni.Result
		code               cni.Code
		err                string
	}{
		{name: "its own version", in: `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}`, fallback: "1.0.0", want: pod},
		{name: "the fallback", in: `{"ips":[{"address":"10.0.0.2/24"}]}`, fallback: "1.0.0", want: pod},
		{name: "no version at all", in: `{"ip4":{"ip":"10.0.0.2/24"}}`, want: pod},
		{name: "empty version", in: `{"cniVersion":"","ips":[{"address":"10.0.0.2/24"}]}`, fallback: "0.4.0", want: pod},
		{name: "old key under a new version", in: `{"cniVersion":"1.0.0","ip4":{"ip":"10.0.0.2/24"}}`, want: &cni.Result{}},
		{name: "interface -1", in: `{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24","interface":-1}]}`,
			want: &cni.Result{IPs: []cni.IP{{Address: netip.MustParsePrefix("10.0.0.2/24"), Interface: new(-1)}}}},
		{name: "IPv4-mapped", in: `{"cniVersion":"1.0.0","ips":[{"address":"::ffff:10.0.0.2/120","gateway":"::ffff:10.0.0.1"}],"routes":[{"dst":"::ffff:0.0.0.0/96"}]}`,
			want: &cni.Result{
				IPs:    []cni.IP{{Address: netip.MustParsePrefix("10.0.0.2/24"), Gateway: netip.MustParseAddr("10.0.0.1")}},
				Routes: []cni.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0")}},
			}},
		{name: "a tunnel's MAC", in: `{"cniVersion":"1.0.0","interfaces":[{"name":"gre1","mac":"0a:00:00:01"}]}`,
			want: &cni.Result{Interfaces: []cni.Interface{{Name: "gre1", MAC: net.HardwareAddr{10, 0, 0, 1}}}}},
		{name: "unknown keys", in: `{"cniVersion":"1.1.0","x":1,"ips":[{"address":"10.0.0.2/24","y":{}}]}`, want: pod},
		{name: "bad MAC", in: `{"cniVersion":"1.0.0","interfaces":[{"name":"a","mac":"none"}]}`, code: cni.CodeDecoding, err: `interface "a": mac "none"`},
		{name: "unknown version", in: `{"cniVersion":"1.2.0"}`, code: cni.CodeIncompatibleVersion, err: `"1.2.0"`},
		{name: "no address", in: `{"cniVersion":"1.0.0","ips":[{}]}`, code: cni.CodeDecoding, err: "ips[0]: no address"},
		{name: "no prefix", in: `{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2"}]}`, code: cni.CodeDecoding, err: "no '/'"},
		{name: "no destination", in: `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","routes":[{}]}}`, code: cni.CodeDecoding, err: "routes[0]: no dst"},
		{name: "wrong type", in: `{"cniVersion":"1.0.0","ips":7}`, code: cni.CodeDecoding, err: `key "ips"`},
		{name: "empty", in: ``, code: cni.CodeDecoding, err: "empty"},
		{name: "null", in: `null`, code: cni.CodeDecoding, err: "not a JSON object"},
		{name: "list", in: `[]`, code: cni.CodeDecoding, err: "not a JSON object"},
		{name: "two values", in: `{} {}`, code: cni.CodeDecoding, err: "after top-level value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeResult([]byte(tt.in), tt.fallback)
			if tt.err != "" {
				if err == nil || cni.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want code %d and %q", err, tt.code, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, sameResult); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestConversionsAreUpstreams takes random results from each version to each other
// one, here and there.
func TestConversionsAreUpstreams(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		random := randomResult(rnd)
		for _, from := range SupportedVersions() {
			first, err := EncodeResult(random, from)
			if err != nil {
				continue // no address: no old form
			}
			for _, to := range SupportedVersions() {
				want, wantErr := convertUpstream(first, from, to)
				r, err := DecodeResult(first, "")
				if err != nil {
					t.Fatalf("%s: %v", first, err)
				}
				got, err := EncodeResult(r, to)
				if (err == nil) != (wantErr == nil) {
					t.Fatalf("%s to %s: %v, upstream: %v", first, to, err, wantErr)
				}
				if diff := cmp.Diff(normal(t, want), normal(t, got)); diff != "" {
					t.Fatalf("%s to %s (-upstream +ours)\n%s", first, to, diff)
				}
			}
		}
	}
}

func convertUpstream(data []byte, from, to string) ([]byte, error) {
	r, err := create.Create(from, data)
	if err != nil {
		return nil, fmt.Errorf("upstream does not read it: %w", err)
	}
	converted, err := r.GetAsVersion(to)
	if err != nil {
		return nil, err
	}
	return json.Marshal(converted)
}

// normal is JSON without order and without the empty dns that upstream writes in
// old versions.
func normal(t *testing.T, data []byte) map[string]any {
	t.Helper()
	if data == nil {
		return nil
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	if dns, ok := m["dns"].(map[string]any); ok && len(dns) == 0 {
		delete(m, "dns")
	}
	return m
}

func randomResult(rnd *rand.Rand) *cni.Result {
	r := &cni.Result{}
	for i := range rnd.IntN(4) {
		l := cni.Interface{Name: fmt.Sprint("eth", i)}
		if rnd.IntN(2) == 0 {
			l.MAC = net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}
			l.Sandbox = "/run/netns/a"
		}
		if rnd.IntN(3) == 0 {
			l.MTU, l.SocketPath, l.PciID = 1500, "/s", "0000:00:1f.6"
		}
		r.Interfaces = append(r.Interfaces, l)
	}
	for range rnd.IntN(4) {
		ip := cni.IP{Address: randomPrefix(rnd)}
		if rnd.IntN(2) == 0 {
			ip.Gateway = ip.Address.Masked().Addr().Next()
		}
		if rnd.IntN(2) == 0 {
			ip.Interface = new(rnd.IntN(4) - 1)
		}
		r.IPs = append(r.IPs, ip)
	}
	for range rnd.IntN(4) {
		route := cni.Route{Dst: randomPrefix(rnd).Masked()}
		if rnd.IntN(2) == 0 {
			route.GW = route.Dst.Addr().Next()
		}
		if rnd.IntN(2) == 0 {
			route.MTU, route.AdvMSS, route.Priority, route.Table, route.Scope = 1400, 1360, rnd.IntN(3), new(rnd.IntN(3)), new(rnd.IntN(2))
		}
		r.Routes = append(r.Routes, route)
	}
	if rnd.IntN(2) == 0 {
		r.DNS = cni.DNS{Nameservers: []string{"10.0.0.1"}, Domain: "d", Search: []string{"s"}, Options: []string{"ndots:5"}}
	}
	return r
}

func randomPrefix(rnd *rand.Rand) netip.Prefix {
	if rnd.IntN(2) == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rnd.IntN(9)), 0, byte(rnd.IntN(250))}), rnd.IntN(31))
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(rnd.IntN(9)), 15: byte(rnd.IntN(250))}), rnd.IntN(127))
}

func FuzzDecodeResult(f *testing.F) {
	for _, version := range SupportedVersions() {
		data, err := EncodeResult(dualStack(), version)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, version)
	}
	f.Fuzz(func(t *testing.T, data []byte, fallback string) {
		r, err := DecodeResult(data, fallback)
		if err != nil {
			return
		}
		encoded, err := EncodeResult(r, "1.1.0")
		if err != nil {
			t.Fatalf("%q is read but not written: %v", data, err)
		}
		again, err := DecodeResult(encoded, "")
		if err != nil {
			t.Fatalf("%q is written but not read: %v", encoded, err)
		}
		if diff := cmp.Diff(r, again, sameResult); diff != "" {
			t.Errorf("%q (-first +again)\n%s", data, diff)
		}
		if _, err := create.Create("1.1.0", encoded); err != nil {
			t.Errorf("upstream does not read %s: %v", encoded, err)
		}
	})
}
