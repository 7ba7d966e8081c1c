package nft

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A rule is what nft prints and what the kernel runs. The two are written side by
// side; a test compares them through nft itself.
type rule struct {
	text  string
	exprs []expr.Any
}

func newRule(text string, parts ...[]expr.Any) rule {
	return rule{text, slices.Concat(parts...)}
}

// Registers by the kernel's numbers. A value takes 16 bytes when it stands alone,
// and each part of a concatenation is padded to 4.
const (
	reg1 = unix.NFT_REG_1
	// After an address in reg1 comes the next free word.
	afterIPv4  = unix.NFT_REG32_01
	afterIPv6  = unix.NFT_REG32_04
	afterProto = unix.NFT_REG32_01
	// After an interface's name, too.
	afterIfname = unix.NFT_REG32_04
)

const (
	ctStatusDNAT = 1 << 5 // IPS_DST_NAT
	fibLocal     = unix.RTN_LOCAL
)

func equal(data []byte) expr.Any    { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data} }
func notEqual(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: data} }

func native(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

// isFamily matches packets of one family: what "ip saddr" implies in an inet table.
func (f family) isFamily() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg1}, equal([]byte{f.number})}
}

func (f family) load(offset, register uint32) expr.Any {
	return &expr.Payload{
		OperationType: expr.PayloadLoad,
		DestRegister:  register,
		Base:          expr.PayloadBaseNetworkHeader,
		Offset:        offset,
		Len:           f.length,
	}
}

// within matches the address at offset of the network header.
func (f family) within(offset uint32, p netip.Prefix) []expr.Any {
	if p.Bits() == 0 {
		return f.isFamily()
	}
	return slices.Concat(f.isFamily(), f.network(offset, p), []expr.Any{equal(p.Addr().AsSlice())})
}

// network loads the address at offset as far as p is long.
func (f family) network(offset uint32, p netip.Prefix) []expr.Any {
	load := []expr.Any{f.load(offset, reg1)}
	if p.IsSingleIP() {
		return load
	}
	return append(load, &expr.Bitwise{
		SourceRegister: reg1, DestRegister: reg1, Len: f.length,
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		Xor:  make([]byte, f.length),
	})
}

// is matches address a at offset of the network header.
func (f family) is(offset uint32, a netip.Addr) []expr.Any {
	return append(f.isFamily(), f.load(offset, reg1), equal(a.AsSlice()))
}

// loadProtoPort loads "meta l4proto . th dport" into registers of a word each.
func loadProtoPort(proto, port uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: proto},
		&expr.Payload{
			OperationType: expr.PayloadLoad,
			DestRegister:  port,
			Base:          expr.PayloadBaseTransportHeader,
			Offset:        2,
			Len:           2,
		},
	}
}

// bits loads conntrack's key and matches if any of the bits is set, or none.
func bits(key expr.CtKey, mask uint32, set bool) []expr.Any {
	compare := equal(native(0))
	if set {
		compare = notEqual(native(0))
	}
	return []expr.Any{
		&expr.Ct{Key: key, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(mask), Xor: native(0)},
		compare,
	}
}

// lookup finds the value of reg1 in a set.
func lookup(s set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg1, SetName: s.name}}
}

func notIn(s set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg1, SetName: s.name, Invert: true}}
}

// vmap goes where the map's verdict for the value of reg1 says.
func vmap(s set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg1, SetName: s.name, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT}}
}

// dnatMap sends the packet to the address and port that the map has for reg1.
func (f family) dnatMap(s set) []expr.Any {
	port := uint32(afterIPv4)
	if f.length == 16 {
		port = afterIPv6
	}
	return []expr.Any{
		&expr.Lookup{SourceRegister: reg1, SetName: s.name, IsDestRegSet: true, DestRegister: reg1},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.number), RegAddrMin: reg1, RegProtoMin: port},
	}
}

// daddrLocal matches what is addressed to the host itself.
func daddrLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg1, FlagDADDR: true, ResultADDRTYPE: true},
		equal(native(fibLocal)),
	}
}

func loadIifname() expr.Any { return &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg1} }

func masquerade() []expr.Any { return []expr.Any{&expr.Masq{}} }

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}

// ifname is an interface's name as the kernel compares and keeps it.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// id names the rule in its user data, so that Check sees whether it is the one
// that belongs there. nft passes over user data of a type that it does not know.
func (r rule) id() []byte {
	const seamRule = 0x5e
	sum := sha256.Sum256([]byte(r.text))
	return append([]byte{seamRule, 8}, sum[:8]...)
}

// digest names a chain by the rules in it.
func digest(rules []rule) string {
	h := sha256.New()
	for _, r := range rules {
		h.Write([]byte(r.text + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
