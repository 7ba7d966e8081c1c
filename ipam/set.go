package ipam

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strings"
)

// A Set is where one address comes from: ranges of one family, tried in their
// order, that share no address.
type Set []Range

// Complete returns the set with all its ranges complete, or a sentence that says
// why it cannot be used; ranges are counted from 0.
func (s Set) Complete() (Set, error) {
	if len(s) == 0 {
		return nil, errors.New("empty set of ranges")
	}
	whole := make(Set, len(s))
	for i, r := range s {
		var err error
		if whole[i], err = r.Complete(); err != nil {
			return nil, s.at(i, err)
		}
		if whole[i].First.Is4() != whole[0].First.Is4() {
			return nil, s.at(i, fmt.Errorf("subnet %s is not of the family of subnet %s; one set gives one address, "+
				"so give each family a set of its own", r.Subnet, whole[0].Subnet))
		}
		for _, earlier := range whole[:i] {
			if earlier.Overlaps(whole[i]) {
				return nil, s.at(i, fmt.Errorf("range %s overlaps %s", whole[i], earlier))
			}
		}
	}
	return whole, nil
}

// at names the range that an error is about, where there could be doubt.
func (s Set) at(i int, err error) error {
	if len(s) == 1 {
		return err
	}
	return fmt.Errorf("range %d: %w", i, err)
}

// Find returns the range that holds the address.
func (s Set) Find(a netip.Addr) (Range, bool) {
	for _, r := range s {
		if r.Contains(a) {
			return r, true
		}
	}
	return Range{}, false
}

// Contains reports whether one of the ranges holds the address.
func (s Set) Contains(a netip.Addr) bool {
	_, ok := s.Find(a)
	return ok
}

// IsGateway reports whether the address is the gateway of any of the ranges.
func (s Set) IsGateway(a netip.Addr) bool {
	for _, r := range s {
		if r.Gateway == a {
			return true
		}
	}
	return false
}

// Is4 reports whether a complete set's addresses are of IPv4.
func (s Set) Is4() bool { return s[0].First.Is4() }

// After returns the addresses of a complete set in the order in which they are to
// be given out: from the one after last, once round, last itself at the end, and
// gateways never. A last that is not of the set, as an invalid one, begins at
// the start.
func (s Set) After(last netip.Addr) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, r := range s.turn(last) {
			// Not "a.Less(r.Last)": the address after the highest there is, is invalid.
			for a := r.First; ; a = a.Next() {
				if !s.IsGateway(a) && !yield(a) {
					return
				}
				if a == r.Last {
					break
				}
			}
		}
	}
}

// turn returns the ranges from the address after last, once round.
func (s Set) turn(last netip.Addr) []Range {
	for i, r := range s {
		if !r.Contains(last) {
			continue
		}
		var turn []Range
		if last != r.Last {
			turn = append(turn, Range{First: last.Next(), Last: r.Last})
		}
		turn = append(turn, s[i+1:]...)
		turn = append(turn, s[:i]...)
		return append(turn, Range{First: r.First, Last: last})
	}
	return s
}

// Take returns the first address after last (see After) that reserve accepts. If
// none is, the error is a *FullError; an error of reserve ends the search.
func (s Set) Take(last netip.Addr, reserve func(netip.Addr) (bool, error)) (netip.Addr, error) {
	tried := 0
	for a := range s.After(last) {
		tried++
		ok, err := reserve(a)
		if err != nil {
			return netip.Addr{}, err
		}
		if ok {
			return a, nil
		}
	}
	return netip.Addr{}, &FullError{s, tried}
}

// Check returns an error that matches ErrOutside or ErrGateway if the set never
// gives the address out.
func (s Set) Check(a netip.Addr) error {
	switch {
	case !s.Contains(a):
		return fmt.Errorf("address %s is %w %s", a, ErrOutside, s)
	case s.IsGateway(a):
		return fmt.Errorf("address %s %w", a, ErrGateway)
	}
	return nil
}

// String returns the ranges with commas between.
func (s Set) String() string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(r.String())
	}
	return b.String()
}

// Disjoint returns an *OverlapError for the first two sets that share an address.
func Disjoint(sets []Set) error {
	for j, set := range sets {
		for i, earlier := range sets[:j] {
			if a, b, ok := overlap(earlier, set); ok {
				return &OverlapError{i, j, a, b}
			}
		}
	}
	return nil
}

func overlap(s, t Set) (a, b Range, ok bool) {
	for _, a := range s {
		for _, b := range t {
			if a.Overlaps(b) {
				return a, b, true
			}
		}
	}
	return Range{}, Range{}, false
}
