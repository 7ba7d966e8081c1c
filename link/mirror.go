package link

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seamnet/seam/netns"
	"golang.org/x/sys/unix"
)

// A Mirror is what a copy of a namespace is made with.
type Mirror struct {
	Of    *Snapshot
	Pairs map[string]string // what Pairs said of the namespace that the snapshot was taken of

	// Elsewhere gets the other end of every veth that stands in for a link. It must be
	// fresh, and for this mirror alone: the ends are named by the links' numbers.
	Elsewhere *netns.Namespace
}

// Pairs returns which links of the namespace are the two ends of one veth, by the names of both.
func (h *Handle) Pairs() (map[string]string, error) {
	links, err := h.describeLinks()
	if err != nil {
		return nil, err
	}
	const linkNetNSID = 37 // IFLA_LINK_NETNSID, which a link has whose peer is in another namespace
	here := make(map[int]SavedLink)
	for _, l := range links {
		m, err := parseMessage(l.Message, unix.SizeofIfInfomsg)
		if err == nil && l.Kind == "veth" && !m.has(linkNetNSID) {
			here[l.Index] = l
		}
	}
	pairs := make(map[string]string)
	for _, l := range here {
		if peer, ok := here[l.Peer]; ok {
			pairs[l.Name] = peer.Name
		}
	}
	return pairs, nil
}

// Mirror makes in the handle's namespace, which must be fresh, what the snapshot has, so
// that plugins find there what they would find in the namespace that it was taken of. A
// kind of link that cannot be moved, such as a bridge, is made as it is, and so is a veth of
// which both ends are there; every other link has an end of a veth to stand in for it,
// under its name and with its MAC and MTU. Of settings there are those of addresses, routes
// and forwarding; of queueing there is nothing.
//
// What is refused does not keep it from making the rest; all errors are returned.
func (h *Handle) Mirror(m Mirror) error {
	far, err := In(m.Elsewhere)
	if err != nil {
		return err
	}
	defer far.Close()
	copied := *m.Of
	copied.Links = slices.Clone(m.Of.Links)
	copied.Settings, copied.Loopback.Queueing = m.Of.Settings.ofRouting(), nil
	o := RestoreOptions{Names: make(map[string]string)}
	var errs []error
	for i := range copied.Links {
		l := &copied.Links[i]
		l.Queueing, l.Settings = nil, l.Settings.ofRouting()
		if immovable(*l) {
			continue
		}
		made := o.Names[l.Name] != ""
		o.Names[l.Name] = l.Name
		peer := copied.byName(m.Pairs[l.Name])
		switch {
		case made:
		case peer != nil:
			o.Names[peer.Name] = peer.Name
			errs = append(errs, h.AddVeth(Veth{Name: l.Name, MTU: l.MTU, MAC: l.MAC, PeerName: peer.Name, PeerMAC: peer.MAC}))
		default:
			errs = append(errs, h.standIn(*l, far))
		}
	}
	return errors.Join(append(errs, h.Restore(&copied, o))...)
}

// standIn makes a link that can be taken for l, and can carry frames.
func (h *Handle) standIn(l SavedLink, far *Handle) error {
	v := Veth{Name: l.Name, MTU: l.MTU, PeerName: fmt.Sprintf("to%d", l.Index), PeerNS: far.ns}
	if len(l.MAC) == 6 && l.MAC[0]&1 == 0 && slices.ContainsFunc(l.MAC, func(b byte) bool { return b != 0 }) {
		v.MAC = l.MAC
	}
	if err := h.AddVeth(v); err != nil {
		return err
	}
	return far.Set(Link{Name: v.PeerName}, Change{Up: true})
}

// ofRouting returns the settings that are of each namespace, and about addresses, routes,
// neighbours and forwarding.
func (s Settings) ofRouting() Settings {
	kept := make(Settings)
	for path, value := range s {
		for _, group := range []string{"ipv4/conf/", "ipv4/neigh/", "ipv4/ip_", "ipv6/conf/", "ipv6/neigh/"} {
			if strings.HasPrefix(path, group) {
				kept[path] = value
			}
		}
	}
	return kept
}
