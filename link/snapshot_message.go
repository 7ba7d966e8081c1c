package link

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// dump asks for all that the namespace has of something, as the kernel describes it: the
// messages without their netlink headers. It is for namespaces of few things.
func (h *Handle) dump(kind int, data ...nl.NetlinkRequestData) ([][]byte, error) {
	return retry(func() ([][]byte, error) {
		s, err := h.take()
		if err != nil {
			return nil, err
		}
		req := nl.NewNetlinkRequest(kind, unix.NLM_F_DUMP)
		for _, d := range data {
			req.AddData(d)
		}
		messages, whole, err := s.dump(req)
		if whole {
			h.giveBack(s)
		} else {
			s.close()
		}
		return messages, err
	})
}

// dump sends a request that has many answers; whole says that all of them were read, so
// that the socket can be used again.
func (s *socket) dump(req *nl.NetlinkRequest) (messages [][]byte, whole bool, err error) {
	if err := s.send(req.Serialize()); err != nil {
		return nil, true, err
	}
	var interrupted error
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buffer, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		for rest := s.buffer[:n]; len(rest) >= unix.NLMSG_HDRLEN; {
			size := int(binary.NativeEndian.Uint32(rest))
			if size < unix.NLMSG_HDRLEN || size > len(rest) || binary.NativeEndian.Uint32(rest[8:]) != req.Seq {
				return nil, false, fmt.Errorf("an answer of %d bytes to another request: %w", n, unix.EBADMSG)
			}
			data := rest[unix.NLMSG_HDRLEN:size]
			if binary.NativeEndian.Uint16(rest[6:])&unix.NLM_F_DUMP_INTR != 0 {
				interrupted = netlink.ErrDumpInterrupted
			}
			switch binary.NativeEndian.Uint16(rest[4:]) {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if len(data) >= 4 && binary.NativeEndian.Uint32(data) != 0 {
					return nil, true, unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
				}
				return messages, true, interrupted
			}
			messages = append(messages, slices.Clone(data))
			rest = rest[min(aligned(size), len(rest)):]
		}
	}
}

func aligned(size int) int { return (size + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// A message is one that the kernel sent, in its parts: what is not understood is kept.
type message struct {
	header []byte
	attributes
}

// parseMessage takes apart a copy of a message whose header has that size.
func parseMessage(raw []byte, header int) (message, error) {
	if len(raw) < header {
		return message{}, fmt.Errorf("a message of %d bytes: %w", len(raw), unix.EBADMSG)
	}
	raw = slices.Clone(raw)
	attrs, err := parseAttributes(raw[header:])
	return message{raw[:header], attrs}, err
}

// Len and Serialize make it one to be sent.
func (m message) Len() int          { return len(m.Serialize()) }
func (m message) Serialize() []byte { return m.appendTo(slices.Clone(m.header)) }

func (m message) number(offset int) uint32 { return binary.NativeEndian.Uint32(m.header[offset:]) }
func (m message) setNumber(offset int, n uint32) {
	binary.NativeEndian.PutUint32(m.header[offset:], n)
}

// attributes are a message's, or those within one, in their order.
type attributes []attribute

type attribute struct {
	kind  uint16 // with the flags that it had
	value []byte
}

func (a attribute) is(kind int) bool {
	return int(a.kind&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)) == kind
}

func parseAttributes(raw []byte) (attributes, error) {
	var attrs attributes
	for len(raw) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(raw))
		if size < unix.SizeofRtAttr || size > len(raw) {
			return nil, fmt.Errorf("an attribute of %d bytes in %d: %w", size, len(raw), unix.EBADMSG)
		}
		attrs = append(attrs, attribute{binary.NativeEndian.Uint16(raw[2:]), raw[unix.SizeofRtAttr:size:size]})
		raw = raw[min(aligned(size), len(raw)):]
	}
	return attrs, nil
}

func (as attributes) appendTo(b []byte) []byte {
	for _, a := range as {
		b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(a.value)))
		b = binary.NativeEndian.AppendUint16(b, a.kind)
		b = append(b, a.value...)
		for len(b)%unix.RTA_ALIGNTO != 0 {
			b = append(b, 0)
		}
	}
	return b
}

// get returns the value of the first attribute of that kind, nil if there is none.
func (as attributes) get(kind int) []byte {
	for _, a := range as {
		if a.is(kind) {
			return a.value
		}
	}
	return nil
}

func (as attributes) has(kind int) bool {
	return slices.ContainsFunc(as, func(a attribute) bool { return a.is(kind) })
}

// text returns an attribute that is a name.
func (as attributes) text(kind int) string { return unix.ByteSliceToString(as.get(kind)) }

// number returns an attribute that is a number of 32 bits; false: there is none.
func (as attributes) uint32(kind int) (uint32, bool) {
	v := as.get(kind)
	if len(v) < 4 {
		return 0, false
	}
	return binary.NativeEndian.Uint32(v), true
}

// set gives the attributes of that kind another value.
func (as attributes) set(kind int, value []byte) {
	for i := range as {
		if as[i].is(kind) {
			as[i].value = value
		}
	}
}

// without returns the attributes but those of these kinds.
func (as attributes) without(kinds ...int) attributes {
	return slices.DeleteFunc(slices.Clone(as), func(a attribute) bool {
		return slices.ContainsFunc(kinds, a.is)
	})
}
