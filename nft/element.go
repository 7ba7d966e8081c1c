package nft

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// An Element is one thing that an attachment wants of the firewall: a Masquerade,
// Forward, Hairpin, Guard, Wall or Isolation. String tells it in nft's words.
type Element interface {
	fmt.Stringer
	// entries are the elements of sets that it comes to.
	entries() []entry
	// validate says what cannot be put into the kernel.
	validate() error
}

// A Masquerade gives what Source sends the address of the interface by which it
// leaves the host, unless it goes to a prefix of Except or to a multicast group.
// Prefixes of the other family say nothing.
type Masquerade struct {
	Source netip.Addr     `json:"source"`
	Except []netip.Prefix `json:"except,omitempty"`
}

// A Protocol is one that has ports.
type Protocol string

// The protocols that can be forwarded.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// Number returns the protocol's number of IP, 0 if it is none of those above.
func (p Protocol) Number() byte {
	return map[Protocol]byte{TCP: unix.IPPROTO_TCP, UDP: unix.IPPROTO_UDP, SCTP: unix.IPPROTO_SCTP}[p]
}

// A Forward sends what is addressed to a port of the host to To, if all Conditions
// hold; if not, the packet is none of To's. It is of one family: To's. A host port has
// one owner, whatever its conditions; see Table.Put.
type Forward struct {
	Protocol   Protocol       `json:"protocol"`
	HostIP     netip.Addr     `json:"hostIP,omitzero"` // invalid or unspecified: every address of the host
	HostPort   uint16         `json:"hostPort"`
	To         netip.AddrPort `json:"to"`
	Conditions []Condition    `json:"conditions,omitempty"`
}

// A Hairpin masquerades translated connections to To (Forwards, but also others'
// translations, such as a service's) that come from one of Sources: from To itself
// and its neighbours, whose answers would otherwise not pass the host, and from
// 127.0.0.0/8, where no answer can be sent. Prefixes of the other family say nothing.
type Hairpin struct {
	To      netip.Addr     `json:"to"`
	Sources []netip.Prefix `json:"sources"`
}

// A Guard drops frames that come in by the bridge port Link with a source other
// than MAC.
type Guard struct {
	Link string           `json:"link"`
	MAC  net.HardwareAddr `json:"mac"` // of 6 bytes
}

func (m Masquerade) String() string {
	f := familyOf(m.Source)
	s := f.word + " saddr " + m.Source.String() + " masquerade"
	if except := f.only(m.Except); len(except) > 0 {
		s += ", except to " + join(except)
	}
	return s
}

func (f Forward) String() string {
	s := fmt.Sprintf("%s dport %d dnat to %s", f.Protocol, f.HostPort, f.To)
	if !f.anyHostIP() {
		s = familyOf(f.HostIP).word + " daddr " + f.HostIP.String() + " " + s
	}
	for _, c := range slices.Backward(f.Conditions) {
		s = c.text(familyOf(f.To.Addr())) + " " + s
	}
	return s
}

func (h Hairpin) String() string {
	f := familyOf(h.To)
	return fmt.Sprintf("ct status dnat %s saddr %s %s daddr %s masquerade", f.word, join(f.only(h.Sources)), f.word, h.To)
}

func (g Guard) String() string {
	return fmt.Sprintf("iifname %q ether saddr != %s drop", g.Link, g.MAC)
}

func join(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	if len(words) == 1 {
		return words[0]
	}
	return "{ " + strings.Join(words, ", ") + " }"
}

func (m Masquerade) validate() error {
	return errors.Join(validAddr("masquerade", m.Source), validPrefixes("masquerade", m.Except))
}

func (h Hairpin) validate() error {
	return errors.Join(validAddr("hairpin", h.To), validPrefixes("hairpin", h.Sources))
}

func (f Forward) validate() error {
	if f.Protocol.Number() == 0 {
		return fmt.Errorf("forward: protocol %q: not tcp, udp or sctp", f.Protocol)
	}
	if f.HostPort == 0 || f.To.Port() == 0 {
		return fmt.Errorf("forward %s: port 0", f)
	}
	if !f.anyHostIP() && f.HostIP.Is4() != f.To.Addr().Is4() {
		return fmt.Errorf("forward %s: addresses of two families", f)
	}
	if err := validAddr("forward", f.To.Addr()); err != nil {
		return err
	}
	for _, c := range f.Conditions {
		if err := c.validate(familyOf(f.To.Addr())); err != nil {
			return fmt.Errorf("forward: %w", err)
		}
	}
	return nil
}

func (g Guard) validate() error {
	if g.Link == "" || len(g.Link) >= unix.IFNAMSIZ || len(g.MAC) != 6 {
		return fmt.Errorf("guard %s: not a link's name and 6 bytes of MAC address", g)
	}
	return nil
}

func validAddr(what string, a netip.Addr) error {
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
		return fmt.Errorf("%s: %q: not a plain address", what, a)
	}
	return nil
}

func validPrefixes(what string, prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		if !p.IsValid() || p.Addr().Is4In6() {
			return fmt.Errorf("%s: %q: not a plain prefix", what, p)
		}
	}
	return nil
}

func (f Forward) anyHostIP() bool { return !f.HostIP.IsValid() || f.HostIP.IsUnspecified() }

func (m Masquerade) entries() []entry {
	f := familyOf(m.Source)
	c := masqueradeChain(f, m.Except)
	return []entry{{set: f.masqSet(), key: m.Source.AsSlice(), verdict: expr.VerdictGoto, chain: &c}}
}

func (h Hairpin) entries() []entry {
	f := familyOf(h.To)
	c := hairpinChain(f, h.Sources)
	return []entry{{set: f.hairpinSet(), key: h.To.AsSlice(), verdict: expr.VerdictJump, chain: &c}}
}

func (f Forward) entries() []entry {
	fam := familyOf(f.To.Addr())
	dnat := fam.dnatByPort()
	e := entry{
		set:  fam.hostPortSet(),
		key:  append([]byte{f.Protocol.Number(), 0, 0, 0}, word(f.HostPort)...),
		data: append(f.To.Addr().AsSlice(), word(f.To.Port())...),
		sole: fmt.Sprintf("host port %s/%d", f.Protocol, f.HostPort),
	}
	if !f.anyHostIP() {
		dnat = fam.dnatByIP()
		e.set = fam.hostIPSet()
		e.key = append(f.HostIP.AsSlice(), e.key...)
		e.sole += " of " + f.HostIP.String()
	}
	if len(f.Conditions) == 0 {
		return []entry{e}
	}
	c := whenChain(fam, f.Conditions, dnat)
	return []entry{e, {set: limits(e.set), key: e.key, verdict: expr.VerdictGoto, chain: &c, sole: e.sole}}
}

func (g Guard) entries() []entry {
	mac := append(slices.Clone(g.MAC), 0, 0)
	return []entry{
		{set: allowedSet(), key: append(ifname(g.Link), mac...)},
		{set: guardedSet(), key: ifname(g.Link)},
	}
}

// word is a port as a part of a concatenation: big endian, padded to 4 bytes.
func word(port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(nil, port), 0, 0)
}

// MarshalJSON writes the MAC address as people do.
func (g Guard) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"link": g.Link, "mac": g.MAC.String()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (g *Guard) UnmarshalJSON(b []byte) error {
	var v struct{ Link, MAC string }
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	mac, err := net.ParseMAC(v.MAC)
	*g = Guard{v.Link, mac}
	return err
}
