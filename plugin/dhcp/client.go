package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// A client is how servers are spoken with.
type client struct {
	prefix    string        // before the paths of namespaces
	broadcast bool          // servers are to broadcast their answers
	timeout   time.Duration // for the answer to one message, which is repeated meanwhile
}

// firstResend is when a message is first repeated; each time later it takes twice as
// long. It is short because what is lost as a rule is the first message of a new link,
// sent before the bridge on its other side found out that it may forward.
const firstResend = 250 * time.Millisecond

var (
	errNoAnswer = errors.New("no DHCP server answers")
	errRefused  = errors.New("the server refuses")
	// errLost says that another address was offered in the place of the lease's.
	errLost = errors.New("the lease is lost: servers have another address for it")
)

// A conversation is a client's with the servers on the link of one lease.
type conversation struct {
	*nclient4.Client
	timeout time.Duration
	asking  []dhcpv4.Modifier // who asks, and what for
}

func (c client) converse(l *lease, up bool) (*conversation, error) {
	conn, at, err := c.open(l, up)
	if err != nil {
		return nil, err
	}
	mac := at.MAC
	if l.Message != nil {
		mac = l.Message.ClientHWAddr // a later plugin may have changed the link's
	}
	v := &conversation{timeout: c.timeout, asking: append(l.identity(), l.Options.modifiers(c.broadcast)...)}
	v.Client, err = nclient4.NewWithConn(conn, mac, nclient4.WithTimeout(firstResend), nclient4.WithRetry(-1))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return v, nil
}

// longestID is what of an identifier fits behind its type, as in the reference plugin.
const longestID = 254

// identity returns the option that servers know the attachment by: type 0, which is no
// hardware address, and its names, as in the reference plugin.
func (l *lease) identity() []dhcpv4.Modifier {
	id := []byte(l.ContainerID + "/" + l.Network + "/" + l.IfName)
	id = append([]byte{0}, id[:min(len(id), longestID)]...)
	for _, p := range l.Options.Provide {
		if p.Code == optionClientID {
			id = p.Value
		}
	}
	return []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, id)}
}

func (o options) modifiers(broadcast bool) []dhcpv4.Modifier {
	mods := []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(nclient4.MaxMessageSize))}
	for _, p := range o.Provide {
		mods = append(mods, dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(p.Code), p.Value))
	}
	// In the place of the library's own list.
	var list dhcpv4.OptionCodeList
	for _, code := range o.Request {
		list.Add(dhcpv4.GenericOptionCode(code))
	}
	if len(list) == 0 {
		mods = append(mods, dhcpv4.WithoutOption(dhcpv4.OptionParameterRequestList))
	} else {
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptParameterRequestList(list...)))
	}
	if broadcast {
		mods = append(mods, dhcpv4.WithBroadcast(true))
	}
	return mods
}

// send sends a message, again and again, until there is an answer that matches. A
// refusal matches errRefused, silence errNoAnswer.
func (v *conversation) send(ctx context.Context, m *dhcpv4.DHCPv4, match ...nclient4.Matcher) (*message, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, v.timeout, errNoAnswer)
	defer cancel()
	answer, err := v.SendAndRead(ctx, v.RemoteAddr(), m, nclient4.IsAll(match...))
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", m.MessageType(), context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", m.MessageType(), err)
	case answer.MessageType() == dhcpv4.MessageTypeNak:
		return nil, fmt.Errorf("%s: %w: %s says %q", m.MessageType(), errRefused, answer.ServerIdentifier(), answer.Message())
	}
	return &message{answer}, nil
}

var (
	isOffer  = nclient4.IsMessageType(dhcpv4.MessageTypeOffer)
	isAnswer = nclient4.IsMessageType(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak)
)

// discover asks all servers for an offer: of that address, if one is given.
func (v *conversation) discover(ctx context.Context, want netip.Addr) (*message, error) {
	mods := v.asking
	if want.IsValid() {
		mods = append(mods[:len(mods):len(mods)], dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(want.AsSlice())))
	}
	m, err := dhcpv4.NewDiscovery(v.InterfaceAddr(), mods...)
	if err != nil {
		return nil, err
	}
	return v.send(ctx, m, isOffer)
}

// request asks for what was offered.
func (v *conversation) request(ctx context.Context, offer *message) (*message, error) {
	m, err := dhcpv4.NewRequestFromOffer(offer.DHCPv4, v.asking...)
	if err != nil {
		return nil, err
	}
	return v.send(ctx, m, isAnswer, nclient4.IsCorrectServer(offer.ServerIdentifier()))
}

// renew asks for more time: the server that gave the lease, or everyone.
func (v *conversation) renew(ctx context.Context, ack *message, everyone bool) (*message, error) {
	xid, err := dhcpv4.GenerateTransactionID()
	if err != nil {
		return nil, err
	}
	m, err := dhcpv4.NewRenewFromAck(ack.DHCPv4, append(v.asking[:len(v.asking):len(v.asking)], dhcpv4.WithTransactionID(xid))...)
	if err != nil {
		return nil, err
	}
	match := []nclient4.Matcher{isAnswer}
	if !everyone {
		match = append(match, nclient4.IsCorrectServer(ack.ServerIdentifier()))
	}
	return v.send(ctx, m, match...)
}

// acquire leases an address: want, and no other, if it is valid. For a lease that is
// not granted yet, intend is called when its Message is the offer that is about to be
// asked for.
func (c client) acquire(ctx context.Context, l *lease, want netip.Addr, intend func() error) error {
	v, err := c.converse(l, true)
	if err != nil {
		return err
	}
	defer v.Close()
	offer, err := v.discover(ctx, want)
	if err != nil {
		return err
	}
	if want.IsValid() && addr(offer.YourIPAddr) != want {
		return fmt.Errorf("%w: %s instead of %s", errLost, offer.YourIPAddr, want)
	}
	if !l.granted() {
		l.Message = offer
		if err := intend(); err != nil {
			return err
		}
	}
	since := time.Now()
	ack, err := v.request(ctx, offer)
	if err == nil {
		l.Message, l.Since = ack, since
	}
	return err
}

// extend makes the lease last longer. The answer to the first message is waited for as
// long as patience says.
func (c client) extend(ctx context.Context, l *lease, patience time.Duration) error {
	_, rebind, _ := l.times()
	everyone := !time.Now().Before(rebind)
	since := time.Now()
	ack, err := c.renew(ctx, l, everyone, patience)
	if err == nil && addr(ack.YourIPAddr) != l.address() {
		return fmt.Errorf("%w: %s instead of %s", errLost, ack.YourIPAddr, l.address())
	}
	if err == nil {
		l.Message, l.Since = ack, since
		return nil
	}
	refused := errors.Is(err, errRefused)
	if !refused && !(everyone && errors.Is(err, errNoAnswer)) {
		return err
	}
	// Servers that know nothing of the lease refuse, or keep silent: anew, then.
	again := c.acquire(ctx, l, l.address(), nil)
	if again != nil && !refused && errors.Is(again, errLost) {
		return err // said by a server that has no say in this lease
	}
	return again
}

func (c client) renew(ctx context.Context, l *lease, everyone bool, patience time.Duration) (*message, error) {
	v, err := c.converse(l, false)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	v.timeout = patience
	return v.renew(ctx, l.Message, everyone)
}

// release tells the server that the address is free. There is no answer to that.
func (c client) release(l *lease) error {
	if l.Message == nil {
		return nil
	}
	server := l.Message.ServerIdentifier().To4()
	if server == nil {
		return errors.New("the server did not say who it is")
	}
	conn, at, err := c.open(l, true)
	if err != nil {
		return err
	}
	defer conn.Close()
	// From the address itself, though the pod may not have it: a server that is a Linux
	// host drops what comes from 0.0.0.0 to its own address. At once, without looking for
	// the server's MAC address: the link may be gone the next moment.
	if raw, ok := conn.(*nclient4.BroadcastRawUDPConn); ok {
		conn = nclient4.NewBroadcastUDPConn(raw.PacketConn, &net.UDPAddr{IP: l.address().AsSlice(), Port: nclient4.ClientPort})
	}
	m, err := dhcpv4.NewReleaseFromACK(l.Message.DHCPv4, l.identity()...)
	if err != nil {
		return err
	}
	times := 1
	if !at.Up { // as is one that was carried from namespace to namespace: see firstResend
		times = repeats
	}
	for i := range times {
		if i > 0 {
			time.Sleep(repeatPause)
		}
		if _, err = conn.WriteTo(m.ToBytes(), &net.UDPAddr{IP: server, Port: nclient4.ServerPort}); err != nil {
			break
		}
	}
	return err
}

// repeats is how often a message is sent that nobody answers, over a link that is new.
const (
	repeats     = 3
	repeatPause = 100 * time.Millisecond
)
