package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
)

// holder names the process that has the socket, as far as /proc shows it.
func holder(s netns.Socket) string {
	const unknown = "a program"
	if s.Inode == "0" {
		return unknown
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // a pattern that is right
	for _, l := range links {
		if to, err := os.Readlink(l); err != nil || to != "socket:["+s.Inode+"]" {
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

// published finds attachments that publish the port. Whether both can have it, as each for
// another address of the host, only portmap knows: see refused.
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
					Kind: "port", Subject: portText(m), With: string(o.Tag()),
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
		if o.Protocol != protocolOf(m) || int(o.Addr.Port()) != m.HostPort || !meet(o.Addr.Addr(), hostOf(m)) {
			continue
		}
		who := holder(o)
		return []Conflict{{
			Kind: "port", Subject: portText(m), With: who,
			Says: fmt.Sprintf("%s listens on %s/%s: what comes to the port would go to the container instead", who, o.Addr, o.Protocol),
			Hint: "choose another port, or stop that program",
		}}
	}
	return nil
}
