package bridge_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/seamnet/seam/netns"
	"golang.org/x/sys/unix"
)

type sniffer struct{ fd int }

func sniff(t *testing.T, ns *netns.Namespace) *sniffer {
	s := &sniffer{}
	open := func() (err error) {
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, 0x0300)
		if err == nil {
			err = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
			unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
		}
		return err
	}
	var err error
	if ns == nil {
		err = open()
	} else {
		err = ns.Do(open)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sniffer) drain() string {
	var b strings.Builder
	buf := make([]byte, 2048)
	oob := make([]byte, 256)
	for {
		n, oobn, _, from, err := unix.Recvmsg(s.fd, buf, oob, 0)
		if err != nil {
			return b.String()
		}
		var ts string
		cm, _ := unix.ParseSocketControlMessage(oob[:oobn])
		for _, m := range cm {
			if m.Header.Type == unix.SO_TIMESTAMPNS {
				v := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
				ts = time.Unix(v.Unix()).Format("05.000000")
			}
		}
		ll := from.(*unix.SockaddrLinklayer)
		p := buf[:n]
		what := ""
		switch {
		case p[12] == 0x86:
			src, _ := netip.AddrFromSlice(p[22:38])
			dst, _ := netip.AddrFromSlice(p[38:54])
			what = fmt.Sprintf("%s > %s nh %d", src, dst, p[20])
			if p[20] == 58 {
				what += fmt.Sprintf(" icmp6 %d", p[54])
			}
			if p[20] == 6 {
				what += fmt.Sprintf(" tcp flags %x", p[54+13])
			}
		case p[12] == 8 && p[13] == 6:
			what = fmt.Sprintf("arp op %d %v %v", p[21], p[28:32], p[38:42])
		default:
			what = fmt.Sprintf("ip4 %v > %v", p[26:30], p[30:34])
		}
		fmt.Fprintf(&b, "   %s if%d type %d %x>%x %s\n", ts, ll.Ifindex, ll.Pkttype, p[6:12], p[0:6], what)
	}
}
