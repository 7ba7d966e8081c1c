package trail

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/nft"
)

// A Host is where attachments are: the links and Seam's firewall of the calling process's
// namespace.
type Host struct {
	Links *link.Handle
	Table *nft.Table

	// Foreign returns a rule of a table that is not Seam's in nft's words; pod is nil for
	// the host's. "" and nil stand for "not known".
	Foreign func(e nft.Event, pod *netns.Namespace) string
}

// An End is the attachment that a question is about.
type End struct {
	Tag       cni.Tag
	NS        *netns.Namespace
	IfName    string
	Addresses []netip.Addr
}

// An Origin is who sends the packet.
type Origin string

// The origins. FromOutside is a machine that the host reaches by a route: its packet is put
// in where it would arrive.
const (
	FromContainer Origin = "container"
	FromHost      Origin = "host"
	FromOutside   Origin = "outside"
)

// A Question is which packet's way is asked for.
type Question struct {
	End      End
	Origin   Origin
	From     netip.Addr     // invalid: the sender's own choice; required with FromOutside
	To       netip.AddrPort // of ICMP, without a port
	Protocol byte           // unix.IPPROTO_TCP or UDP; ICMP, of either version: 0
	Probe    bool           // else nothing is sent and nothing changed
	Wait     time.Duration  // for an answer; 0: one second
}

// A Way is the answer: every step in order.
type Way struct {
	Packet   string   `json:"packet"`   // as it was sent
	Protocol string   `json:"protocol"` // tcp, udp or icmp
	Origin   Origin   `json:"origin"`
	Probed   bool     `json:"probed"` // a packet was sent and watched
	Steps    []Step   `json:"steps"`
	Dropped  bool     `json:"dropped"` // the last step says by what
	Outcome  Outcome  `json:"outcome"`
	Detail   string   `json:"detail,omitempty"` // of the outcome
	Hints    []string `json:"hints,omitempty"`  // what to do
	Notes    []string `json:"notes,omitempty"`  // what could not be found out, and why
}

// Passes reports whether nothing is known to be in the packet's way. That UDP is not
// answered says nothing.
func (w *Way) Passes() bool {
	silent := w.Outcome == NoAnswer && w.Protocol != "udp"
	return !w.Dropped && (!w.Probed || !silent && w.Outcome != Refused && w.Outcome != Unreachable && w.Outcome != NotSent)
}

// A Where is a place on the way.
type Where string

// The places.
const (
	Container Where = "container"
	OnHost    Where = "host"
	OnBridge  Where = "bridge"
	Outside   Where = "outside"
)

// A Step is one thing that the packet meets.
type Step struct {
	Where   Where  `json:"where"`
	Kind    string `json:"kind"` // link, route, neighbour, port, rule, translation, drop, delivery
	Text    string `json:"text"`
	Rule    *Rule  `json:"rule,omitempty"`
	Seen    bool   `json:"seen"` // of the probe; else it was looked up
	Dropped bool   `json:"dropped,omitempty"`
}

// A Rule is an nftables rule that holds for the packet or, without a handle, the policy of
// a chain.
type Rule struct {
	Family  string      `json:"family"`
	Table   string      `json:"table"`
	Chain   string      `json:"chain"`
	Handle  uint64      `json:"handle,omitempty"`
	Text    string      `json:"text"` // in nft's words; empty: not known
	Verdict nft.Verdict `json:"verdict"`
	Wanted  []string    `json:"wantedBy,omitempty"` // plugins and attachments whose elements it is about
}

func (r *Rule) place() string { return fmt.Sprintf("%s %s/%s", r.Family, r.Table, r.Chain) }

func (r *Rule) String() string {
	switch {
	case r.Handle == 0:
		return "the policy"
	case r.Text == "":
		return fmt.Sprintf("rule %d", r.Handle)
	}
	return r.Text
}

// An Outcome is what became of the probe.
type Outcome string

// The outcomes.
const (
	Connected   Outcome = "connected"
	Answered    Outcome = "answered"
	Refused     Outcome = "refused"
	NoAnswer    Outcome = "no answer"
	Unreachable Outcome = "unreachable"
	NotSent     Outcome = "not sent"
)

func protocolName(p byte) string {
	switch p {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	}
	return "icmp"
}
