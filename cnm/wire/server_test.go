package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cnm"
)

// post asks the server and returns status and body.
func post(s *Server, method, body string) (int, string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+method, strings.NewReader(body)))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestAnswers(t *testing.T) {
	sharp := errors.New("no room left")
	driver := hearing(func(_ context.Context, verb string, asked any) (any, error) {
		if asked == (ref{cnm.NetworkID("n"), cnm.EndpointID("bad")}) {
			return nil, sharp
		}
		return map[string]any{
			"Capabilities": cnm.Capabilities{},
			"CreateEndpoint": &cnm.Interface{
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("fd00::2/64")},
				MAC:       net.HardwareAddr{2, 0, 0, 0, 0, 1},
			},
			"Join": &cnm.Joined{
				Link:     &cnm.Link{Name: "veth1", Prefix: "eth"},
				Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
				Routes: []cnm.Route{
					{Dst: netip.MustParsePrefix("10.1.0.0/16"), NextHop: netip.MustParseAddr("10.0.0.9")},
					{Dst: netip.MustParsePrefix("10.2.0.0/16")},
				},
			},
			"EndpointInfo":     map[string]any{"k": "v"},
			"IPAMCapabilities": cnm.IPAMCapabilities{LocalSpace: "L", GlobalSpace: "G", RequiresReplay: true},
			"RequestPool": &cnm.Pool{
				ID: "p", Subnet: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParsePrefix("10.0.0.1/24"),
			},
			"RequestAddress": netip.MustParsePrefix("10.0.0.7/24"),
		}[verb], nil
	})
	s := &Server{Driver: driver, IPAM: driver}
	for _, test := range []struct{ name, method, body, want string }{
		{"activate", "Plugin.Activate", ``, `{"Implements":["NetworkDriver","IpamDriver"]}`},
		{"scope is local", "NetworkDriver.GetCapabilities", ``, `{"Scope":"local"}`},
		{"network", "NetworkDriver.CreateNetwork", `{"NetworkID":"n"}`, `{}`},
		{"network gone", "NetworkDriver.DeleteNetwork", `{"NetworkID":"n"}`, `{}`},
		{"all chosen", "NetworkDriver.CreateEndpoint", `{"NetworkID":"n","EndpointID":"e"}`,
			`{"Interface":{"Address":"10.0.0.2/24","AddressIPv6":"fd00::2/64","MacAddress":"02:00:00:00:00:01"}}`},
		{"some as asked", "NetworkDriver.CreateEndpoint",
			`{"NetworkID":"n","EndpointID":"e","Interface":{"Address":"10.0.0.2/24","MacAddress":"02:00:00:00:00:01"}}`,
			`{"Interface":{"Address":"","AddressIPv6":"fd00::2/64","MacAddress":""}}`},
		{"all as asked", "NetworkDriver.CreateEndpoint",
			`{"NetworkID":"n","EndpointID":"e","Interface":{"Address":"10.0.0.2/24","AddressIPv6":"fd00::2/64","MacAddress":"02:00:00:00:00:01"}}`,
			`{"Interface":null}`},
		{"join", "NetworkDriver.Join", `{"NetworkID":"n","EndpointID":"e","SandboxKey":"/x"}`,
			`{"InterfaceName":{"SrcName":"veth1","DstPrefix":"eth"},"Gateway":"10.0.0.1","GatewayIPv6":"fd00::1",` +
				`"StaticRoutes":[{"Destination":"10.1.0.0/16","RouteType":0,"NextHop":"10.0.0.9"},` +
				`{"Destination":"10.2.0.0/16","RouteType":1,"NextHop":""}],"DisableGatewayService":false}`},
		{"leave", "NetworkDriver.Leave", `{"NetworkID":"n","EndpointID":"e"}`, `{}`},
		{"error", "NetworkDriver.Leave", `{"NetworkID":"n","EndpointID":"bad"}`, `{"Err":"no room left","Error":"no room left"}`},
		{"info", "NetworkDriver.EndpointOperInfo", `{"NetworkID":"n","EndpointID":"e"}`, `{"Value":{"k":"v"}}`},
		{"discovery", "NetworkDriver.DiscoverNew", `{"DiscoveryType":1}`, `{}`},
		{"spaces", "IpamDriver.GetDefaultAddressSpaces", ``, `{"LocalDefaultAddressSpace":"L","GlobalDefaultAddressSpace":"G"}`},
		{"requirements", "IpamDriver.GetCapabilities", ``, `{"RequiresMACAddress":false,"RequiresRequestReplay":true}`},
		{"pool", "IpamDriver.RequestPool", `{"AddressSpace":"L"}`,
			`{"PoolID":"p","Pool":"10.0.0.0/24","Data":{"com.docker.network.gateway":"10.0.0.1/24"}}`},
		{"address", "IpamDriver.RequestAddress", `{"PoolID":"p"}`, `{"Address":"10.0.0.7/24","Data":{}}`},
		{"address gone", "IpamDriver.ReleaseAddress", `{"PoolID":"p","Address":"10.0.0.7"}`, `{}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, got := post(s, test.method, test.body)
			if diff := cmp.Diff(test.want, got); diff != "" || status != http.StatusOK {
				t.Errorf("status %d, (-want +got):\n%s", status, diff)
			}
		})
	}
}

// TestNothingToSay is of drivers that return zero values.
func TestNothingToSay(t *testing.T) {
	driver := &fake{func(context.Context, string, any) (any, error) { return nil, nil }}
	s := &Server{Driver: driver, IPAM: driver}
	const both = `{"NetworkID":"n","EndpointID":"e"}`
	for _, test := range []struct{ method, body, want string }{
		{"NetworkDriver.CreateEndpoint", both, `{"Interface":null}`},
		{"NetworkDriver.Join", both, `{"InterfaceName":null,"Gateway":"","GatewayIPv6":"","StaticRoutes":null,"DisableGatewayService":false}`},
		{"NetworkDriver.EndpointOperInfo", both, `{"Value":{}}`},
		{"NetworkDriver.ProgramExternalConnectivity", both, `{}`},
		{"NetworkDriver.RevokeExternalConnectivity", both, `{}`},
		{"IpamDriver.RequestPool", `{}`, `{"Err":"driver gave no pool","Error":"driver gave no pool"}`},
		{"IpamDriver.RequestAddress", `{"PoolID":"p"}`, `{"Err":"driver gave no address","Error":"driver gave no address"}`},
	} {
		if _, got := post(s, test.method, test.body); got != test.want {
			t.Errorf("%s: %s, want %s", test.method, got, test.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	driver := hearing(func(_ context.Context, verb string, asked any) (any, error) {
		return nil, fmt.Errorf("%s reached the driver", verb)
	})
	s := &Server{Driver: driver, IPAM: driver}
	long := strings.Repeat("a", maxID+1)
	for _, test := range []struct {
		name, method, body string
		status             int
		want               string
	}{
		{"no method", "NetworkDriver.Fly", `{}`, 404, `no method`},
		{"what is not announced", "NetworkDriver.GwAllocCheck", `{}`, 404, `no method`},
		{"no path", "", ``, 404, `no method`},
		{"no body", "NetworkDriver.Join", ``, 400, `has no body`},
		{"blank body", "NetworkDriver.CreateNetwork", " \n", 400, `has no body`},
		{"half a body", "NetworkDriver.Join", `{"NetworkID":"n`, 400, `unexpected end`},
		{"two bodies", "NetworkDriver.DeleteNetwork", `{"NetworkID":"n"}{}`, 400, `after top-level value`},
		{"null", "NetworkDriver.DeleteNetwork", `null`, 400, `NetworkID: is missing`},
		{"list", "NetworkDriver.DeleteNetwork", `[]`, 400, `cannot unmarshal`},
		{"number as ID", "NetworkDriver.DeleteNetwork", `{"NetworkID":7}`, 400, `cannot unmarshal`},
		{"path as ID", "NetworkDriver.DeleteNetwork", `{"NetworkID":"../n"}`, 400, `is no identifier`},
		{"hidden ID", "NetworkDriver.DeleteNetwork", `{"NetworkID":"."}`, 400, `is no identifier`},
		{"zero byte", "NetworkDriver.DeleteNetwork", `{"NetworkID":"a\u0000"}`, 400, `is no identifier`},
		{"long ID", "NetworkDriver.DeleteNetwork", `{"NetworkID":"` + long + `"}`, 400, `longer than 128`},
		{"no endpoint", "NetworkDriver.Leave", `{"NetworkID":"n"}`, 400, `EndpointID: is missing`},
		{"slash in endpoint", "NetworkDriver.CreateEndpoint", `{"NetworkID":"n","EndpointID":"a/b"}`, 400, `EndpointID`},
		{"no pool", "IpamDriver.ReleasePool", `{}`, 400, `PoolID: is missing`},
		{"newline in pool", "IpamDriver.ReleasePool", `{"PoolID":"a\nb"}`, 400, `control characters`},
		{"no address", "IpamDriver.ReleaseAddress", `{"PoolID":"p"}`, 400, `address is missing`},
		{"subnet", "IpamDriver.RequestPool", `{"Pool":"10.0.0.0"}`, 400, `Pool: `},
		{"address", "IpamDriver.RequestAddress", `{"PoolID":"p","Address":"ten"}`, 400, `Address: `},
		{"MAC", "NetworkDriver.CreateEndpoint", `{"NetworkID":"n","EndpointID":"e","Interface":{"MacAddress":"zz"}}`, 400, `MacAddress: `},
		{"MAC option", "NetworkDriver.CreateEndpoint", `{"NetworkID":"n","EndpointID":"e","Options":{"com.docker.network.endpoint.macaddress":"AAA="}}`, 400, `has 2 bytes`},
		{"protocol", "NetworkDriver.Join", `{"NetworkID":"n","EndpointID":"e","Options":{"com.docker.network.portmap":[{"Proto":99}]}}`, 400, `protocol 99 is unknown`},
		{"port", "NetworkDriver.Join", `{"NetworkID":"n","EndpointID":"e","Options":{"com.docker.network.portmap":[{"Proto":6,"Port":70000}]}}`, 400, `portmap`},
		{"range", "NetworkDriver.Join", `{"NetworkID":"n","EndpointID":"e","Options":{"com.docker.network.portmap":[{"Proto":6,"HostPort":9,"HostPortEnd":8}]}}`, 400, `backwards`},
		{"flag", "NetworkDriver.CreateNetwork", `{"NetworkID":"n","Options":{"com.docker.network.internal":"perhaps"}}`, 400, `internal`},
		{"too much", "NetworkDriver.CreateNetwork", `{"NetworkID":"` + strings.Repeat("a", bodyLimit) + `"}`, 400, `too large`},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, got := post(s, test.method, test.body)
			var form refusalForm
			if err := json.Unmarshal([]byte(got), &form); err != nil {
				t.Fatal(err)
			}
			if status != test.status || !strings.Contains(form.Err, test.want) || form.Error != form.Err {
				t.Errorf("%d %s, want %d %s", status, got, test.status, test.want)
			}
		})
	}
}

func TestOnlyPOST(t *testing.T) {
	w := httptest.NewRecorder()
	(&Server{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/Plugin.Activate", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("status %d, want %d", w.Code, http.StatusMethodNotAllowed)
	}
}

// TestHalves is of servers that are one kind of driver only.
func TestHalves(t *testing.T) {
	driver := hearing(func(context.Context, string, any) (any, error) { return nil, nil })
	for _, test := range []struct {
		name          string
		server        *Server
		activation    string
		network, ipam int
	}{
		{"network", &Server{Driver: driver}, `{"Implements":["NetworkDriver"]}`, 200, 404},
		{"ipam", &Server{IPAM: driver}, `{"Implements":["IpamDriver"]}`, 404, 200},
		{"neither", &Server{}, `{"Implements":[]}`, 404, 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, got := post(test.server, "Plugin.Activate", ""); got != test.activation {
				t.Errorf("activation %s, want %s", got, test.activation)
			}
			if status, _ := post(test.server, "NetworkDriver.GetCapabilities", ""); status != test.network {
				t.Errorf("NetworkDriver: %d, want %d", status, test.network)
			}
			if status, _ := post(test.server, "IpamDriver.GetCapabilities", ""); status != test.ipam {
				t.Errorf("IpamDriver: %d, want %d", status, test.ipam)
			}
		})
	}
}

// TestOptions is of what engines may say and recordings do not hold.
func TestOptions(t *testing.T) {
	var got any
	driver := hearing(func(_ context.Context, _ string, asked any) (any, error) { got = asked; return nil, nil })
	s := &Server{Driver: driver, IPAM: driver}
	for _, test := range []struct {
		name, method, body string
		want               any
	}{
		{
			"values that are no strings", "NetworkDriver.CreateNetwork",
			`{"NetworkID":"n","Options":{"com.docker.network.generic":{"a":true,"b":1500,"c":1e3,"d":null,"e":{"f":1},"g":"\u003c"}}}`,
			&cnm.Network{ID: "n", Options: map[string]string{"a": "true", "b": "1500", "c": "1e3", "g": "<"}},
		},
		{
			"null everywhere", "NetworkDriver.CreateNetwork",
			`{"NetworkID":"n","Options":{"com.docker.network.generic":null,"com.docker.network.enable_ipv4":null,"com.docker.network.internal":null},"IPv4Data":null}`,
			&cnm.Network{ID: "n"},
		},
		{"no options", "NetworkDriver.CreateNetwork", `{"NetworkID":"n","Options":null}`, &cnm.Network{ID: "n"}},
		{
			"flags as text", "NetworkDriver.CreateNetwork",
			`{"NetworkID":"n","Options":{"com.docker.network.enable_ipv4":"false","com.docker.network.enable_ipv6":"true","com.docker.network.internal":"true"}}`,
			&cnm.Network{ID: "n", NoIPv4: true, IPv6: true, Internal: true},
		},
		{
			"endpoint's", "NetworkDriver.CreateEndpoint",
			`{"NetworkID":"n","EndpointID":"e","Interface":null,"Options":{"k":"v","n":5,"o":{"x":1},"com.docker.network.endpoint.ifname":"web0",` +
				`"com.docker.network.endpoint.macaddress":"AgAAAAAB","com.docker.network.endpoint.sysctls":"s","com.docker.network.portmap":null,` +
				`"com.docker.network.endpoint.exposedports":[{"Proto":"udp","Port":53}],"com.docker.network.endpoint.dnsservers":["192.0.2.1",""]}}`,
			&cnm.Endpoint{
				Network: "n", ID: "e", Name: "web0", Interface: cnm.Interface{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}},
				Exposed: []cnm.Port{{Protocol: "udp", Number: 53}}, DNS: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
				Options: map[string]string{"k": "v", "n": "5", "com.docker.network.endpoint.sysctls": "s"},
			},
		},
		{
			"IPv4 in IPv6's clothes", "NetworkDriver.CreateEndpoint",
			`{"NetworkID":"n","EndpointID":"e","Interface":{"Address":"::ffff:10.0.0.1/120"}}`,
			&cnm.Endpoint{Network: "n", ID: "e", Interface: cnm.Interface{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}},
		},
		{
			"address's", "IpamDriver.RequestAddress",
			`{"PoolID":"p","Options":{"RequestAddressType":"other","x":"y"}}`,
			&cnm.AddressRequest{Pool: "p", Options: map[string]string{"RequestAddressType": "other", "x": "y"}},
		},
		{"address with length", "IpamDriver.ReleaseAddress", `{"PoolID":"p/1","Address":"10.0.0.1/24"}`, ref{cnm.PoolID("p/1"), netip.MustParseAddr("10.0.0.1")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got = nil
			_, answer := post(s, test.method, test.body)
			if diff := cmp.Diff(test.want, got, byValue()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", answer, diff)
			}
		})
	}
}

func TestPanicIsAnError(t *testing.T) {
	var log bytes.Buffer
	var observed error
	s := &Server{
		Driver:  hearing(func(context.Context, string, any) (any, error) { panic("lost my head") }),
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
		Observe: func(_ string, _ time.Duration, err error) { observed = err },
	}
	status, got := post(s, "NetworkDriver.DeleteNetwork", `{"NetworkID":"n"}`)
	if status != http.StatusOK || !strings.Contains(got, `"Err":"panic: lost my head"`) {
		t.Errorf("%d %s", status, got)
	}
	if !strings.Contains(log.String(), "lost my head") || !strings.Contains(log.String(), "stack=") {
		t.Errorf("log: %s", log.String())
	}
	if observed == nil {
		t.Error("Observe was told of no error")
	}
}

func TestObserve(t *testing.T) {
	var seen []string
	s := &Server{
		Driver: hearing(func(_ context.Context, _ string, asked any) (any, error) {
			if asked == cnm.NetworkID("bad") {
				return nil, errors.New("bad")
			}
			return nil, nil
		}),
		Observe: func(method string, took time.Duration, err error) {
			seen = append(seen, fmt.Sprint(method, " ", took >= 0, " ", err))
		},
	}
	post(s, "NetworkDriver.DeleteNetwork", `{"NetworkID":"n"}`)
	post(s, "NetworkDriver.DeleteNetwork", `{"NetworkID":"bad"}`)
	post(s, "NetworkDriver.Unheard", ``)
	want := []string{"NetworkDriver.DeleteNetwork true <nil>", "NetworkDriver.DeleteNetwork true bad"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
