package ipam

import (
	"errors"
	"fmt"
)

// What an address asked for can be refused for.
var (
	ErrOutside = errors.New("outside of")
	ErrGateway = errors.New("is the subnet's gateway")
	ErrHeld    = errors.New("is held already")
)

// A FullError says that no address of a set is free.
type FullError struct {
	Set   Set
	Tried int // addresses that were tried, which is all but the gateways
}

func (e *FullError) Error() string {
	if e.Tried == 0 {
		return fmt.Sprintf("no free address in %s: it holds nothing but the gateway", e.Set)
	}
	return fmt.Sprintf("no free address in %s: all %d are held", e.Set, e.Tried)
}

// An OverlapError says that two sets share an address.
type OverlapError struct {
	First, Second int // the sets' places in their list
	A, B          Range
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("range %s of set %d overlaps %s of set %d", e.B, e.Second, e.A, e.First)
}
