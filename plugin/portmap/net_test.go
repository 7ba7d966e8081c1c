package portmap_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"golang.org/x/sys/unix"
)

// A world is a host with a bridge, a neighbour on another network, and pods.
//
//	outside 192.0.2.9 ── 192.0.2.1 host 10.1.0.1 ── cni0 ── pods 10.1.0.x
//	     2001:db8::9  ── 2001:db8::1   fd00:1::1              fd00:1::x
type world struct {
	t       *testing.T
	outside *netnstest.Pod
}

func newWorld(t *testing.T) *world {
	t.Helper()
	noDAD(t, nil)
	w := &world{t, netnstest.NewPod(t, "outside")}
	noDAD(t, w.outside)
	ip(t, nil, "link add up0 type veth peer name eth0 netns outside")
	ip(t, nil, "link add cni0 type bridge")
	for link, addrs := range map[string][]string{"up0": {"192.0.2.1/24", "2001:db8::1/64"}, "cni0": {"10.1.0.1/24", "fd00:1::1/64"}} {
		ip(t, nil, "link set %s up", link)
		for _, a := range addrs {
			addAddr(t, nil, a, link)
		}
	}
	ip(t, w.outside, "link set eth0 up")
	addAddr(t, w.outside, "192.0.2.9/24", "eth0")
	addAddr(t, w.outside, "2001:db8::9/64", "eth0")
	for _, s := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		must(t, os.WriteFile("/proc/sys/net/"+s, []byte("1"), 0))
	}
	return w
}

// pod makes a pod with the n-th addresses, and the result of the plugin that would
// have made it.
func (w *world) pod(name string, n int) (*netnstest.Pod, *cni.Result) {
	w.t.Helper()
	pod := netnstest.NewPod(w.t, name)
	noDAD(w.t, pod)
	ip(w.t, nil, "link add v%s type veth peer name eth0 netns %s", name, name)
	ip(w.t, nil, "link set v%s master cni0 up", name)
	ip(w.t, pod, "link set eth0 up")
	addrs := []string{fmt.Sprintf("10.1.0.%d/24", n), fmt.Sprintf("fd00:1::%d/64", n)}
	result := &cni.Result{Interfaces: []cni.Interface{{Name: "cni0"}, {Name: "v" + name}, {Name: "eth0", Sandbox: pod.Path}}}
	two := 2
	for _, a := range addrs {
		addAddr(w.t, pod, a, "eth0")
		result.IPs = append(result.IPs, cni.IP{Address: netip.MustParsePrefix(a), Interface: &two})
	}
	ip(w.t, pod, "route add default via 10.1.0.1")
	ip(w.t, pod, "-6 route add default via fd00:1::1")
	return pod, result
}

// noDAD makes link-local addresses usable at once. Without one, a host that forwards
// cannot ask for a neighbour.
func noDAD(t *testing.T, pod *netnstest.Pod) {
	t.Helper()
	must(t, in(pod, func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0) }))
}

func ip(t *testing.T, pod *netnstest.Pod, format string, args ...any) {
	t.Helper()
	plugintest.Run(t, pod, "ip", strings.Fields(fmt.Sprintf(format, args...))...)
}

// addAddr adds an address that can be used at once.
func addAddr(t *testing.T, pod *netnstest.Pod, addr, link string) {
	t.Helper()
	nodad := ""
	if strings.Contains(addr, ":") {
		nodad = "nodad"
	}
	ip(t, pod, "addr add %s dev %s %s", addr, link, nodad)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func in(pod *netnstest.Pod, f func() error) error {
	if pod == nil {
		return f()
	}
	return pod.NS.Do(f)
}

// serve answers whoever connects to the port of all addresses in the pod (nil: the
// host) with the name and the address that the server sees.
func serve(t *testing.T, pod *netnstest.Pod, network, port, name string) {
	t.Helper()
	must(t, in(pod, func() error {
		switch network {
		case "udp":
			conn, err := net.ListenPacket("udp", ":"+port)
			if err == nil {
				t.Cleanup(func() { conn.Close() })
				go serveUDP(conn, name)
			}
			return err
		case "sctp":
			return serveSCTP(t, port, name)
		}
		l, err := net.Listen("tcp", ":"+port)
		if err == nil {
			t.Cleanup(func() { l.Close() })
			go serveTCP(l, name)
		}
		return err
	}))
}

func reply(name string, from net.Addr) string {
	peer := netip.MustParseAddrPort(from.String())
	return name + " " + peer.Addr().Unmap().String()
}

func serveTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, reply(name, c.RemoteAddr()))
		c.Close()
	}
}

func serveUDP(conn net.PacketConn, name string) {
	b := make([]byte, 64)
	for {
		_, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		conn.WriteTo([]byte(reply(name, from)), from)
	}
}

// serveSCTP accepts one-to-one associations by bare sockets: the Go library has none.
func serveSCTP(t *testing.T, port, name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return err
	}
	t.Cleanup(func() { unix.Close(fd) })
	var n int
	fmt.Sscan(port, &n)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: n}), unix.Listen(fd, 8)); err != nil {
		return err
	}
	go func() {
		for {
			c, from, err := unix.Accept(fd)
			if err != nil {
				return
			}
			peer := netip.AddrFrom4(from.(*unix.SockaddrInet4).Addr)
			unix.Write(c, []byte(name+" "+peer.String()))
			unix.Close(c)
		}
	}()
	return nil
}

// ask connects from the pod (nil: the host) and returns what the server says.
func ask(pod *netnstest.Pod, network, addr string) (answer string, err error) {
	const patience = 700 * time.Millisecond
	err = in(pod, func() error {
		if network == "sctp" {
			answer, err = askSCTP(netip.MustParseAddrPort(addr), patience)
			return err
		}
		d := net.Dialer{Timeout: patience}
		c, err := d.DialContext(context.Background(), network, addr)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if network == "udp" {
			io.WriteString(c, "?")
		}
		b := make([]byte, 64)
		n, err := c.Read(b)
		answer = string(b[:n])
		return err
	})
	return answer, err
}

func askSCTP(to netip.AddrPort, patience time.Duration) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(int64(patience))
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return "", err
	}
	b := make([]byte, 64)
	n, err := unix.Read(fd, b)
	if n < 0 {
		n = 0
	}
	return string(b[:n]), err
}

// expect fails the test if the answer is another; want "" is for no answer at all.
func expect(t *testing.T, pod *netnstest.Pod, network, addr, want string) {
	t.Helper()
	got, err := ask(pod, network, addr)
	for range 3 { // a first packet may be lost while neighbours are being found
		if want != "" && err != nil {
			got, err = ask(pod, network, addr)
		}
	}
	switch {
	case want == "" && err == nil && got != "":
		t.Errorf("%s %s: %q answered, want nobody", network, addr, got)
	case want != "" && (err != nil || got != want):
		t.Errorf("%s %s: answer %q (%v), want %q", network, addr, got, err, want)
	}
}
