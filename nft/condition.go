package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A Condition limits a Forward to packets of which a Field is one of the values or,
// with Not, none of them. Which list holds the values depends on the field; the
// others stay empty.
type Condition struct {
	Field Field `json:"field"`
	Not   bool  `json:"not,omitempty"`

	// Prefixes are for Source and Destination, of the Forward's family, masked and
	// longer than 0 bits: that all addresses hold is no condition.
	Prefixes []netip.Prefix `json:"prefixes,omitempty"`
	// Names are those of interfaces, where one that ends in "*" stands for all that
	// begin so, or the AddressTypes.
	Names []string `json:"names,omitempty"`
	// Mark is for PacketMark: the bits of Mask must be those of Mark.
	Mark uint32 `json:"mark,omitempty"`
	Mask uint32 `json:"mask,omitempty"`
}

// A Field is what a Condition looks at, in nft's words but for the family.
type Field string

// The fields. What the host itself sends comes in by no interface, and what arrives
// has none yet to leave by: their name is empty, and so not that of any.
const (
	Source          Field = "saddr"
	Destination     Field = "daddr" // before translation: the host's own
	SourceType      Field = "fib saddr type"
	DestinationType Field = "fib daddr type"
	InInterface     Field = "iifname"
	OutInterface    Field = "oifname"
	PacketMark      Field = "meta mark"
)

// An AddressType is what an address is to the host by its routes; these are nft's
// words for what conditions know.
type AddressType string

// number returns the type's number of routing, 0 if there is none.
func (t AddressType) number() uint32 {
	return map[AddressType]uint32{
		"unicast": unix.RTN_UNICAST, "local": unix.RTN_LOCAL, "broadcast": unix.RTN_BROADCAST,
		"anycast": unix.RTN_ANYCAST, "multicast": unix.RTN_MULTICAST, "blackhole": unix.RTN_BLACKHOLE,
		"unreachable": unix.RTN_UNREACHABLE, "prohibit": unix.RTN_PROHIBIT,
	}[t]
}

// mostValues keeps a rule within the 128 expressions that the kernel allows.
const mostValues = 32

// Validate says what cannot be a condition of a Forward to an address of to's family.
func (c Condition) Validate(to netip.Addr) error { return c.validate(familyOf(to)) }

func (c Condition) validate(f family) error {
	lists := map[Field]int{
		Source: len(c.Prefixes), Destination: len(c.Prefixes), SourceType: len(c.Names), DestinationType: len(c.Names),
		InInterface: len(c.Names), OutInterface: len(c.Names), PacketMark: min(int(c.Mask), 1),
	}
	values := len(c.Prefixes) + len(c.Names)
	if c.Mark != 0 || c.Mask != 0 {
		values++
	}
	switch {
	case lists[c.Field] == 0 || lists[c.Field] != values:
		return fmt.Errorf("condition on %q: not values of that field alone", c.Field)
	case values > mostValues:
		return fmt.Errorf("condition on %s: %d values are too many: at most %d", c.Field, values, mostValues)
	case c.Mark&^c.Mask != 0:
		return fmt.Errorf("condition on %s: mark %#x has bits outside of mask %#x", c.Field, c.Mark, c.Mask)
	}
	for _, p := range c.Prefixes {
		if !p.IsValid() || p.Bits() == 0 || p.Masked() != p || familyOf(p.Addr()).number != f.number {
			return fmt.Errorf("condition on %s: %q: not a prefix of %s", c.Field, p, f.word)
		}
	}
	for _, name := range c.Names {
		if err := c.validName(name); err != nil {
			return err
		}
	}
	return nil
}

func (c Condition) validName(name string) error {
	if c.Field == SourceType || c.Field == DestinationType {
		if AddressType(name).number() == 0 {
			return fmt.Errorf("condition on %s: %q: not a type of address", c.Field, name)
		}
		return nil
	}
	stem := strings.TrimSuffix(name, "*")
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`*"\/:`, r) }
	if stem == "" || len(stem) >= unix.IFNAMSIZ || strings.ContainsFunc(stem, odd) {
		return fmt.Errorf("condition on %s: %q: not an interface's name", c.Field, name)
	}
	return nil
}

// A test is that of one value: whether what load leaves in the first register is data.
type test struct {
	text string // of the value
	load []expr.Any
	data []byte
}

func (c Condition) tests(f family) []test {
	var tests []test
	offset := map[Field]uint32{Source: f.saddr, Destination: f.daddr}[c.Field]
	for _, p := range c.Prefixes {
		tests = append(tests, test{prefixText(p), f.network(offset, p), p.Addr().AsSlice()})
	}
	for _, name := range c.Names {
		tests = append(tests, c.nameTest(name))
	}
	if c.Mask != 0 {
		tests = append(tests, c.markTest())
	}
	return tests
}

func (c Condition) nameTest(name string) test {
	switch c.Field {
	case SourceType, DestinationType:
		return test{name, []expr.Any{&expr.Fib{
			Register: reg1, ResultADDRTYPE: true, FlagSADDR: c.Field == SourceType, FlagDADDR: c.Field == DestinationType,
		}}, native(AddressType(name).number())}
	}
	t := test{fmt.Sprintf("%q", name), []expr.Any{loadIifname()}, ifname(name)}
	if c.Field == OutInterface {
		t.load = []expr.Any{loadOifname(reg1)}
	}
	if stem, ok := strings.CutSuffix(name, "*"); ok {
		t.data = []byte(stem)
	}
	return t
}

func (c Condition) markTest() test {
	t := test{fmt.Sprintf("0x%08x", c.Mark), []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1}}, native(c.Mark)}
	if c.masked() {
		t.load = append(t.load, &expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(c.Mask), Xor: native(0)})
	}
	return t
}

func (c Condition) masked() bool { return c.Mask != 0 && c.Mask != 1<<32-1 }

// compare writes in nft's words that the field is a value, or is not.
func (c Condition) compare(f family, not bool, value string) string {
	left, operator := string(c.Field), " "
	switch {
	case c.Field == Source, c.Field == Destination:
		left = f.word + " " + left
	case c.masked(): // where the left side has an operator, so has the middle
		left, operator = fmt.Sprintf("%s & 0x%08x", left, c.Mask), " == "
	}
	if not {
		operator = " != "
	}
	return left + operator + value
}

// text tells the condition in nft's words.
func (c Condition) text(f family) string {
	var values []string
	for _, t := range c.tests(f) {
		values = append(values, t.text)
	}
	if len(values) == 1 {
		return c.compare(f, c.Not, values[0])
	}
	return c.compare(f, c.Not, "{ "+strings.Join(values, ", ")+" }")
}

// rules return from a chain where the condition does not hold: where one of the values
// is what none must be, or where none is what one must be.
func (c Condition) rules(f family) []rule {
	var context []expr.Any
	if len(c.Prefixes) > 0 {
		context = f.isFamily()
	}
	back := verdict(expr.VerdictReturn, "")
	var rules []rule
	var none string
	others := context
	for _, t := range c.tests(f) {
		rules = append(rules, newRule(c.compare(f, false, t.text)+" return", context, t.load, []expr.Any{equal(t.data)}, back))
		none += c.compare(f, true, t.text) + " "
		others = slices.Concat(others, t.load, []expr.Any{notEqual(t.data)})
	}
	if c.Not {
		return rules
	}
	return []rule{newRule(none+"return", others, back)}
}

// whenChain translates, by the rule dnat, what all conditions hold for.
func whenChain(f family, conditions []Condition, dnat rule) chain {
	var rules []rule
	for _, c := range conditions {
		rules = append(rules, c.rules(f)...)
	}
	rules = append(rules, dnat)
	return chain{table: inetSeam, name: "when-" + digest(rules), rules: rules}
}
