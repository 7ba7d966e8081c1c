package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A message is a netlink request in the kernel's own bytes.
type message struct{ b []byte }

const headerLength = unix.SizeofNlMsghdr

// newMessage begins a request with its fixed part; attributes follow.
func newMessage(kind, flags uint16, fixed []byte) *message {
	m := &message{make([]byte, headerLength, 512)}
	binary.NativeEndian.PutUint16(m.b[4:], kind)
	binary.NativeEndian.PutUint16(m.b[6:], flags|unix.NLM_F_REQUEST)
	m.b = append(m.b, fixed...)
	return m
}

func (m *message) attr(kind uint16, value []byte) {
	m.nest(kind, func() { m.b = append(m.b, value...) })
}

func (m *message) text(kind uint16, s string) { m.attr(kind, append([]byte(s), 0)) }

func (m *message) number(kind uint16, n uint32) {
	m.attr(kind, binary.NativeEndian.AppendUint32(nil, n))
}

// nest begins an attribute, lets inner write what is in it, and ends it.
func (m *message) nest(kind uint16, inner func()) {
	at := len(m.b)
	m.b = binary.NativeEndian.AppendUint16(m.b, 0)
	m.b = binary.NativeEndian.AppendUint16(m.b, kind)
	inner()
	binary.NativeEndian.PutUint16(m.b[at:], uint16(len(m.b)-at))
	for len(m.b)%unix.NLMSG_ALIGNTO != 0 {
		m.b = append(m.b, 0)
	}
}

// linkMessage is a request about the link of that index; 0: named by an attribute.
func linkMessage(kind, flags uint16, index int32, up bool) *message {
	return newMessage(kind, flags, ifinfo(index, up))
}

// ifinfo is struct ifinfomsg.
func ifinfo(index int32, up bool) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	if up {
		binary.NativeEndian.PutUint32(b[8:], unix.IFF_UP)
		binary.NativeEndian.PutUint32(b[12:], unix.IFF_UP)
	}
	return b
}

// A socket is a netlink socket of the namespace where it was opened. It is for one
// goroutine at a time.
type socket struct {
	fd  int
	seq uint32
	in  []byte
}

func dial(protocol int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	// An error's answer then leaves the request out.
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &socket{fd: fd, in: make([]byte, 64<<10)}, nil
}

func (s *socket) close() { unix.Close(s.fd) }

// do sends one request and waits for the kernel to have carried it out.
func (s *socket) do(m *message) error {
	m.b[6] |= unix.NLM_F_ACK
	if err := s.send(m); err != nil {
		return err
	}
	_, err := s.answer(s.seq)
	return err
}

// ask returns the one answer to a request, without its header.
func (s *socket) ask(m *message) ([]byte, error) {
	if err := s.send(m); err != nil {
		return nil, err
	}
	return s.answer(s.seq)
}

// send sends the messages at once and numbers them; the last has number s.seq.
func (s *socket) send(messages ...*message) error {
	var out []byte
	for _, m := range messages {
		s.seq++
		binary.NativeEndian.PutUint32(m.b, uint32(len(m.b)))
		binary.NativeEndian.PutUint32(m.b[8:], s.seq)
		if out == nil && len(messages) == 1 {
			out = m.b
		} else {
			out = append(out, m.b...)
		}
	}
	return unix.Sendto(s.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// answer returns what the kernel says to the request with number seq. An error said
// to an earlier one of the same batch comes first.
func (s *socket) answer(seq uint32) ([]byte, error) {
	for {
		list, err := s.receive()
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			if err := a.err(); err != nil || a.seq == seq {
				return a.body, err
			}
		}
	}
}

// dump returns all answers to a request for a list, without their headers.
func (s *socket) dump(m *message) ([][]byte, error) {
	binary.NativeEndian.PutUint16(m.b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := s.send(m); err != nil {
		return nil, err
	}
	var bodies [][]byte
	for {
		list, err := s.receive()
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			if err := a.err(); err != nil || a.kind == unix.NLMSG_DONE {
				return bodies, err
			}
			bodies = append(bodies, append([]byte(nil), a.body...))
		}
	}
}

type answer struct {
	kind uint16
	seq  uint32
	body []byte
}

func (a answer) err() error {
	if a.kind != unix.NLMSG_ERROR || len(a.body) < 4 {
		return nil
	}
	if errno := -int32(binary.NativeEndian.Uint32(a.body)); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

func (s *socket) receive() ([]answer, error) {
	n, _, err := unix.Recvfrom(s.fd, s.in, 0)
	if err != nil {
		return nil, err
	}
	var list []answer
	for b := s.in[:n]; len(b) >= headerLength; {
		length := int(binary.NativeEndian.Uint32(b))
		if length < headerLength || length > len(b) {
			return nil, errors.New("netlink: answer cut short")
		}
		list = append(list, answer{binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[headerLength:length]})
		b = b[min(aligned(length), len(b)):]
	}
	return list, nil
}

func aligned(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// attributes returns the values by kind; of several of one kind, the last.
func attributes(b []byte) map[uint16][]byte {
	found := make(map[uint16][]byte)
	eachAttribute(b, func(kind uint16, value []byte) { found[kind] = value })
	return found
}

func eachAttribute(b []byte, f func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED, b[unix.SizeofNlAttr:length])
		b = b[min(aligned(length), len(b)):]
	}
}
