package portmap

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/seamnet/seam/nft"
)

// An nftReader reads conditions as the words of a rule of nft.
type nftReader struct {
	of         netip.Addr
	rest       []string // tokens
	conditions []nft.Condition
}

func readNFT(words []string, of netip.Addr) ([]nft.Condition, error) {
	tokens, err := tokensOf(strings.Join(words, " "))
	if err != nil {
		return nil, err
	}
	r := &nftReader{of: of, rest: tokens}
	for len(r.rest) > 0 {
		if err := r.match(); err != nil {
			return nil, err
		}
	}
	return r.conditions, nil
}

// signs are tokens that need no blanks around them; a longer one goes before its beginning.
var signs = [...]string{"==", "!=", "{", "}", ",", "&"}

// tokensOf splits a rule. A line's end, which would end the rule, is no blank.
func tokensOf(s string) (tokens []string, err error) {
	for s = strings.TrimLeft(s, " \t"); s != ""; s = strings.TrimLeft(s, " \t") {
		n := strings.IndexAny(s, " \t")
		if n < 0 {
			n = len(s)
		}
		for _, sign := range signs {
			if i := strings.Index(s[:n], sign); i == 0 {
				n = len(sign)
			} else if i > 0 {
				n = i
			}
		}
		if s[0] == '"' {
			end := strings.IndexByte(s[1:], '"')
			if end < 0 {
				return nil, fmt.Errorf("%s: a quote does not end", s)
			}
			n = end + 2
		}
		tokens, s = append(tokens, s[:n]), s[n:]
	}
	return tokens, nil
}

// next takes the next token, "" at the end.
func (r *nftReader) next() string {
	if len(r.rest) == 0 {
		return ""
	}
	token := r.rest[0]
	r.rest = r.rest[1:]
	return token
}

// take takes the next token if it is one of these.
func (r *nftReader) take(tokens ...string) bool {
	if len(r.rest) == 0 || !slices.Contains(tokens, r.rest[0]) {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// match reads one match: what is compared, and with what.
func (r *nftReader) match() error {
	token := r.next()
	meta := token == "meta"
	if meta {
		token = r.next()
	}
	family := "ip6"
	if r.of.Is4() {
		family = "ip"
	}
	switch {
	case token == "iifname" || token == "oifname":
		return r.iface(nft.Field(token))
	case token == "mark":
		return r.mark()
	case meta:
	case token == family:
		return r.address()
	case token == "fib":
		return r.addressType()
	}
	return fmt.Errorf("%q: cannot be said in Seam's rules of %s", token, family)
}

// field takes saddr or daddr.
func (r *nftReader) field() (nft.Field, error) {
	field := nft.Field(r.next())
	if field != nft.Source && field != nft.Destination {
		return "", fmt.Errorf("%q: saddr or daddr is wanted", field)
	}
	return field, nil
}

func (r *nftReader) address() error {
	field, err := r.field()
	if err != nil {
		return err
	}
	not, values, err := r.values()
	if err != nil {
		return err
	}
	var prefixes []netip.Prefix
	for _, v := range values {
		p, err := parsePrefix(v, r.of)
		if err != nil {
			return err
		}
		prefixes = append(prefixes, p)
	}
	conditions, err := addresses(field, not, prefixes)
	r.conditions = append(r.conditions, conditions...)
	return err
}

func (r *nftReader) iface(field nft.Field) error {
	not, values, err := r.values()
	for i, v := range values {
		if len(v) > 1 && v[0] == '"' {
			values[i] = v[1 : len(v)-1]
		}
	}
	r.conditions = append(r.conditions, nft.Condition{Field: field, Not: not, Names: values})
	return err
}

func (r *nftReader) addressType() error {
	field, err := r.field()
	if err != nil {
		return err
	}
	if !r.take("type") {
		return fmt.Errorf("fib %s %q: type is wanted", field, r.next())
	}
	not, values, err := r.values()
	r.conditions = append(r.conditions, nft.Condition{Field: "fib " + field + " type", Not: not, Names: values})
	return err
}

func (r *nftReader) mark() (err error) {
	c := nft.Condition{Field: nft.PacketMark, Mask: math.MaxUint32}
	masked := r.take("&", "and")
	if masked {
		if c.Mask, err = parseNumber(r.next()); err != nil {
			return fmt.Errorf("mask of mark: not a number")
		}
		if len(r.rest) == 0 || !slices.Contains([]string{"==", "eq", "!=", "ne"}, r.rest[0]) {
			return fmt.Errorf("mark with a mask: == or != is wanted")
		}
	}
	not, values, err := r.values()
	if err != nil {
		return err
	}
	if c.Mark, err = parseNumber(values[0]); err != nil || len(values) > 1 {
		return fmt.Errorf("mark %s: not one number", strings.Join(values, ", "))
	}
	c.Not = not
	r.conditions = append(r.conditions, c)
	return nil
}

// values reads what something is compared with: an operator, which may be left out for
// equality, and a value or a set of values.
func (r *nftReader) values() (not bool, values []string, err error) {
	if not = r.take("!=", "ne"); !not {
		r.take("==", "eq")
	}
	if !r.take("{") {
		v, err := r.value()
		return not, []string{v}, err
	}
	for {
		v, err := r.value()
		if err != nil {
			return not, nil, err
		}
		values = append(values, v)
		comma := r.take(",")
		if r.take("}") {
			return not, values, nil
		}
		if !comma {
			return not, nil, fmt.Errorf("%q: a comma or } is wanted", r.next())
		}
	}
}

func (r *nftReader) value() (string, error) {
	v := r.next()
	if v == "" || slices.Contains(signs[:], v) {
		return "", fmt.Errorf("%q: a value is wanted", v)
	}
	return v, nil
}
