package drivers

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/seamnet/seam/cnm/wire"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin/plugintest"
)

// The driver of plugintest, made one that misbehaves in a way, is a process of its own: the
// test binary, that runs TestDriver alone.
var (
	driverFault  = flag.String("driver-fault", "", "misbehave in this `way`")
	driverSocket = flag.String("driver-socket", "", "be a driver at this `path`")
)

// broken returns the target that misbehaves in that way; "none": in none.
func broken(t *testing.T, fault string) Target {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Target{Command: []string{"env", "TMPDIR={dir}", exe, "-test.run=^TestDriver$", "-driver-fault=" + fault, "-driver-socket={socket}"}}
}

// TestDriver is a driver until it is killed.
func TestDriver(t *testing.T) {
	if *driverSocket == "" {
		t.Skip("is for other tests of this package")
	}
	d := plugintest.NewDriver(t, "trial")
	server := &wire.Server{Name: "trial", Driver: d, IPAM: d}
	fault, ok := faults()[*driverFault]
	if !ok {
		t.Fatalf("no fault %q", *driverFault)
	}
	handler := fault(server, d)
	l, err := wire.Listen(*driverSocket)
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal(http.Serve(l, handler))
}

// A fault makes a driver one that misbehaves.
type fault func(http.Handler, *plugintest.Driver) http.Handler

// rewrite is a fault of the answers to a method; empty: to all.
func rewrite(method string, change func(status int, body map[string]any) (int, map[string]any)) fault {
	return func(h http.Handler, _ *plugintest.Driver) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorded := httptest.NewRecorder()
			h.ServeHTTP(recorded, r)
			var body map[string]any
			_ = json.Unmarshal(recorded.Body.Bytes(), &body)
			status := recorded.Code
			if method == "" || strings.HasSuffix(r.URL.Path, "."+method) {
				status, body = change(status, body)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body)
		})
	}
}

// answers is rewrite of a success, in place.
func answers(method string, change func(body map[string]any)) fault {
	return rewrite(method, func(status int, body map[string]any) (int, map[string]any) {
		if body != nil && body["Err"] == nil && status == http.StatusOK {
			change(body)
		}
		return status, body
	})
}

// before is a fault that comes before the method is carried out; it answers itself if it
// returns true.
func before(method string, do func(w http.ResponseWriter, r *http.Request, d *plugintest.Driver) bool) fault {
	return func(h http.Handler, d *plugintest.Driver) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if (method == "" || strings.HasSuffix(r.URL.Path, "."+method)) && do(w, r, d) {
				return
			}
			h.ServeHTTP(w, r)
		})
	}
}

// peek returns the body, which can be read again.
func peek(r *http.Request) []byte {
	var b bytes.Buffer
	_, _ = b.ReadFrom(r.Body)
	r.Body = http.NoBody
	if b.Len() > 0 {
		r.Body = readAgain{bytes.NewReader(b.Bytes())}
	}
	return b.Bytes()
}

type readAgain struct{ *bytes.Reader }

func (readAgain) Close() error { return nil }

func done(w http.ResponseWriter) bool {
	fmt.Fprintln(w, "{}")
	return true
}

// endpointOf returns the ends of an endpoint's veth, as plugintest names them.
func endpointOf(r *http.Request) (outer, inner string) {
	var ref struct{ EndpointID string }
	_ = json.Unmarshal(peek(r), &ref)
	if len(ref.EndpointID) < 8 {
		return "", ""
	}
	return "do" + ref.EndpointID[:8], "di" + ref.EndpointID[:8]
}

func onHost(do func(h *link.Handle) error) {
	h, err := link.Open()
	if err == nil {
		err = do(h)
		_ = h.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// faults are those of words, of the network and of addresses.
func faults() map[string]fault {
	all := map[string]fault{"none": func(h http.Handler, _ *plugintest.Driver) http.Handler { return h }}
	for _, some := range []map[string]fault{wordFaults(), bodyFaults(), networkFaults(), addressFaults()} {
		for name, f := range some {
			all[name] = f
		}
	}
	return all
}
