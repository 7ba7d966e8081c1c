package wire

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cnm"
)

// FuzzRequest: whatever is asked is answered, and what a driver hears can be said again
// and is heard as the same.
func FuzzRequest(f *testing.F) {
	for _, r := range recordings(f) {
		f.Add(r.method, r.body)
	}
	f.Add("IpamDriver.RequestPool", []byte(`{"Options":{"":null}}`))
	f.Fuzz(func(t *testing.T, method string, body []byte) {
		var verb string
		var heard any
		driver := hearing(func(_ context.Context, v string, asked any) (any, error) {
			verb, heard = v, asked
			return map[string]any{"RequestAddress": netip.MustParsePrefix("10.0.0.1/8")}[v], nil
		})
		s := &Server{Driver: driver, IPAM: driver}
		do := s.method(method)
		if do == nil {
			return
		}
		if _, err := do(t.Context(), body); err != nil || heard == nil {
			return
		}
		first, firstVerb := heard, verb
		call, err := said(heard)
		if err != nil {
			return // an address of the wrong family, for instance, beside another
		}
		again, err := json.Marshal(call)
		if err != nil {
			t.Fatal(err)
		}
		heard = nil
		if _, err := do(t.Context(), again); err != nil {
			t.Fatalf("%s refused: %v\n%s", again, err, body)
		}
		if verb != firstVerb || !reflect.DeepEqual(lines("", reflect.ValueOf(first)), lines("", reflect.ValueOf(heard))) {
			t.Errorf("%s: (-first +again):\n%s", body, cmp.Diff(first, heard, byValue()))
		}
	})
}

// said returns the form in which the value is asked for.
func said(value any) (any, error) {
	switch v := value.(type) {
	case *cnm.Network:
		return encodeNetwork(v), nil
	case cnm.NetworkID:
		return networkRef{v}, nil
	case *cnm.Endpoint:
		return encodeEndpoint(v)
	case *cnm.Join:
		return encodeJoin(v)
	case *cnm.PoolRequest:
		return encodePoolRequest(v), nil
	case cnm.PoolID:
		return poolRef{v}, nil
	case *cnm.AddressRequest:
		return encodeAddressRequest(v), nil
	case ref:
		if pool, ok := v.Network.(cnm.PoolID); ok {
			return addressRef{PoolID: pool, Address: textOf(v.Endpoint.(netip.Addr))}, nil
		}
		return endpointRef{v.Network.(cnm.NetworkID), v.Endpoint.(cnm.EndpointID)}, nil
	}
	return nil, context.Canceled
}

// FuzzAnswer: whatever a driver answers is an error or a value.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"Interface":{"Address":"10.0.0.2/24","AddressIPv6":"fd00::2/64","MacAddress":"02:00:00:00:00:01"}}`,
		`{"InterfaceName":{"SrcName":"v","DstPrefix":"eth"},"Gateway":"10.0.0.1","StaticRoutes":[{"Destination":"10.0.0.0/8","RouteType":1}]}`,
		`{"PoolID":"p","Pool":"10.0.0.0/8","Data":{"com.docker.network.gateway":"10.0.0.1/8"}}`,
		`{"Address":"10.0.0.1/8"}`, `{"Err":"x"}`, `{"Error":"x"}`, `null`, ``, `404 page not found`,
	} {
		f.Add(http.StatusOK, []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		var chosen chosenForm
		if parseAnswer(status, body, &chosen) == nil {
			chosen.value()
		}
		var joined joinedForm
		if parseAnswer(status, body, &joined) == nil {
			if j, err := joined.value(); err == nil && j == nil {
				t.Error("neither value nor error")
			}
		}
		var pool reservedPool
		if parseAnswer(status, body, &pool) == nil {
			if p, err := pool.value(); err == nil && !p.Subnet.IsValid() {
				t.Error("a pool without subnet")
			}
		}
		var address reservedAddress
		if err := parseAnswer(status, body, &address); err == nil {
			if a, err := address.value(); err == nil && !a.IsValid() {
				t.Error("no address")
			}
		} else if strings.TrimSpace(err.Error()) == "" {
			t.Error("an error that says nothing")
		}
	})
}
