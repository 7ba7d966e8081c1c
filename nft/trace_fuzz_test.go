package nft

import (
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func FuzzEvent(f *testing.F) {
	m := message(unix.NFT_MSG_TRACE, inetSeam, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TRACE_CHAIN, "input")
		ae.Uint32(unix.NFTA_TRACE_TYPE, unix.NFT_TRACETYPE_POLICY)
		ae.Bytes(unix.NFTA_TRACE_NETWORK_HEADER, append([]byte{0x45, 9: 6, 19: 1}, make([]byte, 20)...))
		ae.Bytes(unix.NFTA_TRACE_TRANSPORT_HEADER, []byte{0, 80, 1, 187, 13: 2})
	})
	if e, ok := parseEvent(m); !ok || e.Verdict != Drop || e.Packet == nil || e.Packet.To.String() != "0.0.0.1:443" || e.Packet.Flags != 2 {
		f.Fatalf("parsed %+v, %t", e, ok)
	}
	f.Add(m.Data)
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := parseEvent(netlink.Message{Data: b}); ok && e.Packet != nil && !e.Packet.From.Addr().IsValid() {
			t.Errorf("%x: headers without an address", b)
		}
	})
}
