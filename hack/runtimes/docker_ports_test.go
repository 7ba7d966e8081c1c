package runtimes

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDockerPorts: published ports, which are the network's own plugin's work.
func TestDockerPorts(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		for name, create := range map[string][]string{
			"docker": append(onFile("prod"), "--subnet", "10.71.0.0/24", "--gateway", "10.71.0.1"),
			"ahead":  d.itsAddresses("prod", prodSubnet),
			"null":   noAddresses("prod"),
		} {
			d.sub(name, func(d *docker) {
				before := d.footprint()
				d.create("prod", create...)
				d.published()
				d.publishedLive()
				d.remove("web", "db")
				d.closed(d.outside, nodeAddr+":18080")
				d.docker("network", "rm", "prod")
				d.same(before)
			})
		}
	})
}

// published: one port, of one address of the host, of a range, and of udp.
func (d *docker) published() {
	d.Helper()
	d.web("web", "prod", "--publish", "18080:80", "--publish", "127.0.0.1:18081:80", "--publish", "18090-18099:81",
		"--publish", nodeAddr+":18053:53/udp", "--publish", "18084:84/sctp")
	web := d.place("web")
	d.listen(web, ":81", "second")
	d.echo(web, ":53")
	ports := d.listed("prod", "prod", "web").Ports
	ranged := chosenOf(ports, ":81/tcp")
	if ranged < 18090 || ranged > 18099 {
		d.Errorf("seam ls: ports %v, want one of 18090-18099 for 81", ports)
	}
	want := []string{"127.0.0.1:18081:80/tcp", "18080:80/tcp", "18084:84/sctp", nodeAddr + ":18053:53/udp", strconv.Itoa(ranged) + ":81/tcp"}
	slices.Sort(ports)
	slices.Sort(want)
	if !slices.Equal(ports, want) {
		d.Errorf("seam ls: ports %v, want %v", ports, want)
	}
	d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
	d.answers(nil, nodeAddr+":18080", "web asked by "+nodeAddr)
	d.answers(nil, "127.0.0.1:18080", "web asked by 10.71.0.1")
	d.answers(nil, "127.0.0.1:18081", "web asked by 10.71.0.1")
	d.closed(d.outside, nodeAddr+":18081")
	d.answers(d.outside, port(nodeAddr, ranged), "second asked by "+outsideAddr)
	d.echoes(d.outside, nodeAddr+":18053")

	d.web("db", "prod", "--publish-all", "--expose", "80", "--publish", "18090-18099:80")
	d.asks("db", nodeAddr+":18080", "web asked by 10.71.0.1")
	d.asks("web", nodeAddr+":18080", "web asked by 10.71.0.1") // itself
	second := chosenOf(d.listed("prod", "prod", "db").Ports, ":80/tcp")
	if second == ranged {
		d.Errorf("seam ls: two containers have port %d of the host", second)
	}
	d.answers(d.outside, port(nodeAddr, second), "db asked by "+outsideAddr)
	d.refuses([]string{"18080"}, webArgs("late", "prod", "--publish", "18080:80")...)
	d.remove("late")
	d.sound()
}

// publishedLive: ports go with a network that is taken away, and come again.
func (d *docker) publishedLive() {
	d.Helper()
	d.docker("network", "disconnect", "prod", "web")
	d.closed(d.outside, nodeAddr+":18080")
	d.docker("network", "connect", "prod", "web")
	d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
	d.docker("restart", "web")
	d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
}

// TestDockerAllPorts: -P, for all that the image or the user exposes.
func TestDockerAllPorts(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.withSeamd()
		d.network(prodNetwork)
		before := d.footprint()
		d.create("prod", d.itsAddresses("prod", prodSubnet)...)
		for _, name := range []string{"web", "db"} {
			d.web(name, "prod", "--publish-all", "--expose", "80", "--expose", "53/udp")
			d.echo(d.place(name), ":53")
			ports := d.listed("prod", "prod", name).Ports
			d.answers(d.outside, port(nodeAddr, chosenOf(ports, ":80/tcp")), name+" asked by "+outsideAddr)
			d.echoes(d.outside, port(nodeAddr, chosenOf(ports, ":53/udp")))
		}
		d.remove("web", "db")
		d.docker("network", "rm", "prod")
		d.same(before)
	})
}

// chosenOf returns the host's port, of all addresses, that leads to the container's, 0 if
// there is none.
func chosenOf(ports []string, to string) int {
	for _, p := range ports {
		if host, ok := strings.CutSuffix(p, to); ok {
			number, _ := strconv.Atoi(host)
			return number
		}
	}
	return 0
}

// echo starts a server that sends each datagram back.
func (n *node) echo(where place, address string) {
	n.Helper()
	var conn net.PacketConn
	n.must(within(where, func() (err error) {
		conn, err = net.ListenPacket("udp", address)
		return err
	}))
	done := make(chan error)
	go func() {
		buf := make([]byte, 64)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err == nil {
				_, err = conn.WriteTo(buf[:size], from)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	n.Cleanup(func() {
		conn.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			n.Error(err)
		}
	})
}

// echoes fails unless a datagram to that address comes back soon.
func (n *node) echoes(from place, address string) {
	n.Helper()
	addr, err := netip.ParseAddrPort(address)
	n.must(err)
	n.eventually(func() error {
		return within(from, func() error {
			conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("who")); err != nil {
				return err
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			_, err = conn.Read(make([]byte, 64))
			return err
		})
	})
}
