package trail

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/nft"
)

// prepareArrival opens what puts a packet in where it would arrive from outside.
func (w *walk) prepareArrival() (sender, nft.Packet, func(), error) {
	p := w.packet
	const firstPort, ports = 32768, 28232 // as the kernel chooses its own
	port := uint16(firstPort + rand.IntN(ports))
	p.From = netip.AddrPortFrom(p.From.Addr(), port)
	if isEcho(p) {
		p.To = netip.AddrPortFrom(p.To.Addr(), port)
	}
	at, err := w.host.Links.ByIndex(w.in)
	if err != nil {
		return nil, p, nil, err
	}
	arrival, err := w.host.Links.OpenArrival(at)
	if err != nil {
		return nil, p, nil, err
	}
	sequence, sent := rand.Uint32(), false
	send := func(ctx context.Context, wait time.Duration) (Outcome, string) {
		if err := arrival.Send(frame(at.MAC, p, syn, sequence)); err != nil {
			return NotSent, err.Error()
		}
		sent = true
		select {
		case <-ctx.Done():
		case <-time.After(wait / 2):
		}
		return NoAnswer, "" // what the trace sees of answers says more
	}
	stop := func() {
		if sent && p.Protocol == unix.IPPROTO_TCP { // let nobody wait for the rest of a connection
			w.note(arrival.Send(frame(at.MAC, p, rst, sequence+1)))
		}
		w.note(arrival.Close())
	}
	return send, p, stop, nil
}

// outcomeOfArrival says by the answers what became of a packet that was put in.
func (w *walk) outcomeOfArrival() {
	for _, e := range w.answers {
		p := e.Packet
		switch {
		case p == nil:
		case p.Protocol != unix.IPPROTO_TCP:
			w.way.Outcome = Answered
		case p.Flags&rst != 0:
			w.way.Outcome, w.way.Detail = Refused, unix.ECONNREFUSED.Error()
			return
		case p.Flags&syn != 0:
			w.way.Outcome, w.way.Detail = Connected, "as far as the answer to the first packet"
			return
		}
	}
}

// Flags of TCP's header.
const (
	syn = 1 << 1
	rst = 1 << 2
)

// frame is the packet with all headers, as a router would send it to the MAC address.
func frame(to net.HardwareAddr, p nft.Packet, flags byte, sequence uint32) []byte {
	from := []byte{2, 0, 0, 0, 0, 1}
	body := transport(p, flags, sequence)
	if p.To.Addr().Is4() {
		return slices.Concat(to, from, []byte{8, 0}, header4(p, len(body)), body)
	}
	return slices.Concat(to, from, []byte{0x86, 0xdd}, header6(p, len(body)), body)
}

const hops = 64

func header4(p nft.Packet, length int) []byte {
	b := make([]byte, 20)
	b[0] = 4<<4 | 5
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+length))
	binary.BigEndian.PutUint16(b[6:], 1<<14) // do not fragment
	b[8], b[9] = hops, p.Protocol
	copy(b[12:], p.From.Addr().AsSlice())
	copy(b[16:], p.To.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[10:], checksum(b, 0))
	return b
}

func header6(p nft.Packet, length int) []byte {
	b := make([]byte, 40)
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	b[6], b[7] = p.Protocol, hops
	copy(b[8:], p.From.Addr().AsSlice())
	copy(b[24:], p.To.Addr().AsSlice())
	return b
}

// transport is the packet behind the header of IP.
func transport(p nft.Packet, flags byte, sequence uint32) []byte {
	var b []byte
	sumAt := 16
	switch p.Protocol {
	case unix.IPPROTO_TCP:
		b = make([]byte, 20)
		binary.BigEndian.PutUint32(b[4:], sequence)
		b[12], b[13] = 5<<4, flags
		binary.BigEndian.PutUint16(b[14:], 65535)
	case unix.IPPROTO_UDP:
		b = make([]byte, 8)
		b[5], sumAt = 8, 6
	case unix.IPPROTO_ICMP:
		return echoRequest(p)
	default:
		b, sumAt = echoRequest(p), 2
	}
	if !isEcho(p) {
		binary.BigEndian.PutUint16(b, p.From.Port())
		binary.BigEndian.PutUint16(b[2:], p.To.Port())
	}
	// The sum covers addresses, length and protocol, too (RFC 9293, RFC 8200).
	pseudo := slices.Concat(p.From.Addr().AsSlice(), p.To.Addr().AsSlice(), []byte{0, byte(len(b)), 0, p.Protocol})
	binary.BigEndian.PutUint16(b[sumAt:], checksum(b, uint32(^checksum(pseudo, 0))))
	return b
}
