package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/engine"
	"github.com/seamnet/seam/netns/netnstest"
)

func TestEngine20(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) { ask(start(t, "/usr/sbin/dockerd", "/usr/bin/docker")) })
}

func TestEngine28(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		ask(start(t, built(t, "dockerd-28.5.2"), built(t, "docker-28.5.2"), "--feature", "containerd-snapshotter=false"))
	})
}

func TestEngine29(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		ask(start(t, built(t, "dockerd-29"), built(t, "docker-28.5.2"),
			"--feature", "containerd-snapshotter=false", "--feature", "time-namespaces=false"))
	})
}

// built returns where "make engines" puts a program.
func built(t *testing.T, program string) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	return filepath.Join(cache, "seam", "engines", program)
}

func ask(d *dockerd) {
	d.Run("names and endpoints", func(t *testing.T) { askBridge(t, d) })
	d.Run("while the engine waits for a driver", func(t *testing.T) { askInJoin(t, d) })
}

// askBridge asks about networks of Docker's own driver.
func askBridge(t *testing.T, d *dockerd) {
	plain := cnm.NetworkID(d.docker("network", "create", "--label", "color=blue", "plain"))
	second := cnm.NetworkID(d.docker("network", "create", "second"))
	web := d.sleep("web.1", "--network", "plain", "--label", "app=shop")
	d.sleep("web11", "--network", "second") // what "." would match, too
	d.docker("network", "connect", "second", "web.1")
	d.docker("create", "--name", "idle", "--network", "plain", "bb:1", "true")

	n, err := d.Network(t.Context(), plain)
	if diff := cmp.Diff(&engine.Network{Name: "plain", Labels: map[string]string{"color": "blue"}}, n); diff != "" || err != nil {
		t.Errorf("network: error %v, (-want +got)\n%s", err, diff)
	}
	if _, err := d.Network(t.Context(), "0123456789"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, engine.ErrNoAnswer) {
		t.Errorf("a network that is not there: error %v, want fs.ErrNotExist", err)
	}

	all, err := d.Endpoints(t.Context(), "bridge")
	if err != nil || len(all) != 2 || len(all[plain]) != 1 || len(all[second]) != 2 {
		t.Fatalf("error %v, endpoints %v; want one of plain, two of second", err, all)
	}
	want := &engine.Container{
		ID: web, Name: "web.1", Labels: map[string]string{"app": "shop"}, Networks: map[cnm.NetworkID]string{plain: "plain", second: "second"}, Wanted: 2, Running: true,
	}
	inPlain := slices.Collect(maps.Keys(all[plain]))[0]
	if name := all[plain][inPlain]; name != "web.1" {
		t.Errorf("endpoint of plain is %s's, want web.1's", name)
	}
	got, err := d.Container(t.Context(), plain, inPlain)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("container: error %v, (-want +got)\n%s", err, diff)
	}
	if c, err := d.Container(t.Context(), second, inPlain); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an endpoint of another network: %v, error %v; want fs.ErrNotExist", c, err)
	}

	address := netip.MustParseAddr(d.docker("inspect", "--format", "{{.NetworkSettings.Networks.plain.IPAddress}}", "web.1"))
	subnet := d.docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", "plain")
	has, err := d.Addresses(t.Context(), "default")
	if err != nil || !has.InUse[address] || !has.InUse[netip.MustParsePrefix(subnet).Addr().Next()] || !slices.Contains(has.Subnets, netip.MustParsePrefix(subnet)) {
		t.Errorf("addresses: %+v, error %v; want %s, %s and its gateway", has, err, address, subnet)
	}
	if has, err := d.Addresses(t.Context(), "another"); err != nil || len(has.InUse)+len(has.Subnets) > 0 {
		t.Errorf("addresses of another IPAM driver: %+v, error %v", has, err)
	}

	d.docker("rm", "--force", "web.1", "web11", "idle")
	if has, err := d.Addresses(t.Context(), "default"); err != nil || has.InUse[address] {
		t.Errorf("addresses left: %+v, error %v", has, err)
	}
	all, err = d.Endpoints(t.Context(), "bridge")
	if diff := cmp.Diff(map[cnm.NetworkID]map[cnm.EndpointID]string{plain: {}, second: {}}, all); diff != "" || err != nil {
		t.Errorf("endpoints left: error %v, (-want +got)\n%s", err, diff)
	}
}

// driver is a remote driver that asks the engine back.
type driver struct {
	client *engine.Client

	mu        sync.Mutex
	container *engine.Container
	endpoints map[cnm.NetworkID]map[cnm.EndpointID]string
	asked     struct{ NetworkID, EndpointID string }
	err       error
}

func (f *driver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := "{}"
	switch r.URL.Path {
	case "/Plugin.Activate":
		answer = `{"Implements":["NetworkDriver"]}`
	case "/NetworkDriver.GetCapabilities":
		answer = `{"Scope":"local"}`
	case "/NetworkDriver.CreateEndpoint":
		answer = `{"Interface":{}}`
	case "/NetworkDriver.Join":
		f.join(r)
		answer = `{"DisableGatewayService":true}`
	case "/NetworkDriver.EndpointOperInfo":
		answer = `{"Value":{}}`
	}
	_, _ = w.Write([]byte(answer)) // the engine is still there
}

func (f *driver) join(r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err = json.NewDecoder(r.Body).Decode(&f.asked); f.err != nil {
		return
	}
	f.container, f.err = f.client.Container(r.Context(), cnm.NetworkID(f.asked.NetworkID), cnm.EndpointID(f.asked.EndpointID))
	if f.err == nil {
		f.endpoints, f.err = f.client.Endpoints(r.Context(), "asks")
	}
}

func askInJoin(t *testing.T, d *dockerd) {
	socket := "/run/docker/plugins/asks.sock"
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	f := &driver{client: d.Client}
	server := &http.Server{Handler: f}
	go func() { _ = server.Serve(l) }() // until Close
	t.Cleanup(func() { _ = server.Close() })

	network := d.docker("network", "create", "--driver", "asks", "asking")
	id := d.sleep("curious", "--network", "asking", "--label", "app=shop")
	d.docker("rm", "--force", "curious")
	d.docker("network", "rm", "asking")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		t.Fatal(f.err)
	}
	if f.container.ID != id || f.container.Name != "curious" || f.container.Labels["app"] != "shop" {
		t.Errorf("container %+v, want %s, curious, of the shop", f.container, id)
	}
	want := map[cnm.NetworkID]map[cnm.EndpointID]string{cnm.NetworkID(network): {cnm.EndpointID(f.asked.EndpointID): "curious"}}
	if diff := cmp.Diff(want, f.endpoints); diff != "" {
		t.Errorf("endpoints (-want +got)\n%s", diff)
	}
}

// Whatever goes wrong is no answer, and comes in time.
func TestNoAnswer(t *testing.T) {
	pings := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/_ping" {
				w.Header().Set("Api-Version", "1.41")
				return
			}
			then(w, r)
		}
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc // nil: nobody listens
	}{
		{"nobody", nil},
		{"says nothing", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"another service", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }},
		{"says nothing more", pings(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
		{"half an answer", pings(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`[{"Id":`))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})},
		{"cannot", pings(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })},
		{"no JSON", pings(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := client(t, tt.answer)
			c.Timeout = 100 * time.Millisecond
			begun := time.Now()
			_, listed := c.Endpoints(t.Context(), "seam")
			_, asked := c.Container(t.Context(), "n", "e")
			for _, err := range []error{listed, asked} {
				if !errors.Is(err, engine.ErrNoAnswer) {
					t.Errorf("error %v, want engine.ErrNoAnswer", err)
				}
			}
			if d := time.Since(begun); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := c.Network(ctx, "n"); !errors.Is(err, engine.ErrNoAnswer) {
				t.Errorf("canceled: error %v, want engine.ErrNoAnswer", err)
			}
		})
	}
}

// client returns one of a server on a socket of the test's.
func client(t *testing.T, answer http.HandlerFunc) *engine.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "d.sock")
	c, err := engine.New("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if answer == nil {
		return c
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: answer}
	go func() { _ = server.Serve(l) }() // until Close
	t.Cleanup(func() { _ = server.Close() })
	return c
}

// A network that goes while all are listed is passed over, and filters that an engine
// does not know are no reason to believe what it lists.
func TestEndpointsMeanwhile(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		switch r.URL.Path {
		case "/v1.41/networks":
			_, _ = w.Write([]byte(`[{"Id":"gone","Driver":"seam"},{"Id":"other","Driver":"seam2"},{"Id":"n","Driver":"seam"}]`))
		case "/v1.41/networks/n":
			_, _ = w.Write([]byte(`{"Id":"n","Driver":"seam","Containers":{"ep-e":{"EndpointID":"e","Name":"web"}}}`))
		case "/_ping":
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	all, err := c.Endpoints(t.Context(), "seam")
	if diff := cmp.Diff(map[cnm.NetworkID]map[cnm.EndpointID]string{"n": {"e": "web"}}, all); diff != "" || err != nil {
		t.Errorf("error %v, endpoints (-want +got)\n%s", err, diff)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, host := range []string{"", "/var/run/docker.sock", "unix://docker.sock", "ssh://host", "tcp://host"} {
		if _, err := engine.New(host); err == nil {
			t.Errorf("%q taken for an engine's address", host)
		}
	}
	for _, host := range []string{engine.DefaultHost, "tcp://127.0.0.1:2375", "tcp://[::1]:2375"} {
		if _, err := engine.New(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}
