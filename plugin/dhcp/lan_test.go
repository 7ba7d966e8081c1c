package dhcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/dhcp"
	"github.com/seamnet/seam/plugin/plugintest"
)

const records = "/run/cni/dhcp.leases"

// A lan is a bridge with a real DHCP server behind it, and the plugins that attach to
// it.
type lan struct {
	t       *testing.T
	host    *plugin.Host
	bridge  cni.Plugin
	plugins cni.Registry
	server  *netnstest.Pod
	leases  string // the server's file
	log     *safeBuffer
	stop    func() // the server
}

func newLAN(t *testing.T, serverArgs ...string) *lan {
	t.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Skip("needs dnsmasq (Debian's dnsmasq-base)")
	}
	h := plugintest.Host(t)
	l := &lan{t: t, host: h, bridge: bridge.New(h), plugins: cni.Registry{"dhcp": dhcp.New()},
		server: netnstest.NewPod(t, "dhcpd"), leases: filepath.Join(t.TempDir(), "leases")}
	for _, args := range []string{
		"link add lan0 type bridge", "link set lan0 up",
		"link add srv0 type veth peer name eth0 netns dhcpd", "link set srv0 master lan0 up",
		"-n dhcpd addr add 10.9.0.1/24 dev eth0", "-n dhcpd link set eth0 up",
	} {
		plugintest.Run(t, nil, "ip", strings.Fields(args)...)
	}
	l.serve("10.9.0.10,10.9.0.99", serverArgs...)
	t.Cleanup(func() { l.stop() })
	return l
}

// serve starts the server with that range of addresses.
func (l *lan) serve(addresses string, args ...string) {
	l.t.Helper()
	l.log = new(safeBuffer)
	cmd := exec.Command("dnsmasq", append([]string{"--no-daemon", "--conf-file=/dev/null", "--port=0", "--pid-file=", "--user=root",
		"--no-resolv", "--no-hosts", "--no-ping", "--log-dhcp", "--interface=eth0", "--bind-interfaces",
		"--dhcp-leasefile=" + l.leases, "--dhcp-range=" + addresses + ",255.255.255.0,2m"}, args...)...)
	cmd.Stderr = l.log
	if err := l.server.NS.Do(cmd.Start); err != nil {
		l.t.Fatal(err)
	}
	l.stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	l.logs("sockets bound")
}

// logs waits until the server's log has the text.
func (l *lan) logs(text string) {
	l.t.Helper()
	eventually(l.t, func() bool { return strings.Contains(l.log.String(), text) }, func() string {
		return "the server's log has no " + text + ":\n" + l.log.String()
	})
}

// leased returns the addresses that the server's file has for a client.
func (l *lan) leased(id string) (addrs []string) {
	data, err := os.ReadFile(l.leases)
	if err != nil {
		return nil
	}
	hex := "00"
	for _, b := range []byte(id) {
		hex += ":" + string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15])
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 5 && f[4] == hex {
			addrs = append(addrs, f[2])
		}
	}
	return addrs
}

func (l *lan) freed(id string) {
	l.t.Helper()
	eventually(l.t, func() bool { return len(l.leased(id)) == 0 }, func() string {
		return "the server still has " + strings.Join(l.leased(id), " ") + " for " + id + "\n" + l.log.String()
	})
}

// request is of the bridge plugin with DHCP; ipam is more of its "ipam".
func (l *lan) request(pod *netnstest.Pod, id, ipam string) *cni.Request {
	return plugintest.Request(l.t, `{"cniVersion": "1.1.0", "name": "lan", "type": "bridge", "bridge": "lan0",
		"ipam": {"type": "dhcp"`+ipam+`}}`, pod, id, l.plugins)
}

// add attaches, and sets the request's previous result for later.
func (l *lan) add(r *cni.Request) netip.Prefix {
	l.t.Helper()
	result, err := l.bridge.Add(l.t.Context(), r)
	if err != nil {
		l.t.Fatalf("ADD: %v\n%s", err, l.log)
	}
	r.Prev = result
	return result.IPs[0].Address
}

// alone returns the request as the IPAM plugin gets it.
func alone(r *cni.Request) *cni.Request {
	c := *r
	c.Config.Type = "dhcp"
	return &c
}

// daemon runs one in this process until stop is called or the test ends.
func daemon(t *testing.T) (stop func()) {
	t.Helper()
	socket, err := dhcp.Listen(dhcp.DefaultSocket)
	if err != nil {
		t.Fatal(err)
	}
	log := new(safeBuffer)
	d := &dhcp.Daemon{Timeout: 1500 * time.Millisecond, ResendMax: 2 * time.Second, ResendTimeout: 10 * time.Second,
		Log: slog.New(slog.NewTextHandler(log, nil))}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx, socket) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("daemon: %v", err)
		}
		if strings.Contains(log.String(), "<nil>") {
			t.Error("the daemon logs an error that there is not")
		}
		if t.Failed() {
			t.Logf("daemon:\n%s", log)
		}
	})
	t.Cleanup(stop)
	return stop
}

// record returns the only one that there is, and its path.
func record(t *testing.T) (map[string]any, string) {
	t.Helper()
	files, err := filepath.Glob(records + "/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("records %q, %v, want one", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var r map[string]any
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r, files[0]
}

func noRecords(t *testing.T) {
	t.Helper()
	var files []string
	eventually(t, func() bool {
		files, _ = filepath.Glob(records + "/*")
		return len(files) == 0
	}, func() string { return "records are left: " + strings.Join(files, " ") })
}

func eventually(t *testing.T, done func() bool, what func() string) {
	t.Helper()
	for end := time.Now().Add(8 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what())
		}
	}
}

// safeBuffer is written to while it is read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*safeBuffer)(nil)

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func wantError(t *testing.T, err error, code cni.Code, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) || cni.CodeOf(err) != code {
		t.Errorf("error %v (code %d), want code %d and %q", err, cni.CodeOf(err), code, text)
	}
}
