package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// bufferSize is of the socket, both ways, as far as the kernel grants it.
const bufferSize = 1 << 20

// A conn is a netlink socket that stays in the namespace where it was opened. Its
// caller sees to it that one call follows another.
//
// The kernel works on nftables requests while they are being sent: when send
// returns, all answers are there to be read, and that there is none is an answer
// too. So nothing is ever waited for, and the socket stays out of the Go runtime's
// poller, which would wake a thread for each answer.
type conn struct {
	fd       int
	sequence uint32
	buffer   []byte // for one datagram; the kernel makes none longer than 32 KiB
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, explain(err)
	}
	// The room is only wanted for long lists, the message only for its words.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bufferSize)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, explain(err)
	}
	return &conn{fd: fd, buffer: make([]byte, 1<<16)}, nil
}

func (c *conn) close() error { return unix.Close(c.fd) }

// An answer is what the kernel said to one request.
type answer struct {
	msg netlink.Message
	err error
}

// ask sends requests that each have one answer, and returns these in order.
func (c *conn) ask(requests ...netlink.Message) ([]answer, error) {
	if len(requests) == 0 {
		return nil, nil
	}
	if err := c.send(requests); err != nil {
		return nil, err
	}
	answers, err := c.receive()
	if err == nil && len(answers) != len(requests) {
		err = fmt.Errorf("%d answers to %d requests", len(answers), len(requests))
	}
	return answers, err
}

// commit runs messages as one transaction: all of them or none. The kernel says
// nothing to one that is well; the error is the first that it names.
func (c *conn) commit(messages ...netlink.Message) error {
	if len(messages) == 0 {
		return nil
	}
	batch := slices.Concat([]netlink.Message{batchMark(unix.NFNL_MSG_BATCH_BEGIN)}, messages,
		[]netlink.Message{batchMark(unix.NFNL_MSG_BATCH_END)})
	if err := c.send(batch); err != nil {
		return err
	}
	answers, err := c.receive()
	for _, a := range answers {
		if a.err != nil && err == nil {
			err = a.err
		}
	}
	return err
}

// dump asks for all of something, again if it changed meanwhile.
func (c *conn) dump(request netlink.Message) ([]netlink.Message, error) {
	request.Header.Flags |= netlink.Dump
	for attempt := 0; ; attempt++ {
		messages, err := c.dumpOnce(request)
		if !errors.Is(err, unix.EINTR) || attempt == 8 {
			return messages, err
		}
	}
}

func (c *conn) dumpOnce(request netlink.Message) ([]netlink.Message, error) {
	if err := c.send([]netlink.Message{request}); err != nil {
		return nil, err
	}
	answers, err := c.receive()
	if err != nil {
		return nil, err
	}
	messages := make([]netlink.Message, 0, len(answers))
	for _, a := range answers {
		switch {
		case a.err != nil:
			return nil, a.err
		case a.msg.Header.Flags&netlink.DumpInterrupted != 0:
			return nil, unix.EINTR
		case a.msg.Header.Type != netlink.Done:
			messages = append(messages, a.msg)
		}
	}
	return messages, nil
}

func batchMark(kind netlink.HeaderType) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request},
		Data:   header(0, unix.NFNL_SUBSYS_NFTABLES),
	}
}

func (c *conn) send(messages []netlink.Message) error {
	var b []byte
	for _, m := range messages {
		c.sequence++
		m.Header.Sequence = c.sequence
		m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data)) // attributes are padded already
		encoded, err := m.MarshalBinary()
		if err != nil {
			return err
		}
		b = append(b, encoded...)
	}
	for {
		err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return explain(err)
		}
	}
}

// receive returns all answers that are there.
func (c *conn) receive() ([]answer, error) {
	var answers []answer
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buffer, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN:
			return answers, nil
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, explain(err)
		}
		some, err := parseAnswers(c.buffer[:n])
		if err != nil {
			return nil, err
		}
		answers = append(answers, some...)
	}
}

// parseAnswers splits a datagram into its messages.
func parseAnswers(b []byte) ([]answer, error) {
	var answers []answer
	for len(b) >= unix.NLMSG_HDRLEN {
		length := int(binary.NativeEndian.Uint32(b))
		aligned := (length + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
		if length < unix.NLMSG_HDRLEN || aligned > len(b) {
			return nil, fmt.Errorf("an answer of %d bytes in %d: %w", length, len(b), unix.EBADMSG)
		}
		var a answer
		if err := a.msg.UnmarshalBinary(slices.Clone(b[:aligned])); err != nil {
			return nil, err
		}
		a.err = kernelError(a.msg)
		answers = append(answers, a)
		b = b[aligned:]
	}
	return answers, nil
}

// kernelError returns what an answer of type error, or the end of a dump, says.
func kernelError(m netlink.Message) error {
	if m.Header.Type != netlink.Error && m.Header.Type != netlink.Done || len(m.Data) < 4 {
		return nil
	}
	errno := -int32(binary.NativeEndian.Uint32(m.Data))
	if errno == 0 {
		return nil
	}
	err := explain(unix.Errno(errno))
	// With capped acknowledgements only the header of the request stands before the
	// attributes.
	const attributes = 4 + unix.NLMSG_HDRLEN
	if m.Header.Flags&netlink.AcknowledgeTLVs == 0 || len(m.Data) < attributes {
		return err
	}
	ad, bad := netlink.NewAttributeDecoder(m.Data[attributes:])
	for bad == nil && ad.Next() {
		if ad.Type() == unix.NLMSGERR_ATTR_MSG {
			err = fmt.Errorf("%w (%s)", err, ad.String())
		}
	}
	return err
}

// explain adds what to do. The errors for what is missing and what is there
// already match fs.ErrNotExist and fs.ErrExist by themselves.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: needs CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%w: this kernel has no nftables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET)", err)
	}
	return err
}
