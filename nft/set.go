package nft

import (
	"slices"
	"strings"
)

// A datatype is nft's number of a type, in 6 bits, by which it prints values. The
// kernel only keeps it.
type datatype uint32

const (
	typeIPv4    datatype = 7
	typeIPv6    datatype = 8
	typeEther   datatype = 9
	typeProto   datatype = 12
	typeService datatype = 13
	typeIfname  datatype = 41
	typeVerdict datatype = 0xffffff00
)

func (d datatype) word() string {
	return map[datatype]string{
		typeIPv4: "ipv4_addr", typeIPv6: "ipv6_addr", typeEther: "ether_addr",
		typeProto: "inet_proto", typeService: "inet_service", typeIfname: "ifname",
		typeVerdict: "verdict",
	}[d]
}

// size is how many bytes a value takes as part of a concatenation.
func (d datatype) size() int {
	return map[datatype]int{
		typeIPv4: 4, typeIPv6: 16, typeEther: 8, typeProto: 4, typeService: 4, typeIfname: 16,
	}[d]
}

// A set is one of ours, or with a value a map. None has intervals: every element
// is found by its key in constant time.
type set struct {
	table table
	name  string
	key   []datatype
	value []datatype // nil: no map
	// homes are the static chains that lead to where the set is looked up. If they
	// are whole, so are the rules that the set needs.
	homes []func() chain
}

// concat is the type of a concatenation and its length in bytes.
func concat(parts []datatype) (number uint32, length int) {
	if len(parts) == 1 {
		return uint32(parts[0]), unpadded(parts[0])
	}
	for _, p := range parts {
		number = number<<6 | uint32(p)
		length += p.size()
	}
	return number, length
}

func unpadded(d datatype) int {
	if d == typeVerdict {
		return 0
	}
	return d.size()
}

func (f family) masqSet() set    { return f.verdicts("masq") }
func (f family) hairpinSet() set { return f.verdicts("hairpin") }

func (f family) verdicts(name string) set {
	return set{
		table: inetSeam, name: name + f.suffix, homes: []func() chain{postroutingChain},
		key:   []datatype{f.addrType},
		value: []datatype{typeVerdict},
	}
}

func (f family) hostPortSet() set {
	return set{
		table: inetSeam, name: "hostports" + f.suffix, homes: []func() chain{hostportsChain},
		key:   []datatype{typeProto, typeService},
		value: []datatype{f.addrType, typeService},
	}
}

func (f family) hostIPSet() set {
	s := f.hostPortSet()
	s.name = "hostips" + f.suffix
	s.key = slices.Concat([]datatype{f.addrType}, s.key)
	s.homes = []func() chain{hostportsChain, hostipsChain}
	return s
}

// limits is the map of verdicts that a packet meets before ports: one with conditions
// is led to a chain that tests them and, if they hold, looks it up in ports itself.
func limits(ports set) set {
	s := ports
	s.name = "limited" + strings.TrimPrefix(ports.name, "host")
	s.value = []datatype{typeVerdict}
	return s
}

func guardedSet() set {
	return set{table: bridgeSeam, name: "guarded", homes: []func() chain{guardChain}, key: []datatype{typeIfname}}
}

func allowedSet() set {
	return set{table: bridgeSeam, name: "allowed", homes: []func() chain{guardChain}, key: []datatype{typeIfname, typeEther}}
}
