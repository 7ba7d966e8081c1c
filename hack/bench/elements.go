package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// An element is one that Seam put into its firewall for one attachment, as bytes:
// the floor puts the same for others, with their address, ports and tag.
type element struct {
	set            string
	key, data, tag []byte // contents of the attributes
}

const nftables = unix.NFNL_SUBSYS_NFTABLES << 8

// firewallTable is Seam's.
const firewallTable = "seam"

func nftMessage(kind, flags uint16) *message {
	return newMessage(nftables|kind, flags, []byte{unix.NFPROTO_INET, 0, 0, 0})
}

// elementsOf lists the elements whose comment holds tag.
func elementsOf(s *socket, tag string) ([]element, error) {
	ask := nftMessage(unix.NFT_MSG_GETSET, 0)
	ask.text(unix.NFTA_SET_TABLE, firewallTable)
	sets, err := s.dump(ask)
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	var found []element
	for _, body := range sets {
		name := string(bytes.TrimRight(attributes(body[4:])[unix.NFTA_SET_NAME], "\x00"))
		of, err := elementsOfSet(s, name, tag)
		if err != nil {
			return nil, fmt.Errorf("list set %s: %w", name, err)
		}
		found = append(found, of...)
	}
	return found, nil
}

func elementsOfSet(s *socket, set, tag string) ([]element, error) {
	ask := nftMessage(unix.NFT_MSG_GETSETELEM, 0)
	ask.text(unix.NFTA_SET_ELEM_LIST_TABLE, firewallTable)
	ask.text(unix.NFTA_SET_ELEM_LIST_SET, set)
	lists, err := s.dump(ask)
	if err != nil {
		return nil, err
	}
	var found []element
	for _, body := range lists {
		eachAttribute(attributes(body[4:])[unix.NFTA_SET_ELEM_LIST_ELEMENTS], func(_ uint16, value []byte) {
			a := attributes(value)
			e := element{set, a[unix.NFTA_SET_ELEM_KEY], a[unix.NFTA_SET_ELEM_DATA], a[unix.NFTA_SET_ELEM_USERDATA]}
			if bytes.Contains(e.tag, []byte(tag)) {
				found = append(found, e)
			}
		})
	}
	return found, nil
}

// identity is what differs between the elements of two attachments.
type identity struct {
	tag   string
	addr  netip.Addr
	ports []uint16
}

// translated returns the element with one attachment's identity in the place of
// another's. Tags, as all that is replaced, have one length.
func (e element) translated(from, to identity) element {
	replace := func(b []byte) []byte {
		b = bytes.ReplaceAll(b, from.addr.AsSlice(), to.addr.AsSlice())
		for i := range from.ports {
			b = bytes.ReplaceAll(b, port(from.ports[i]), port(to.ports[i]))
		}
		return b
	}
	return element{e.set, replace(e.key), replace(e.data), bytes.ReplaceAll(e.tag, []byte(from.tag), []byte(to.tag))}
}

func port(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

// transaction puts the elements into the kernel, or with NFT_MSG_DELSETELEM takes
// them out, all or none.
func transaction(s *socket, kind uint16, elements []element) error {
	mark := func(kind uint16) *message {
		return newMessage(kind, 0, binary.BigEndian.AppendUint16([]byte{0, 0}, unix.NFNL_SUBSYS_NFTABLES))
	}
	batch := []*message{mark(unix.NFNL_MSG_BATCH_BEGIN)}
	var flags uint16
	if kind == unix.NFT_MSG_NEWSETELEM {
		flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	for i, e := range elements {
		if i == len(elements)-1 {
			flags |= unix.NLM_F_ACK
		}
		batch = append(batch, e.message(kind, flags))
	}
	if err := s.send(append(batch, mark(unix.NFNL_MSG_BATCH_END))...); err != nil {
		return err
	}
	_, err := s.answer(s.seq - 1)
	return err
}

func (e element) message(kind, flags uint16) *message {
	m := nftMessage(kind, flags)
	m.text(unix.NFTA_SET_ELEM_LIST_TABLE, firewallTable)
	m.text(unix.NFTA_SET_ELEM_LIST_SET, e.set)
	m.nest(unix.NLA_F_NESTED|unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
		m.nest(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, func() {
			m.attr(unix.NLA_F_NESTED|unix.NFTA_SET_ELEM_KEY, e.key)
			if kind == unix.NFT_MSG_DELSETELEM {
				return
			}
			if e.data != nil {
				m.attr(unix.NLA_F_NESTED|unix.NFTA_SET_ELEM_DATA, e.data)
			}
			m.attr(unix.NFTA_SET_ELEM_USERDATA, e.tag)
		})
	})
	return m
}
