package link

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A socket is a netlink socket of the namespace that it was opened in.
//
// The kernel works on a request while it is being sent: when that returns, the answer is
// there to be read. So nothing is ever waited for, and the socket stays out of the Go
// runtime's poller, which would wake a thread for each answer.
type socket struct {
	fd     int
	buffer []byte // the kernel's answer on one link takes 2 KiB, and more with virtual functions
}

const bufferSize = 1 << 16

// dial opens a socket in the calling thread's namespace.
func dial() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	// Reasons in words: kernels before 4.12 give none.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return &socket{fd: fd, buffer: make([]byte, bufferSize)}, nil
}

func (s *socket) close() error { return unix.Close(s.fd) }

// ask sends a request that has one answer, and returns what that holds; the answer to
// one with NLM_F_ACK holds nothing.
func (s *socket) ask(req *nl.NetlinkRequest) ([]byte, error) {
	if err := s.send(req.Serialize()); err != nil {
		return nil, err
	}
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buffer, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint32(s.buffer[8:]) != req.Seq {
			return nil, fmt.Errorf("an answer of %d bytes to another request: %w", n, unix.EBADMSG)
		}
		data := s.buffer[unix.NLMSG_HDRLEN:n]
		if binary.NativeEndian.Uint16(s.buffer[4:]) != unix.NLMSG_ERROR {
			return slices.Clone(data), nil
		}
		if errno := binary.NativeEndian.Uint32(data); errno != 0 {
			return nil, refused(unix.Errno(-int32(errno)), binary.NativeEndian.Uint16(s.buffer[6:]), data[4:])
		}
		return nil, nil
	}
}

// refused returns the error of an answer: its errno and, if the kernel gives one, the
// reason. What follows the errno is the request's header, and then attributes.
func refused(errno unix.Errno, flags uint16, rest []byte) error {
	const wanted = unix.NLM_F_CAPPED | unix.NLM_F_ACK_TLVS
	if flags&wanted != wanted || len(rest) < unix.NLMSG_HDRLEN {
		return errno
	}
	if reason := parseReason(rest[unix.NLMSG_HDRLEN:]); reason != "" {
		return refusal{errno, reason}
	}
	return errno
}

// parseReason returns the reason among an answer's attributes, "" if there is none. It
// stands in for nl.ParseRouteAttr, which panics where the last attribute is not padded.
func parseReason(attrs []byte) string {
	for len(attrs) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(attrs))
		if size < unix.SizeofRtAttr || size > len(attrs) {
			return ""
		}
		if binary.NativeEndian.Uint16(attrs[2:]) == unix.NLMSGERR_ATTR_MSG {
			return unix.ByteSliceToString(attrs[unix.SizeofRtAttr:size])
		}
		padded := (size + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1)
		attrs = attrs[min(padded, len(attrs)):]
	}
	return ""
}

func (s *socket) send(request []byte) error {
	for {
		err := unix.Sendto(s.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return err
		}
	}
}
