package docker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/netns/netnstest"
)

// binding is one of HOSTIP HOSTPORT[-END] PORT/PROTOCOL, "-" for no address.
func binding(t *testing.T, text string) (b cnm.PortBinding) {
	t.Helper()
	var addr, ports, port string
	if _, err := fmt.Sscan(text, &addr, &ports, &port); err != nil {
		t.Fatal(err)
	}
	if addr != "-" {
		b.HostIP = netip.MustParseAddr(addr)
	}
	if _, err := fmt.Sscanf(strings.ReplaceAll(port, "/", " "), "%d %s", &b.Number, &b.Protocol); err != nil {
		t.Fatal(err)
	}
	fmt.Sscanf(ports, "%d-%d", &b.HostPort, &b.HostPortEnd)
	return b
}

func TestMappings(t *testing.T) {
	tests := []struct {
		name     string
		bindings []string
		hostIP   string
		held     []string // HOSTIP:PORT/PROTOCOL
		want     []string // as held, >PORT
		err      string   // part of it
	}{
		{name: "none"},
		{name: "as it is", bindings: []string{"- 8080 80/tcp", "10.0.0.1 53 53/udp", "::1 84 84/sctp"},
			want: []string{":8080/tcp>80", "10.0.0.1:53/udp>53", "::1:84/sctp>84"}},
		{name: "families", bindings: []string{"0.0.0.0 8080 80/tcp", ":: 8080 80/tcp", "0.0.0.0 81 81/tcp", ":: 82 81/tcp", "- 83 83/tcp", "- 83 83/tcp"},
			want: []string{":8080/tcp>80", "0.0.0.0:81/tcp>81", ":::82/tcp>81", ":83/tcp>83"}},
		{name: "address inside and out", bindings: []string{"::ffff:10.0.0.1 80 80/tcp", "10.0.0.1 80 80/tcp"}, want: []string{"10.0.0.1:80/tcp>80"}},
		{name: "address of the network", hostIP: "127.0.0.1", bindings: []string{"- 80 80/tcp", "0.0.0.0 81 81/tcp"}, want: []string{"127.0.0.1:80/tcp>80", "0.0.0.0:81/tcp>81"}},
		{name: "no address of the network", hostIP: "0.0.0.0", bindings: []string{"- 80 80/tcp"}, want: []string{":80/tcp>80"}},
		{name: "range", bindings: []string{"- 8000-8003 80/tcp", "- 8000-8003 81/tcp", "- 8001 82/tcp"}, held: []string{":8000/tcp"},
			want: []string{":8001/tcp>82", ":8002/tcp>80", ":8003/tcp>81"}},
		{name: "protocols apart", bindings: []string{"- 80 80/tcp", "- 80 80/udp"}, want: []string{":80/tcp>80", ":80/udp>80"}},
		{name: "addresses apart", bindings: []string{"10.0.0.1 80 80/tcp", "10.0.0.2 80 81/tcp"}, held: []string{"10.0.0.3:80/tcp"}, want: []string{"10.0.0.1:80/tcp>80", "10.0.0.2:80/tcp>81"}},

		{name: "held", bindings: []string{"10.0.0.1 80 81/tcp"}, held: []string{":80/tcp"}, err: "publish port 81/tcp: port 10.0.0.1:80/tcp of the host leads to web"},
		{name: "held by one address", bindings: []string{"- 80 81/tcp"}, held: []string{"::1:80/tcp"}, err: "publish port 81/tcp: port 80/tcp of the host leads to web"},
		{name: "twice", bindings: []string{"- 80 80/tcp", "10.0.0.1 80 81/tcp"}, err: "port 10.0.0.1:80/tcp of the host is published twice"},
		{name: "range that is full", bindings: []string{"- 8000-8001 80/tcp"}, held: []string{":8000/tcp", "10.0.0.1:8001/tcp"},
			err: "publish port 80/tcp: none of the host's ports 8000 to 8001 is free; the last: port 8001/tcp of the host leads to web"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			netnstest.Host(t, func(t *testing.T) {
				var bindings []cnm.PortBinding
				for _, b := range test.bindings {
					bindings = append(bindings, binding(t, b))
				}
				p := publishing{free: free([]holder{{held(t, test.held), "web"}})}
				if test.hostIP != "" {
					p.hostIP = netip.MustParseAddr(test.hostIP)
				}
				got, err := p.mappings(bindings)
				if test.err != "" {
					if err == nil || !strings.Contains(err.Error(), test.err) {
						t.Errorf("%v, %v, want an error with %q", got, err, test.err)
					}
					return
				}
				var texts []string
				for _, m := range got {
					texts = append(texts, fmt.Sprintf("%s:%d/%s>%d", m.HostIP, m.HostPort, m.Protocol, m.ContainerPort))
				}
				if diff := cmp.Diff(test.want, texts); diff != "" || err != nil {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			})
		})
	}
}

func held(t *testing.T, list []string) (ports []cni.PortMapping) {
	t.Helper()
	for _, s := range list {
		rest, protocol, _ := strings.Cut(s, "/")
		i := strings.LastIndexByte(rest, ':')
		m := cni.PortMapping{HostIP: rest[:i], Protocol: protocol}
		if _, err := fmt.Sscan(rest[i+1:], &m.HostPort); err != nil {
			t.Fatal(err)
		}
		ports = append(ports, m)
	}
	return ports
}

// TestDynamicPorts: -P takes the same ports for the same endpoint, and others for others.
func TestDynamicPorts(t *testing.T) {
	choose := func(seed string, free func(hostPort) error) []cni.PortMapping {
		t.Helper()
		p := publishing{seed: seed, free: free}
		got, err := p.mappings([]cnm.PortBinding{binding(t, "0.0.0.0 0 80/tcp"), binding(t, ":: 0 80/tcp"), binding(t, "- 0 81/tcp"), binding(t, "- 0 80/udp")})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	anything := func(hostPort) error { return nil }
	first := choose("a", anything)
	if diff := cmp.Diff(first, choose("a", anything)); diff != "" || len(first) != 3 {
		t.Errorf("%v; the second time (-want +got):\n%s", first, diff)
	}
	other := choose("b", anything)
	for i, m := range first {
		if m.HostPort < firstDynamic || m.HostPort > lastDynamic || m.HostIP != "" || m.HostPort == other[i].HostPort {
			t.Errorf("%+v, of another endpoint %+v", m, other[i])
		}
	}
	one := func(port hostPort) error {
		if port.port != 50000 {
			return errors.New("held")
		}
		return nil
	}
	p := publishing{free: one}
	got, err := p.mappings([]cnm.PortBinding{binding(t, "- 0 80/tcp"), binding(t, "- 0 80/udp")})
	if err != nil || got[0].HostPort != 50000 || got[1].HostPort != 50000 {
		t.Errorf("%v, %v", got, err)
	}
	_, err = p.mappings([]cnm.PortBinding{binding(t, "- 0 80/tcp"), binding(t, "- 0 81/tcp")})
	if want := "publish port 81/tcp: none of the host's ports 49153 to 65535 is free"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestBound: ports of the host's own programs.
func TestBound(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		lo := netip.MustParseAddr("127.0.0.1")
		var none netip.Addr
		if l, err := net.Listen("tcp4", "127.0.0.1:80"); err != nil {
			t.Fatal(err)
		} else {
			defer l.Close()
		}
		if c, err := net.ListenPacket("udp", ":53"); err != nil {
			t.Fatal(err)
		} else {
			defer c.Close()
		}
		for port, want := range map[hostPort]bool{
			{"tcp", lo, 80}:                                 true,
			{"tcp", none, 80}:                               true,
			{"tcp", netip.IPv4Unspecified(), 80}:            true,
			{"tcp", netip.IPv6Unspecified(), 80}:            false,
			{"tcp", lo, 81}:                                 false,
			{"udp", lo, 80}:                                 false,
			{"udp", lo, 53}:                                 true,
			{"udp", netip.IPv6Unspecified(), 53}:            true,
			{"tcp", none, 53}:                               false,
			{"sctp", none, 80}:                              false,
			{"tcp", netip.MustParseAddr("192.0.2.1"), 80}:   false, // of another host, so far
			{"tcp", netip.MustParseAddr("2001:db8::1"), 80}: false,
		} {
			if got := bound(port); got != want {
				t.Errorf("%s: %t, want %t", port, got, want)
			}
		}
		if err := free(nil)(hostPort{"tcp", none, 80}); err == nil || err.Error() != "port 80/tcp of the host is a program's" {
			t.Error(err)
		}
	})
}
