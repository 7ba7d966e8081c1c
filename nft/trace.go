package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Trace has the kernel tell the way of one packet, and of the answers to it, through all
// nftables chains of a network namespace. It needs two tables of its own, "seam-trace-" and
// the process's ID: one of inet and one of bridge. They hold a rule that marks the packet
// for nftrace, and empty chains where it passes last at each hook, which tell what it looked
// like there. Others' rules are not touched.
//
// The tables belong to the socket that made them, so that the kernel removes them with the
// process, however that ends; before 5.12 it cannot, and DropTraces removes what is left.
type Trace struct {
	conn   *conn
	listen *conn
	tables []table
}

// A Packet is what a packet's headers say.
type Packet struct {
	Protocol byte           // of IP: unix.IPPROTO_TCP, UDP, ICMP or ICMPV6
	From, To netip.AddrPort // of ICMP echoes, the port of both is the identifier
	Flags    byte           // of TCP's header, as they stand there

	// Neighbour says that it is none of the above, but asks for the hardware address that
	// such a packet is to be sent to, or answers that: ARP, or its like of IPv6.
	Neighbour bool
}

// Answer is the packet of the other direction.
func (p Packet) Answer() Packet { return Packet{Protocol: p.Protocol, From: p.To, To: p.From} }

func (p Packet) echo() bool {
	return p.Protocol == unix.IPPROTO_ICMP || p.Protocol == unix.IPPROTO_ICMPV6
}

const tracePrefix = "seam-trace-"

// OpenTrace has packets of p's headers and answers to them traced in the calling thread's
// namespace until Close.
func OpenTrace(p Packet) (*Trace, error) {
	c, err := dial()
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	t := &Trace{conn: c}
	for _, family := range []byte{unix.NFPROTO_INET, unix.NFPROTO_BRIDGE} {
		t.tables = append(t.tables, table{family, tracePrefix + strconv.Itoa(os.Getpid())})
	}
	if t.listen, err = dial(); err == nil {
		err = unix.SetsockoptInt(t.listen.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.NFNLGRP_NFTRACE)
	}
	if err == nil {
		err = t.set(p)
	}
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", errors.Join(err, t.Close()))
	}
	return t, nil
}

// set makes the tables. That of bridge is left out where the kernel has no such family.
func (t *Trace) set(p Packet) error {
	tracked, err := (&Table{conn: t.conn}).exists(inetSeam)
	if err != nil {
		return err
	}
	for _, l := range []layout{inetTrace(t.tables[0], p, tracked), bridgeTrace(t.tables[1], p)} {
		err := t.conn.commit(owned(l)...)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			err = t.conn.commit(l.messages()...) // before Linux 5.12
		}
		if err != nil && l.table.family == unix.NFPROTO_INET {
			return fmt.Errorf("table %s: %w", l.table, err)
		}
	}
	return nil
}

// owned are the messages of the layout with a table that goes with its socket.
func owned(l layout) []netlink.Message {
	const owner = 1 << 1 // NFT_TABLE_F_OWNER
	msgs := l.messages()
	msgs[0] = message(unix.NFT_MSG_NEWTABLE, l.table, netlink.Create, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TABLE_NAME, l.table.name)
		ae.Uint32(unix.NFTA_TABLE_FLAGS, owner)
	})
	return msgs
}

// Close ends the trace and removes its tables.
func (t *Trace) Close() error {
	var errs []error
	for _, which := range t.tables {
		if err := t.conn.commit(deleteTable(which)); !overtaken(err) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, t.conn.close())
	if t.listen != nil {
		errs = append(errs, t.listen.close())
	}
	return errors.Join(errs...)
}

func deleteTable(which table) netlink.Message {
	return message(unix.NFT_MSG_DELTABLE, which, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TABLE_NAME, which.name)
	})
}

// DropTraces removes the tables of traces whose process was killed, in the calling thread's
// namespace, and returns their names.
func DropTraces() (names []string, err error) {
	c, err := dial()
	if err != nil {
		return nil, fmt.Errorf("drop traces: %w", err)
	}
	defer c.close()
	var errs []error
	for _, family := range []byte{unix.NFPROTO_INET, unix.NFPROTO_BRIDGE} {
		messages, err := c.dump(message(unix.NFT_MSG_GETTABLE, table{family: family}, 0, func(*netlink.AttributeEncoder) {}))
		errs = append(errs, err)
		for _, m := range messages {
			which := table{family: family}
			errs = append(errs, attributes(m, func(ad *netlink.AttributeDecoder) {
				if ad.Type() == unix.NFTA_TABLE_NAME {
					which.name = ad.String()
				}
			}))
			if !deadTrace(which.name) {
				continue
			}
			if err := c.commit(deleteTable(which)); err != nil && !overtaken(err) {
				errs = append(errs, fmt.Errorf("drop trace %s: %w", which, err))
				continue
			}
			names = append(names, which.String())
		}
	}
	return names, errors.Join(errs...)
}

func deadTrace(name string) bool {
	digits, ours := strings.CutPrefix(name, tracePrefix)
	pid, err := strconv.Atoi(digits)
	return ours && err == nil && pid > 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}
