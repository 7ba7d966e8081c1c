package wire

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cnm"
)

var update = flag.Bool("update", false, "write the golden files of recorded bodies")

// A recording is the body of a request as an engine sent it; testdata/README.md says how
// it was asked to.
type recording struct {
	engine, method, name string
	body                 []byte
}

func recordings(t testing.TB) []recording {
	t.Helper()
	paths, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	var all []recording
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		method, _, _ := strings.Cut(name, "-")
		all = append(all, recording{filepath.Base(filepath.Dir(path)), method, name, body})
	}
	return all
}

// heard returns the verb and the value that a driver gets for the recording.
func (r recording) heard(t *testing.T) (verb string, value any) {
	t.Helper()
	driver := hearing(func(_ context.Context, v string, asked any) (any, error) {
		verb, value = v, asked
		return map[string]any{
			"RequestPool":    &cnm.Pool{ID: "p", Subnet: netip.MustParsePrefix("10.0.0.0/8")},
			"RequestAddress": netip.MustParsePrefix("10.0.0.1/8"),
		}[v], nil
	})
	s := &Server{Driver: driver, IPAM: driver}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+r.method, bytes.NewReader(r.body)))
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"Err"`) {
		t.Fatalf("%s: %s: %d %s", r.engine, r.name, w.Code, w.Body)
	}
	return verb, value
}

// TestRecorded compares what engines said with what a driver hears.
func TestRecorded(t *testing.T) {
	texts := map[string]*strings.Builder{}
	for _, r := range recordings(t) {
		if texts[r.engine] == nil {
			texts[r.engine] = new(strings.Builder)
		}
		verb, value := r.heard(t)
		fmt.Fprintf(texts[r.engine], "# %s\n%s\n%s\n", r.name, verb, strings.Join(lines("", reflect.ValueOf(value)), ""))
	}
	for engine, text := range texts {
		path := filepath.Join("testdata", engine+".txt")
		if *update {
			if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", engine, diff)
		}
	}
}

// lines returns a line for each field in v that is set.
func lines(path string, v reflect.Value) (all []string) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if !v.IsValid() || v.IsZero() {
		return nil
	}
	one := func(format string, args ...any) []string {
		return []string{"  " + strings.TrimPrefix(path+": ", ": ") + fmt.Sprintf(format, args...) + "\n"}
	}
	switch x := v.Interface().(type) {
	case net.HardwareAddr, encoding.TextMarshaler:
		return one("%v", x)
	case cnm.Port:
		return one("%d/%s", x.Number, x.Protocol)
	case cnm.PortBinding:
		return one("%d/%s from %s:%d to %d", x.Number, x.Protocol, textOf(x.HostIP), x.HostPort, x.HostPortEnd)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			all = append(all, lines(strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), v.Field(i))...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, lines(fmt.Sprintf("%s[%d]", path, i), v.Index(i))...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			all = append(all, fmt.Sprintf("  %s[%v]: %v\n", path, key, v.MapIndex(key)))
		}
		slices.Sort(all)
	case reflect.String:
		return one("%q", v)
	default:
		return one("%v", v)
	}
	return all
}

// TestClientSpeaksAsEngines has the Client say again what was heard: it must be what
// the engine said.
func TestClientSpeaksAsEngines(t *testing.T) {
	var method string
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/Plugin.Activate" {
			io.WriteString(w, `{"Implements":["NetworkDriver","IpamDriver"]}`)
			return
		}
		method = strings.TrimPrefix(r.URL.Path, "/")
		body, _ = io.ReadAll(r.Body)
		io.WriteString(w, `{"PoolID":"p","Pool":"10.0.0.0/8","Address":"10.0.0.1/8"}`)
	}))
	defer server.Close()
	client, err := newClient("again", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recordings(t) {
		t.Run(r.engine+"/"+r.name, func(t *testing.T) {
			verb, value := r.heard(t)
			if err := tell(t.Context(), client, verb, value); err != nil {
				t.Fatal(err)
			}
			if method != r.method {
				t.Errorf("said %s, want %s", method, r.method)
			}
			if diff := cmp.Diff(normal(t, r.body), normal(t, body)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// tell asks c for the verb.
func tell(ctx context.Context, c *Client, verb string, asked any) (err error) {
	r, _ := asked.(ref)
	network, _ := r.Network.(cnm.NetworkID)
	endpoint, _ := r.Endpoint.(cnm.EndpointID)
	switch verb {
	case "CreateNetwork":
		err = c.CreateNetwork(ctx, asked.(*cnm.Network))
	case "DeleteNetwork":
		err = c.DeleteNetwork(ctx, asked.(cnm.NetworkID))
	case "CreateEndpoint":
		_, err = c.CreateEndpoint(ctx, asked.(*cnm.Endpoint))
	case "DeleteEndpoint":
		err = c.DeleteEndpoint(ctx, network, endpoint)
	case "Join":
		_, err = c.Join(ctx, asked.(*cnm.Join))
	case "Leave":
		err = c.Leave(ctx, network, endpoint)
	case "EndpointInfo":
		_, err = c.EndpointInfo(ctx, network, endpoint)
	case "Program":
		err = c.Program(ctx, asked.(*cnm.Join))
	case "Revoke":
		err = c.Revoke(ctx, network, endpoint)
	case "RequestPool":
		_, err = c.RequestPool(ctx, asked.(*cnm.PoolRequest))
	case "ReleasePool":
		err = c.ReleasePool(ctx, asked.(cnm.PoolID))
	case "RequestAddress":
		_, err = c.RequestAddress(ctx, asked.(*cnm.AddressRequest))
	case "ReleaseAddress":
		err = c.ReleaseAddress(ctx, r.Network.(cnm.PoolID), r.Endpoint.(netip.Addr))
	default:
		err = fmt.Errorf("no verb %s", verb)
	}
	return err
}

// normal returns the JSON without what is empty, the key that engines before 28 do not
// have, the MAC in the options, which is the interface's, and what engines say to their
// own bridge.
func normal(t *testing.T, body []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return filled(v)
}

func filled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		rest := map[string]any{}
		for key, value := range v {
			if value = filled(value); value == nil || key == keyIPv4 && value == true || key == keyMAC && !isMAC(value) {
				continue
			}
			if !strings.HasPrefix(key, "com.docker.network.driver.private.") {
				rest[key] = value
			}
		}
		if len(rest) > 0 {
			return rest
		}
		return nil
	case []any:
		for i := range v {
			v[i] = filled(v[i])
		}
		if len(v) == 0 {
			return nil
		}
		return v
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}

// isMAC reports whether an address is in the form that IPAM drivers are given.
func isMAC(v any) bool {
	text, _ := v.(string)
	return strings.Contains(text, ":")
}
