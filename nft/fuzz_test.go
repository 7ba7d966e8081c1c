package nft

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
)

// What the kernel sends is trusted, but a length that is wrong must not end in a panic.
func FuzzAnswers(f *testing.F) {
	m := message(0, inetSeam, 0, func(ae *netlink.AttributeEncoder) { ae.String(1, "seam") })
	m.Header.Length = uint32(16 + len(m.Data))
	b, err := m.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	e := entry{set: ip4.masqSet(), key: []byte{10, 0, 0, 1}, chain: &chain{name: "masq-0"}}
	for _, m := range setElements(12, 0, []entry{e}, "net/c/eth0") {
		m.Header.Length = uint32(16 + len(m.Data))
		b, _ := m.MarshalBinary()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		answers, err := parseAnswers(b)
		if err != nil {
			return
		}
		for _, a := range answers {
			parseChain(a.msg)
			parseRule(a.msg)
			held, err := parseElements(a.msg)
			if err == nil {
				ip4.hostPortSet().text(held)
				allowedSet().text(held)
			}
		}
	})
}

// Whatever a record's file holds, it is refused or comes back the same.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"tag":"net/c/eth0","plugin":"portmap","elements":[
		{"forward":{"protocol":"tcp","hostIP":"192.0.2.1","hostPort":80,"to":"10.0.0.2:80"}},
		{"masquerade":{"source":"fd00::2","except":["fd00::/64"]}},
		{"hairpin":{"to":"10.0.0.2","sources":["10.0.0.0/24"]}},
		{"guard":{"link":"veth0","mac":"02:00:00:00:00:01"}}]}`))
	f.Add([]byte(`{"tag":"net/c/eth0","plugin":"portmap","elements":[
		{"forward":{"protocol":"tcp","hostPort":80,"to":"10.0.0.2:80","conditions":[
			{"field":"saddr","not":true,"prefixes":["10.0.0.0/8"]},{"field":"iifname","names":["eth*"]},
			{"field":"meta mark","mark":1,"mask":255},{"field":"fib saddr type","names":["local"]}]}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decodeRecord(b)
		if err != nil {
			return
		}
		if _, err := compile(rec.Elements); err != nil {
			t.Fatalf("a record was accepted that cannot be put: %v", err)
		}
		first, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeRecord(first)
		if err != nil {
			t.Fatalf("%v in what was written: %s", err, first)
		}
		second, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first), string(second)); diff != "" {
			t.Errorf("read and written again:\n%s", diff)
		}
	})
}
