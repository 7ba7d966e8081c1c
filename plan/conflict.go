package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/ipam"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// A scene is what conflicts are looked for in: the host as it is.
type scene struct {
	question  *Question
	chain     []keys
	host, pod *link.Snapshot
	others    []seam.Record // what is attached, this attachment too if it is
	networks  []*seam.Network
	sockets   []netns.Socket
	leases    string // folder of host-local, unless a configuration names one
}

// keys are those of a plugin's configuration that conflicts are about, whichever plugin it is.
type keys struct {
	Type     string  `json:"type"`
	Bridge   string  `json:"bridge"`
	Master   string  `json:"master"`
	InPod    bool    `json:"linkInContainer"`
	MTU      int     `json:"mtu"`
	VLAN     int     `json:"vlanId"`
	Delegate *keys   `json:"delegate"` // of wrap
	IPAM     ipKeys  `json:"ipam"`
	Runtime  runtime `json:"runtimeConfig"`
}

type ipKeys struct {
	Type string `json:"type"`
	ipRange
	Ranges  [][]ipRange `json:"ranges"`
	DataDir string      `json:"dataDir"`
}

type runtime struct {
	Ports  []cni.PortMapping `json:"portMappings"`
	Ranges [][]ipRange       `json:"ipRanges"`
}

// decodeKeys reads what it can: what is not valid the plugin refuses. Of wrap it returns what
// is wrapped.
func decodeKeys(conf []byte) keys {
	var k keys
	_ = json.Unmarshal(conf, &k)
	if inner := k.Delegate; inner != nil {
		inner.Runtime = k.Runtime
		k = *inner
	}
	if k.Type == "bridge" && k.Bridge == "" {
		k.Bridge = "cni0"
	}
	return k
}

// chainOf returns the keys of a network's plugins as they are called.
func chainOf(n *seam.Network, capabilities map[string]json.RawMessage) []keys {
	var chain []keys
	for _, p := range n.Plugins {
		config, err := wire.Compose(p.JSON, n.Name, n.Version, capabilities)
		if err == nil {
			chain = append(chain, decodeKeys(config.JSON))
		}
	}
	return chain
}

// lookForConflicts finds what stands in the way, on the host itself.
func (r *rehearsal) lookForConflicts(was *sight, host *netns.Namespace) []Conflict {
	q := &r.question
	s := &scene{
		question: q, chain: chainOf(q.Network, q.Container.Capabilities), host: was.host, pod: was.pod,
		others: r.others, leases: r.Host.Dirs.Leases,
	}
	networks, err := seam.LoadAll(q.ConfDir)
	r.note("the list of networks", err)
	s.networks = slices.DeleteFunc(networks, func(n *seam.Network) bool { return n.Name == q.Network.Name })
	s.sockets, err = host.Sockets()
	r.note("the list of sockets", err)
	var found []Conflict
	for _, look := range []func() []Conflict{s.attached, s.nameTaken, s.ports, s.bridges, s.masters, s.ranges, s.addresses} {
		found = append(found, look()...)
	}
	return found
}

func (s *scene) attached() []Conflict {
	c := &s.question.Container
	for i := range s.others {
		o := &s.others[i]
		if o.Attachment == c.Attachment(s.question.Network.Name) && o.Alive() {
			return []Conflict{{
				Kind: "attached", Subject: string(o.Tag()), Fails: true,
				Says: "attached already, since " + o.Created.Format(time.DateTime),
				Hint: "detach it first, or choose another --ifname",
			}}
		}
	}
	return nil
}

func (s *scene) nameTaken() []Conflict {
	name := s.question.Container.IfName
	i := slices.IndexFunc(s.pod.Links, func(l link.SavedLink) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	c := Conflict{
		Kind: "interface", Subject: name, Fails: true,
		Says: fmt.Sprintf("the container has an interface %s already, a %s", name, s.pod.Links[i].Kind),
		Hint: "choose another name with --ifname",
	}
	for i := range s.others {
		if o := &s.others[i]; o.NetNS == s.question.Container.NetNS && o.IfName == name {
			c.With = string(o.Tag())
		}
	}
	return []Conflict{c}
}

// bridges finds bridges that are none, and those that other networks use for other subnets.
func (s *scene) bridges() (found []Conflict) {
	for _, k := range s.chain {
		if k.Bridge == "" || k.Type != "bridge" {
			continue
		}
		if l := byName(s.host, k.Bridge); l != nil && l.Kind != "bridge" {
			found = append(found, Conflict{
				Kind: "bridge", Subject: k.Bridge, With: l.Name, Fails: true,
				Says: fmt.Sprintf("%s is there, and is a %s, not a bridge", k.Bridge, l.Kind), Hint: `name another one by the key "bridge"`,
			})
		}
		for _, n := range s.networks {
			for _, other := range chainOf(n, nil) {
				if other.Type == "bridge" && other.Bridge == k.Bridge && !sameSubnets(k, other) {
					found = append(found, Conflict{
						Kind: "bridge", Subject: k.Bridge, With: "network " + n.Name,
						Says: fmt.Sprintf("network %s has the same bridge %s with other subnets", n.Name, k.Bridge),
						Hint: `give each network a bridge of its own by the key "bridge"`,
					})
				}
			}
		}
	}
	return found
}

func byName(s *link.Snapshot, name string) *link.SavedLink {
	i := slices.IndexFunc(s.Links, func(l link.SavedLink) bool { return l.Name == name || slices.Contains(l.AltNames, name) })
	if i < 0 {
		return nil
	}
	return &s.Links[i]
}

var onMaster = []string{"macvlan", "ipvlan", "vlan"}

// masters finds masters that are missing, too small or taken.
func (s *scene) masters() (found []Conflict) {
	for _, k := range s.chain {
		if !slices.Contains(onMaster, k.Type) || k.Master == "" {
			continue
		}
		where, in := "the host", s.host
		if k.InPod {
			where, in = "the container", s.pod
		}
		l := byName(in, k.Master)
		switch {
		case l == nil:
			found = append(found, Conflict{
				Kind: "master", Subject: k.Master, Fails: true,
				Says: fmt.Sprintf("%s has no link %s for %s to stand on", where, k.Master, k.Type), Hint: "ip link shows those that there are",
			})
			continue
		case k.MTU > l.MTU:
			found = append(found, Conflict{
				Kind: "mtu", Subject: fmt.Sprint(k.MTU), With: l.Name, Fails: true,
				Says: fmt.Sprintf("mtu %d is larger than that of the master %s, %d", k.MTU, l.Name, l.MTU), Hint: fmt.Sprintf(`set "mtu" to at most %d`, l.MTU),
			})
		}
		if !k.InPod {
			found = append(found, s.masterTaken(k)...)
		}
	}
	return found
}

// masterTaken finds attachments that have what a master can give only once.
func (s *scene) masterTaken(k keys) (found []Conflict) {
	for i := range s.others {
		o := &s.others[i]
		n, err := o.Recorded()
		if err != nil || !o.Alive() || o.Attachment == s.question.Container.Attachment(s.question.Network.Name) {
			continue
		}
		for _, other := range chainOf(n, o.Capabilities) {
			says := ""
			switch {
			case other.Master != k.Master || other.InPod:
			case k.Type == "vlan" && other.Type == "vlan" && k.VLAN == other.VLAN:
				says = fmt.Sprintf("VLAN %d of %s is in container %s, and can be in one only", k.VLAN, k.Master, o.ContainerID)
			case k.Type == "macvlan" && other.Type == "ipvlan", k.Type == "ipvlan" && other.Type == "macvlan":
				says = fmt.Sprintf("%s of container %s stands on %s, which %s cannot share with it", other.Type, o.ContainerID, k.Master, k.Type)
			}
			if says != "" {
				found = append(found, Conflict{Kind: "master", Subject: k.Master, With: string(o.Tag()), Says: says, Fails: true, Hint: "choose another master or VLAN, or remove that container"})
			}
		}
	}
	return found
}

// addresses finds out who has an address that is asked for.
func (s *scene) addresses() (found []Conflict) {
	for _, k := range s.chain {
		if k.IPAM.Type != "host-local" {
			continue
		}
		dir := s.leases
		if k.IPAM.DataDir != "" {
			dir = k.IPAM.DataDir
		}
		for _, a := range s.asked() {
			data, err := os.ReadFile(filepath.Join(dir, s.question.Network.Name, a))
			if err != nil {
				continue
			}
			holder := strings.Join(strings.Fields(string(data)), " ")
			found = append(found, Conflict{
				Kind: "address", Subject: a, With: holder, Fails: true,
				Says: fmt.Sprintf("address %s is leased to %s", a, holder), Hint: "ask for another one, or remove that container",
			})
		}
	}
	return found
}

// asked returns the addresses that are asked for, by whichever way.
func (s *scene) asked() (addrs []string) {
	c := &s.question.Container
	all := strings.Split(c.Args.Get("IP"), ",")
	var ips []string
	if json.Unmarshal(c.Capabilities[cni.CapabilityIPs], &ips) == nil {
		all = append(all, ips...)
	}
	for _, text := range all {
		if a, _, err := cni.ParseAddr(strings.TrimSpace(text)); err == nil {
			addrs = append(addrs, a.Unmap().String())
		}
	}
	return addrs
}

// refused is what the rehearsal ended with, in the words of the plugin, if it was one.
func (r *rehearsal) refused(err error) Conflict {
	said := refusal(err)
	tag := r.question.Container.Attachment(r.question.Network.Name).Tag()
	c := Conflict{
		Kind: "refused", Subject: r.question.Network.Name, Fails: true, Code: said.Code,
		Says: strings.TrimPrefix(said.Msg, "attach "+string(tag)+": "), Hint: said.Details,
	}
	for _, s := range r.plan.Plugins {
		if s.Error != nil {
			c.Subject, c.Says = s.Plugin, s.Error.Msg
		}
	}
	for i := range r.plan.Conflicts {
		if port := &r.plan.Conflicts[i]; port.Kind == "port" && port.With != "" && strings.HasSuffix(c.Says, " "+port.With) {
			port.Fails = true
		}
	}
	full, isFull := errors.AsType[*ipam.FullError](err)
	switch {
	case isFull:
		c.Kind, c.Subject = "range", full.Set.String()
	case len(r.plan.Plugins) == 0 && errors.Is(err, fs.ErrNotExist):
		c.Kind, c.Hint = "plugin", "put it into one of the folders, or name its folder with --plugin-dir"
	}
	return c
}
