package portmap

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/seamnet/seam/nft"
)

// An iptablesReader reads conditions as the words of an iptables command.
type iptablesReader struct {
	of         netip.Addr
	rest       []string
	loaded     map[string]bool // by -m; true once an option of it was given
	given      map[nft.Field]bool
	conditions []nft.Condition
}

func readIPTables(words []string, of netip.Addr) ([]nft.Condition, error) {
	r := &iptablesReader{of: of, rest: words, loaded: make(map[string]bool), given: make(map[nft.Field]bool)}
	for len(r.rest) > 0 {
		if err := r.match(); err != nil {
			return nil, err
		}
	}
	for name, used := range r.loaded {
		if !used {
			return nil, fmt.Errorf("-m %s: nothing is to be matched", name)
		}
	}
	return r.conditions, nil
}

// match reads one option with its value.
func (r *iptablesReader) match() error {
	not := r.rest[0] == "!"
	if not {
		r.rest = r.rest[1:]
	}
	option, value, err := r.option()
	if err != nil {
		return err
	}
	switch option {
	case "-s", "--source", "--src":
		return r.address(nft.Source, not, value)
	case "-d", "--destination", "--dst":
		return r.address(nft.Destination, not, value)
	case "-i", "--in-interface":
		return r.iface(nft.InInterface, not, value)
	case "-o", "--out-interface":
		return r.iface(nft.OutInterface, not, value)
	case "-m", "--match":
		return r.load(not, value)
	}
	return r.extension(option, not, value)
}

// option takes the next option and its value, which "=" may join.
func (r *iptablesReader) option() (option, value string, err error) {
	if len(r.rest) == 0 {
		return "", "", fmt.Errorf("nothing after \"!\"")
	}
	option, r.rest = r.rest[0], r.rest[1:]
	if long, value, joined := strings.Cut(option, "="); joined && strings.HasPrefix(option, "--") {
		return long, value, nil
	}
	if len(r.rest) == 0 {
		return "", "", fmt.Errorf("%q: an option with a value is wanted", option)
	}
	value, r.rest = r.rest[0], r.rest[1:]
	return option, value, nil
}

// once refuses what iptables lets be said once.
func (r *iptablesReader) once(field nft.Field) error {
	if r.given[field] {
		return fmt.Errorf("a condition on %s is given twice", field)
	}
	r.given[field] = true
	return nil
}

func (r *iptablesReader) address(field nft.Field, not bool, value string) error {
	if err := r.once(field); err != nil {
		return err
	}
	words := strings.Split(value, ",")
	if not && len(words) > 1 {
		return fmt.Errorf("%q: iptables negates no list", value)
	}
	var prefixes []netip.Prefix
	for _, word := range words {
		p, err := parsePrefix(withoutNetmask(word), r.of)
		if err != nil {
			return err
		}
		prefixes = append(prefixes, p)
	}
	conditions, err := addresses(field, not, prefixes)
	r.conditions = append(r.conditions, conditions...)
	return err
}

// withoutNetmask writes a netmask, as in 10.0.0.0/255.0.0.0, as a length. What is no
// netmask stays as it is.
func withoutNetmask(s string) string {
	address, mask, found := strings.Cut(s, "/")
	m, err := netip.ParseAddr(mask)
	if !found || err != nil || m.Zone() != "" {
		return s
	}
	ones, size := net.IPMask(m.AsSlice()).Size()
	if size == 0 {
		return s
	}
	return fmt.Sprintf("%s/%d", address, ones)
}

func (r *iptablesReader) iface(field nft.Field, not bool, name string) error {
	if err := r.once(field); err != nil {
		return err
	}
	stem, prefix := strings.CutSuffix(name, "+")
	switch {
	case name == "+" && not:
		return fmt.Errorf("not any interface: never holds")
	case name == "+":
		return nil
	case strings.Contains(name, "*"):
		return fmt.Errorf("%q: not an interface's name", name)
	case prefix:
		name = stem + "*"
	}
	r.conditions = append(r.conditions, nft.Condition{Field: field, Not: not, Names: []string{name}})
	return nil
}

func (r *iptablesReader) load(not bool, name string) error {
	switch name {
	case "comment", "mark", "addrtype":
	default:
		return fmt.Errorf("-m %s: cannot be said in Seam's rules", name)
	}
	if used, loaded := r.loaded[name]; not || loaded && !used {
		return fmt.Errorf("-m %s: out of place", name)
	}
	r.loaded[name] = false
	return nil
}

// extension reads an option of a match that -m loaded.
func (r *iptablesReader) extension(option string, not bool, value string) error {
	match := map[string]string{"--comment": "comment", "--mark": "mark", "--src-type": "addrtype", "--dst-type": "addrtype"}[option]
	if _, loaded := r.loaded[match]; !loaded {
		return fmt.Errorf("%q: cannot be said in Seam's rules", option)
	}
	r.loaded[match] = true
	c := nft.Condition{Field: nft.SourceType, Not: not}
	switch option {
	case "--comment":
		if not {
			return fmt.Errorf("--comment: is nothing to negate")
		}
		return nil
	case "--mark":
		var err error
		if c.Mark, c.Mask, err = parseMark(value); err != nil {
			return err
		}
		c.Field = nft.PacketMark
	case "--dst-type":
		c.Field = nft.DestinationType
		fallthrough
	default:
		c.Names = strings.Split(strings.ToLower(value), ",")
	}
	r.conditions = append(r.conditions, c)
	return nil
}

// parseMark reads VALUE or VALUE/MASK.
func parseMark(s string) (mark, mask uint32, err error) {
	value, of, masked := strings.Cut(s, "/")
	mark, err = parseNumber(value)
	mask = math.MaxUint32
	if masked && err == nil {
		mask, err = parseNumber(of)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("mark %q: not a number, or two with / between", s)
	}
	return mark, mask, nil
}

// parseNumber reads a number as C writes it: in base 10, 16 after 0x, 8 after 0.
func parseNumber(s string) (uint32, error) {
	base := 10
	switch digits, hex := strings.CutPrefix(strings.ToLower(s), "0x"); {
	case hex:
		s, base = digits, 16
	case len(s) > 1 && s[0] == '0':
		base = 8
	}
	n, err := strconv.ParseUint(s, base, 32)
	return uint32(n), err
}
