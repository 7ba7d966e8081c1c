package nft

import (
	"encoding/binary"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nfgenmsg is the length of the header before the attributes.
const nfgenmsg = 4

// attributes calls f at each attribute of an answer.
func attributes(m netlink.Message, f func(*netlink.AttributeDecoder)) error {
	if len(m.Data) < nfgenmsg {
		return unix.EBADMSG
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[nfgenmsg:])
	if err != nil {
		return err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		f(ad)
	}
	return ad.Err()
}

// each makes a function for AttributeDecoder.Nested.
func each(f func(*netlink.AttributeDecoder)) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			f(ad)
		}
		return nil
	}
}

// A heldChain is a chain in the kernel.
type heldChain struct {
	table  string
	name   string
	uses   int // its rules and the jumps to it
	base   bool
	policy uint32
}

func parseChain(m netlink.Message) (c heldChain, err error) {
	err = attributes(m, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_CHAIN_TABLE:
			c.table = ad.String()
		case unix.NFTA_CHAIN_NAME:
			c.name = ad.String()
		case unix.NFTA_CHAIN_USE:
			c.uses = int(ad.Uint32())
		case unix.NFTA_CHAIN_HOOK:
			c.base = true
		case unix.NFTA_CHAIN_POLICY:
			c.policy = ad.Uint32()
		}
	})
	return c, err
}

// A heldRule is a rule in the kernel.
type heldRule struct {
	chain    string
	handle   uint64
	userdata string
	target   string // the chain that an immediate verdict leads to
}

func parseRule(m netlink.Message) (r heldRule, err error) {
	err = attributes(m, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_RULE_CHAIN:
			r.chain = ad.String()
		case unix.NFTA_RULE_HANDLE:
			r.handle = ad.Uint64()
		case unix.NFTA_RULE_USERDATA:
			r.userdata = string(ad.Bytes())
		case unix.NFTA_RULE_EXPRESSIONS:
			ad.Nested(each(func(ad *netlink.AttributeDecoder) {
				if target := jumpTarget(ad); target != "" {
					r.target = target
				}
			}))
		}
	})
	return r, err
}

// jumpTarget returns the chain that an expression of type immediate leads to.
func jumpTarget(ad *netlink.AttributeDecoder) (chain string) {
	var name string
	ad.Nested(each(func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_EXPR_NAME:
			name = ad.String()
		case unix.NFTA_EXPR_DATA:
			if name != "immediate" {
				return
			}
			ad.Nested(each(func(ad *netlink.AttributeDecoder) {
				if ad.Type() == unix.NFTA_IMMEDIATE_DATA {
					_, _, chain = parseData(ad)
				}
			}))
		}
	}))
	return chain
}

// A heldElement is an element in the kernel.
type heldElement struct {
	key     []byte
	data    []byte
	verdict expr.VerdictKind
	chain   string
	comment string
}

// is reports whether e in the kernel is what it should be.
func (h heldElement) is(e entry) bool {
	if e.chain != nil {
		return h.chain == e.chain.name && h.verdict == e.verdict
	}
	return string(h.data) == string(e.data)
}

func parseElements(m netlink.Message) (list []heldElement, err error) {
	err = attributes(m, func(ad *netlink.AttributeDecoder) {
		if ad.Type() == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			ad.Nested(each(func(ad *netlink.AttributeDecoder) { list = append(list, parseElement(ad)) }))
		}
	})
	return list, err
}

func parseElement(ad *netlink.AttributeDecoder) (h heldElement) {
	ad.Nested(each(func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_SET_ELEM_KEY:
			h.key, _, _ = parseData(ad)
		case unix.NFTA_SET_ELEM_DATA:
			h.data, h.verdict, h.chain = parseData(ad)
		case unix.NFTA_SET_ELEM_USERDATA:
			h.comment = parseComment(ad.Bytes())
		}
	}))
	return h
}

// parseData reads a value, or a verdict and the chain it leads to.
func parseData(ad *netlink.AttributeDecoder) (value []byte, kind expr.VerdictKind, chain string) {
	ad.Nested(each(func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_DATA_VALUE:
			value = ad.Bytes()
		case unix.NFTA_DATA_VERDICT:
			ad.Nested(each(func(ad *netlink.AttributeDecoder) {
				switch ad.Type() {
				case unix.NFTA_VERDICT_CODE:
					kind = expr.VerdictKind(ad.Int32())
				case unix.NFTA_VERDICT_CHAIN:
					chain = ad.String()
				}
			}))
		}
	}))
	return value, kind, chain
}

// parseComment returns the comment in user data, "" if there is none.
func parseComment(b []byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == 0 {
			return strings.TrimSuffix(string(b[2:2+int(b[1])]), "\x00")
		}
		b = b[2+int(b[1]):]
	}
	return ""
}
