package plan

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
)

// A socket is one that takes what comes to a port of the host.
type socket struct {
	protocol string
	addr     netip.AddrPort
	inode    string
}

// listening returns the sockets of a namespace, of all processes.
func listening(ns *netns.Namespace) (all []socket, err error) {
	err = ns.Do(func() error {
		var errs []error
		for _, file := range []string{"tcp", "tcp6", "udp", "udp6"} {
			data, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				errs = append(errs, gone(err)) // a kernel without IPv6
				continue
			}
			all = append(all, parseSockets(strings.TrimSuffix(file, "6"), string(data))...)
		}
		return errors.Join(errs...)
	})
	return all, err
}

// parseSockets reads a file such as /proc/net/tcp (proc_net_tcp.txt of the kernel).
func parseSockets(protocol, text string) (all []socket) {
	const tcpListen, udpUnconnected = "0A", "07"
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != tcpListen && (protocol != "udp" || f[3] != udpUnconnected) {
			continue
		}
		if addr, ok := parseHex(f[1]); ok {
			all = append(all, socket{protocol, addr, f[9]})
		}
	}
	return all
}

// parseHex reads ADDRESS:PORT as the kernel prints it: words of 32 bits, the lowest byte first.
func parseHex(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok
}

// holder names the process that has the socket, as far as /proc shows it.
func (s socket) holder() string {
	const unknown = "a program"
	if s.inode == "0" {
		return unknown
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // a pattern that is right
	for _, l := range links {
		if to, err := os.Readlink(l); err != nil || to != "socket:["+s.inode+"]" {
			continue
		}
		pid := strings.Split(l, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			return unknown
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
	}
	return unknown
}

// ports finds who has the ports that are to be published.
func (s *scene) ports() (found []Conflict) {
	for _, k := range s.chain {
		for _, m := range k.Runtime.Ports {
			found = append(found, s.published(m)...)
			found = append(found, s.listened(m)...)
		}
	}
	return found
}

func portText(m cni.PortMapping) string {
	host := ""
	if m.HostIP != "" {
		host = m.HostIP + " "
	}
	return fmt.Sprintf("%s%d/%s", host, m.HostPort, protocolOf(m))
}

func protocolOf(m cni.PortMapping) string {
	if m.Protocol == "" {
		return "tcp"
	}
	return strings.ToLower(m.Protocol)
}

func hostOf(m cni.PortMapping) netip.Addr {
	a, _ := netip.ParseAddr(m.HostIP)
	return a.Unmap()
}

// meet reports whether two addresses of sockets or published ports have packets in common; of all
// addresses of the host it is none, or 0.0.0.0, or ::.
func meet(a, b netip.Addr) bool {
	every := func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }
	return a == b || every(a) || every(b)
}

func (s *scene) published(m cni.PortMapping) (found []Conflict) {
	c := &s.question.Container
	for i := range s.others {
		o := &s.others[i]
		var theirs []cni.PortMapping
		if json.Unmarshal(o.Capabilities[cni.CapabilityPorts], &theirs) != nil || o.Attachment == c.Attachment(s.question.Network.Name) {
			continue
		}
		for _, t := range theirs {
			if t.HostPort == m.HostPort && protocolOf(t) == protocolOf(m) && meet(hostOf(t), hostOf(m)) {
				found = append(found, Conflict{
					Kind: "port", Subject: portText(m), With: string(o.Tag()), Fails: true,
					Says: fmt.Sprintf("port %s is published for %s already", portText(m), nameOr(o.Name, o.ContainerID)),
					Hint: "choose another port, or remove that container",
				})
			}
		}
	}
	return found
}

func nameOr(name, id string) string {
	if name != "" {
		return name
	}
	return id
}

// listened finds programs of the host: packets from elsewhere would go to the container, and
// not to them any more.
func (s *scene) listened(m cni.PortMapping) []Conflict {
	for _, o := range s.sockets {
		if o.protocol != protocolOf(m) || int(o.addr.Port()) != m.HostPort || !meet(o.addr.Addr(), hostOf(m)) {
			continue
		}
		holder := o.holder()
		return []Conflict{{
			Kind: "port", Subject: portText(m), With: holder,
			Says: fmt.Sprintf("%s listens on %s/%s: what comes to the port would go to the container instead", holder, o.addr, o.protocol),
			Hint: "choose another port, or stop that program",
		}}
	}
	return nil
}
