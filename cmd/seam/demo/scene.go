package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// picture draws what the runtime's records and the kernel say.
func picture(_ context.Context, s *stage) ([]string, error) {
	records, err := s.rt.Attachments()
	if err != nil {
		return nil, err
	}
	sc := scene{
		uplink:    fmt.Sprintf("uplink %s · containers leave masqueraded", uplinkAddr),
		neighbour: fmt.Sprintf("%s · %s", neighbourName, neighbourAddr),
	}
	for _, name := range []string{"demo", "told"} {
		n := drawnNetwork{}
		for i := range records {
			if records[i].Network == name {
				n.bridge = s.bridgeText(name, &records[i])
				n.pods = append(n.pods, drawPod(&records[i]))
			}
		}
		sc.networks = append(sc.networks, n)
	}
	return strings.Split(strings.TrimSpace(draw(sc)), "\n"), nil
}

// bridgeText names the bridge of an attachment, the first of its interfaces, with
// its addresses.
func (s *stage) bridgeText(network string, r *seam.Record) string {
	words := []string{"network " + network}
	if r.Result == nil || len(r.Result.Interfaces) == 0 {
		return words[0]
	}
	words = append(words, "bridge "+r.Result.Interfaces[0].Name)
	for _, ip := range r.Result.IPs {
		words = append(words, fmt.Sprintf("%s/%d", ip.Gateway, ip.Address.Bits()))
	}
	return strings.Join(words, " · ")
}

func drawPod(r *seam.Record) drawnPod {
	p := drawnPod{name: r.ContainerID}
	if r.Result == nil {
		return p
	}
	for _, i := range r.Result.Interfaces[1:] {
		if i.Sandbox == "" {
			p.veth = i.Name
		}
	}
	for _, ip := range r.Result.PodIPs(r.IfName) {
		p.text = append(p.text, r.IfName+" "+ip.Address.Addr().String())
	}
	var ports []cni.PortMapping
	if json.Unmarshal(r.Capabilities[cni.CapabilityPorts], &ports) == nil {
		for _, m := range ports {
			p.text = append(p.text, fmt.Sprintf("port %d ◂ host %d", m.ContainerPort, m.HostPort))
		}
	}
	return p
}
