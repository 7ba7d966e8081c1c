package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cnm"
)

// foreign serves, as the driver "fake", what no Server would say.
func foreign(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	dirs := Dirs{Sockets: t.TempDir()}
	l, err := Listen(filepath.Join(dirs.Sockets, "fake.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return find(t, dirs)
}

// activated answers the activation, and leaves the rest to h.
func activated(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/Plugin.Activate" {
			io.WriteString(w, `{"Implements":["NetworkDriver","IpamDriver"]}`)
			return
		}
		h(w, r)
	}
}

// TestErrors is of the forms in which drivers refuse.
func TestErrors(t *testing.T) {
	var status int
	var body string
	client := foreign(t, activated(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/Plugin.Activate")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	for _, test := range []struct {
		name     string
		status   int
		body     string
		want     string
		noMethod bool
	}{
		{"network driver's", 200, `{"Err":"full"}`, "driver fake: NetworkDriver.DeleteNetwork: full", false},
		{"IPAM driver's", 200, `{"Error":"full"}`, "driver fake: NetworkDriver.DeleteNetwork: full", false},
		{"both", 200, `{"Err":"one","Error":"two"}`, "driver fake: NetworkDriver.DeleteNetwork: one", false},
		{"with a status", 500, `{"Err":"full"}`, "driver fake: NetworkDriver.DeleteNetwork: full", false},
		{"plain text", 500, "full\n\x1b[31m", "driver fake: NetworkDriver.DeleteNetwork: full\n[31m", false},
		{"nothing", 502, "", "driver fake: NetworkDriver.DeleteNetwork: status Bad Gateway", false},
		{"success that is none", 204, "", "driver fake: NetworkDriver.DeleteNetwork: status No Content", false},
		{"redirect", 302, "", "driver fake: NetworkDriver.DeleteNetwork: status Found", false},
		{"no method", 404, "404 page not found\n", "driver fake: NetworkDriver.DeleteNetwork: 404 page not found: driver has no such method", true},
		{"no JSON", 200, "<html>", "driver fake: NetworkDriver.DeleteNetwork: answer: invalid character '<'", false},
		{"no answer", 200, "", "driver fake: NetworkDriver.DeleteNetwork: answer: unexpected end", false},
		{"error of another type", 200, `{"Err":5}`, "driver fake: NetworkDriver.DeleteNetwork: answer: json: cannot", false},
		{"too much", 200, `{"x":"` + strings.Repeat("y", bodyLimit) + `"}`, "driver fake: NetworkDriver.DeleteNetwork: answer is longer than", false},
		{"success", 200, "{}", "", false},
		{"null", 200, "null", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body = test.status, test.body
			err := client.DeleteNetwork(t.Context(), "n")
			if got := fmt.Sprint(err); !strings.HasPrefix(got, test.want) || (err == nil) != (test.want == "") {
				t.Errorf("%s, want %s", got, test.want)
			}
			if errors.Is(err, ErrNoMethod) != test.noMethod {
				t.Errorf("%v is ErrNoMethod, want %v", err, test.noMethod)
			}
			if errors.Is(err, ErrNoDriver) {
				t.Errorf("%v is ErrNoDriver", err)
			}
		})
	}
}

// TestWrongAnswers: JSON that says nothing sensible.
func TestWrongAnswers(t *testing.T) {
	var body string
	client := foreign(t, activated(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }))
	for _, test := range []struct {
		verb  string
		asked any
		body  string
		want  string
	}{
		{"Capabilities", nil, `{}`, "neither local nor global"},
		{"Capabilities", nil, `{"Scope":"Local"}`, "neither local nor global"},
		{"Capabilities", nil, `{"Scope":"local","ConnectivityScope":"x"}`, "neither local nor global"},
		{"CreateEndpoint", &cnm.Endpoint{}, `{"Interface":{"Address":"10.0.0.1"}}`, "answer: Address:"},
		{"CreateEndpoint", &cnm.Endpoint{}, `{"Interface":{"MacAddress":"x"}}`, "answer: MacAddress:"},
		{"Join", &cnm.Join{}, `{"Gateway":"10.0.0.1/24"}`, "answer: Gateway:"},
		{"Join", &cnm.Join{}, `{"StaticRoutes":[{"Destination":""}]}`, "answer: route: destination:"},
		{"Join", &cnm.Join{}, `{"StaticRoutes":[{"Destination":"10.0.0.0/8","NextHop":"x"}]}`, "answer: route: NextHop:"},
		{"RequestPool", &cnm.PoolRequest{}, `{"PoolID":"p"}`, "answer: pool:"},
		{"RequestPool", &cnm.PoolRequest{}, `{"Pool":"10.0.0.0/8"}`, "answer: PoolID: is missing"},
		{"RequestPool", &cnm.PoolRequest{}, `{"PoolID":"p","Pool":"10.0.0.0/8","Data":{"com.docker.network.gateway":"x"}}`, "gateway:"},
		{"RequestAddress", &cnm.AddressRequest{}, `{}`, "answer: address is missing"},
		{"RequestAddress", &cnm.AddressRequest{}, `{"Address":"10.0.0.1"}`, "answer: Address:"},
	} {
		body = test.body
		if _, err := returned(t.Context(), client, test.verb, test.asked); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: %v, want %q", test.verb, test.body, err, test.want)
		}
	}
}

// TestOthersAnswers is of what drivers say that a Server would not.
func TestOthersAnswers(t *testing.T) {
	var body string
	client := foreign(t, activated(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }))
	for _, test := range []struct {
		name, verb string
		asked      any
		body       string
		value      any
	}{
		{"next hop of a connected route", "Join", &cnm.Join{}, `{"StaticRoutes":[{"Destination":"10.0.0.0/8","RouteType":1,"NextHop":"10.0.0.1"}]}`,
			&cnm.Joined{Routes: []cnm.Route{{Dst: netip.MustParsePrefix("10.0.0.0/8")}}}},
		{"link without a name", "Join", &cnm.Join{}, `{"InterfaceName":{"SrcName":"","DstPrefix":""}}`, &cnm.Joined{}},
		{"interface that is empty", "CreateEndpoint", &cnm.Endpoint{}, `{"Interface":{}}`, (*cnm.Interface)(nil)},
		{"fields of later engines", "CreateEndpoint", &cnm.Endpoint{}, `{"Interface":null,"More":[1]}`, (*cnm.Interface)(nil)},
		{"no value", "EndpointInfo", ref{cnm.NetworkID("n"), cnm.EndpointID("e")}, `{}`, map[string]any(nil)},
		{"no data", "RequestPool", &cnm.PoolRequest{}, `{"PoolID":"p","Pool":"10.0.0.0/8","Data":null}`, &cnm.Pool{ID: "p", Subnet: netip.MustParsePrefix("10.0.0.0/8")}},
	} {
		body = test.body
		got, err := returned(t.Context(), client, test.verb, test.asked)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if diff := cmp.Diff(test.value, got, byValue()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestEndlessAnswer: an answer that comes fast is not read whole before it is refused.
func TestEndlessAnswer(t *testing.T) {
	client := foreign(t, activated(func(w http.ResponseWriter, _ *http.Request) {
		for block := make([]byte, 1<<16); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	if err := client.DeleteNetwork(t.Context(), "n"); err == nil || !strings.Contains(err.Error(), "answer is longer than") {
		t.Error(err)
	}
}

// TestProgramHasNoSandbox: engines name it to Join alone.
func TestProgramHasNoSandbox(t *testing.T) {
	var body []byte
	client := foreign(t, activated(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		io.WriteString(w, "{}")
	}))
	if err := client.Program(t.Context(), &cnm.Join{Network: "n", Endpoint: "e", Sandbox: "/run/netns/x"}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), "andbox") {
		t.Errorf("%s", body)
	}
}

// TestOptionalMethods are passed over as engines do.
func TestOptionalMethods(t *testing.T) {
	client := foreign(t, activated(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/IpamDriver.GetDefaultAddressSpaces" {
			io.WriteString(w, `{"LocalDefaultAddressSpace":"L"}`)
			return
		}
		http.NotFound(w, r)
	}))
	if err := client.Program(t.Context(), &cnm.Join{}); err != nil {
		t.Error(err)
	}
	if err := client.Revoke(t.Context(), "n", "e"); err != nil {
		t.Error(err)
	}
	if got, err := client.IPAMCapabilities(t.Context()); err != nil || got != (cnm.IPAMCapabilities{LocalSpace: "L"}) {
		t.Errorf("%v %v", got, err)
	}
	if err := client.Leave(t.Context(), "n", "e"); !errors.Is(err, ErrNoMethod) {
		t.Errorf("%v, want %v", err, ErrNoMethod)
	}
}

// TestActivation: once, before anything else, by however many; and again if it failed.
func TestActivation(t *testing.T) {
	var activations, calls atomic.Int32
	client := foreign(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/Plugin.Activate":
			calls.Add(1)
			io.WriteString(w, "{}")
		case activations.Add(1) == 1:
			http.Error(w, "still starting", http.StatusServiceUnavailable)
		default:
			io.WriteString(w, `{"Implements":["NetworkDriver"]}`)
		}
	})
	err := client.DeleteNetwork(t.Context(), "n")
	if fmt.Sprint(err) != "driver fake: Plugin.Activate: still starting" || calls.Load() != 0 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := client.DeleteNetwork(t.Context(), "n"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if activations.Load() != 2 || calls.Load() != 20 {
		t.Errorf("%d activations and %d calls, want 2 and 20", activations.Load(), calls.Load())
	}
	err = client.ReleasePool(t.Context(), "p")
	if !errors.Is(err, ErrNoDriver) || !strings.Contains(err.Error(), `implements ["NetworkDriver"]`) {
		t.Errorf("a verb of another kind: %v", err)
	}
}

// TestNoDriver: nobody listens, or nobody is there any more.
func TestNoDriver(t *testing.T) {
	dir := t.TempDir()
	stale(t, filepath.Join(dir, "fake.sock"))
	write(t, filepath.Join(dir, "gone.spec"), "unix://"+filepath.Join(dir, "nothing.sock"))
	write(t, filepath.Join(dir, "refusing.spec"), "tcp://127.0.0.1:1")
	for _, name := range []string{"fake", "gone", "refusing"} {
		client, err := Find(name, Dirs{Sockets: dir, Specs: []string{dir}})
		if err != nil {
			t.Fatal(err)
		}
		err = client.DeleteNetwork(t.Context(), "n")
		if !errors.Is(err, ErrNoDriver) || !strings.Contains(err.Error(), "is the driver running?") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBoundedTime is of drivers that accept and do not answer, or do not end their answer.
func TestBoundedTime(t *testing.T) {
	dir := t.TempDir()
	mute, err := Listen(filepath.Join(dir, "mute.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	endless := foreign(t, activated(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		for r.Context().Err() == nil {
			io.WriteString(w, " ")
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}))
	silent, err := Find("mute", Dirs{Sockets: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]*Client{"never answers": silent, "never ends": endless} {
		client.Timeout = 200 * time.Millisecond
		start := time.Now()
		err := client.DeleteNetwork(t.Context(), "n")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want %v", name, err, context.DeadlineExceeded)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	// Who waits for another's activation waits no longer than it wanted.
	silent.Timeout = 2 * time.Second
	first := make(chan error, 1)
	go func() { first <- silent.DeleteNetwork(t.Context(), "n") }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	for range 3 {
		time.Sleep(20 * time.Millisecond) // for the first to begin
		if err := silent.DeleteNetwork(ctx, "n"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("beside another: took %v", took)
	}
	if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestDroppedConnection: a driver that dies in the middle is an error, and not asked again.
func TestDroppedConnection(t *testing.T) {
	var calls atomic.Int32
	client := foreign(t, activated(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		c.Close()
	}))
	err := client.CreateNetwork(t.Context(), &cnm.Network{ID: "n"})
	if !errors.Is(err, io.EOF) || errors.Is(err, ErrNoDriver) {
		t.Errorf("%v, want %v", err, io.EOF)
	}
	if calls.Load() != 1 {
		t.Errorf("asked %d times, want 1", calls.Load())
	}
}

// TestDriverStartsAgain: the client finds the one that came after.
func TestDriverStartsAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fake.sock")
	var client *Client
	for range 3 {
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		served := make(chan error, 1)
		s := &Server{Driver: hearing(func(context.Context, string, any) (any, error) { return nil, nil })}
		go func() { served <- s.Serve(ctx, l) }()
		if client == nil {
			client = find(t, Dirs{Sockets: filepath.Dir(path)})
		}
		if err := client.DeleteNetwork(t.Context(), "n"); err != nil {
			t.Error(err)
		}
		end()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}
