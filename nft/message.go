package nft

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message builds a request about something in a table.
func message(kind uint16, t table, flags netlink.HeaderFlags, attrs func(*netlink.AttributeEncoder)) netlink.Message {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	attrs(ae)
	body, err := ae.Encode()
	if err != nil {
		// Only an attribute of 64 KiB can do this, and all are bounded.
		panic("nft: encode: " + err.Error())
	}
	return netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind),
			Flags: netlink.Request | flags,
		},
		Data: append(header(t.family, 0), body...),
	}
}

// header is struct nfgenmsg.
func header(family byte, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, 0}, resource)
}

func newTable(t table) netlink.Message {
	return message(unix.NFT_MSG_NEWTABLE, t, netlink.Create, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TABLE_NAME, t.name)
		ae.Uint32(unix.NFTA_TABLE_FLAGS, 0)
	})
}

func getTable(t table) netlink.Message {
	return message(unix.NFT_MSG_GETTABLE, t, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TABLE_NAME, t.name)
	})
}

func newSet(s set, id uint32) netlink.Message {
	return message(unix.NFT_MSG_NEWSET, s.table, netlink.Create, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_SET_TABLE, s.table.name)
		ae.String(unix.NFTA_SET_NAME, s.name)
		number, length := concat(s.key)
		ae.Uint32(unix.NFTA_SET_KEY_TYPE, number)
		ae.Uint32(unix.NFTA_SET_KEY_LEN, uint32(length))
		ae.Uint32(unix.NFTA_SET_ID, id) // required, though nothing refers to it
		if slices.Equal(s.key, []datatype{typeIfname}) {
			// Else nft reads the name from its end.
			const keyByteOrder, hostEndian = 0, 1
			ae.Bytes(unix.NFTA_SET_USERDATA, append([]byte{keyByteOrder, 4}, native(hostEndian)...))
		}
		if s.value == nil {
			return
		}
		ae.Uint32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP)
		number, length = concat(s.value)
		ae.Uint32(unix.NFTA_SET_DATA_TYPE, number)
		ae.Uint32(unix.NFTA_SET_DATA_LEN, uint32(length))
	})
}

// Verdicts of netfilter as policies, which the library lacks.
const (
	policyDrop   = 0 // NF_DROP
	policyAccept = 1 // NF_ACCEPT
)

func newChain(c chain) netlink.Message {
	return createChain(c, 0)
}

// createChain is newChain with more flags, such as netlink.Excl.
func createChain(c chain, flags netlink.HeaderFlags) netlink.Message {
	return message(unix.NFT_MSG_NEWCHAIN, c.table, netlink.Create|flags, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, c.table.name)
		ae.String(unix.NFTA_CHAIN_NAME, c.name)
		if c.hook == nil {
			return
		}
		ae.Nested(unix.NFTA_CHAIN_HOOK, func(ae *netlink.AttributeEncoder) error {
			ae.Uint32(unix.NFTA_HOOK_HOOKNUM, c.hook.number)
			ae.Int32(unix.NFTA_HOOK_PRIORITY, c.hook.priority)
			return nil
		})
		ae.Uint32(unix.NFTA_CHAIN_POLICY, policyAccept)
		ae.String(unix.NFTA_CHAIN_TYPE, c.hook.kind)
	})
}

// aboutChain is a request that names a chain, for rules the chain they are in.
func aboutChain(kind uint16, c chain) netlink.Message {
	return message(kind, c.table, 0, func(ae *netlink.AttributeEncoder) {
		if kind == unix.NFT_MSG_DELRULE {
			ae.String(unix.NFTA_RULE_TABLE, c.table.name)
			ae.String(unix.NFTA_RULE_CHAIN, c.name)
			return
		}
		ae.String(unix.NFTA_CHAIN_TABLE, c.table.name)
		ae.String(unix.NFTA_CHAIN_NAME, c.name)
	})
}

func getChain(c chain) netlink.Message    { return aboutChain(unix.NFT_MSG_GETCHAIN, c) }
func deleteChain(c chain) netlink.Message { return aboutChain(unix.NFT_MSG_DELCHAIN, c) }
func flushChain(c chain) netlink.Message  { return aboutChain(unix.NFT_MSG_DELRULE, c) }

// addRule puts the rule on top of the chain or, with netlink.Append, at its end.
func addRule(c chain, r rule, where netlink.HeaderFlags) netlink.Message {
	return message(unix.NFT_MSG_NEWRULE, c.table, netlink.Create|where, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, c.table.name)
		ae.String(unix.NFTA_RULE_CHAIN, c.name)
		ae.Nested(unix.NFTA_RULE_EXPRESSIONS, func(ae *netlink.AttributeEncoder) error {
			for _, e := range r.exprs {
				b, err := expr.Marshal(c.table.family, e)
				if err != nil {
					return err
				}
				ae.Bytes(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, b)
			}
			return nil
		})
		if r.text != "" {
			ae.Bytes(unix.NFTA_RULE_USERDATA, r.id())
		}
	})
}

func deleteRule(c chain, handle uint64) netlink.Message {
	return message(unix.NFT_MSG_DELRULE, c.table, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, c.table.name)
		ae.String(unix.NFTA_RULE_CHAIN, c.name)
		ae.Uint64(unix.NFTA_RULE_HANDLE, handle)
	})
}

// whole makes the chain and sets its rules, whatever is there.
func whole(c chain) []netlink.Message {
	msgs := []netlink.Message{newChain(c), flushChain(c)}
	for _, r := range c.rules {
		msgs = append(msgs, addRule(c, r, netlink.Append))
	}
	return msgs
}

// messages make the layout's table, sets and chains, and set the rules of these,
// whatever is there.
func (l layout) messages() []netlink.Message {
	msgs := []netlink.Message{newTable(l.table)}
	for i, s := range l.sets {
		msgs = append(msgs, newSet(s, uint32(i+1)))
	}
	for _, c := range l.chains {
		msgs = append(msgs, newChain(c)) // all first: rules of one lead to another
	}
	for _, c := range l.chains {
		msgs = append(msgs, whole(c)...)
	}
	return msgs
}

// mostElements fit into one attribute of 64 KiB with the longest of comments.
const mostElements = 200

// setElements are the requests about entries, in as few messages as can be.
func setElements(kind uint16, flags netlink.HeaderFlags, entries []entry, comment string) []netlink.Message {
	var msgs []netlink.Message
	for s, own := range bySet(entries) {
		for some := range slices.Chunk(own, mostElements) {
			msgs = append(msgs, message(kind, s.table, flags, func(ae *netlink.AttributeEncoder) {
				ae.String(unix.NFTA_SET_ELEM_LIST_TABLE, s.table.name)
				ae.String(unix.NFTA_SET_ELEM_LIST_SET, s.name)
				ae.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(ae *netlink.AttributeEncoder) error {
					for _, e := range some {
						ae.Nested(unix.NFTA_LIST_ELEM, e.encode(kind == unix.NFT_MSG_NEWSETELEM, comment))
					}
					return nil
				})
			}))
		}
	}
	return msgs
}

// encode writes the key and, if full, what belongs to it.
func (e entry) encode(full bool, comment string) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		ae.Nested(unix.NFTA_SET_ELEM_KEY, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(unix.NFTA_DATA_VALUE, e.key)
			return nil
		})
		if !full {
			return nil
		}
		if e.data != nil || e.chain != nil {
			ae.Nested(unix.NFTA_SET_ELEM_DATA, e.encodeData)
		}
		ae.Bytes(unix.NFTA_SET_ELEM_USERDATA, encodeComment(comment))
		return nil
	}
}

func (e entry) encodeData(ae *netlink.AttributeEncoder) error {
	if e.chain == nil {
		ae.Bytes(unix.NFTA_DATA_VALUE, e.data)
		return nil
	}
	ae.Nested(unix.NFTA_DATA_VERDICT, func(ae *netlink.AttributeEncoder) error {
		ae.Int32(unix.NFTA_VERDICT_CODE, int32(e.verdict))
		ae.String(unix.NFTA_VERDICT_CHAIN, e.chain.name)
		return nil
	})
	return nil
}

// User data are records of type, length and value; nft's comments of elements and
// of rules have type 0 and end in a zero byte.
func encodeComment(s string) []byte {
	return append([]byte{0, byte(len(s) + 1)}, s+"\x00"...)
}
