package hostlocal

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/ipam"
)

// allocate gives the holder an address of each set. Nothing is written before all are
// found, so that a refusal leaves nothing behind.
func allocate(ctx context.Context, b *book, sets []ipam.Set, wanted []netip.Addr, h holder) ([]netip.Addr, error) {
	if err := b.load(); err != nil {
		return nil, err
	}
	owner, held, err := b.find(h)
	if err != nil {
		return nil, err
	}
	for _, a := range held {
		if slices.ContainsFunc(sets, func(s ipam.Set) bool { return s.Contains(a) }) {
			return nil, cni.Errorf(cni.CodeExists, "address %s is leased to %s already", a, owner).
				WithDetails("DEL the attachment before it is added again")
		}
	}
	addrs, err := choose(ctx, b, sets, wanted)
	if err != nil {
		return nil, err
	}
	if err := b.take(h, addrs); err != nil {
		return nil, err
	}
	for i, a := range addrs {
		if err := b.setCursor(i, a); err != nil {
			return nil, err
		}
	}
	return addrs, nil
}

// choose returns a free address of each set: the first one asked for that is of
// the set, else the next after the set's cursor.
func choose(ctx context.Context, b *book, sets []ipam.Set, wanted []netip.Addr) ([]netip.Addr, error) {
	wanted = slices.Clone(wanted)
	addrs := make([]netip.Addr, len(sets))
	for i, set := range sets {
		var err error
		if n := slices.IndexFunc(wanted, set.Contains); n >= 0 {
			addrs[i] = wanted[n]
			wanted = slices.Delete(wanted, n, n+1)
			err = claim(b, set, addrs[i])
		} else {
			addrs[i], err = next(ctx, b, set, i)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(wanted) > 0 {
		return nil, cni.Errorf(cni.CodeInvalidConfig, "no set of ranges can give the requested address %s", wanted[0]).
			WithDetails("each set gives one address; the sets are %s", describe(sets))
	}
	return addrs, nil
}

// claim reports why an address cannot be given to who asks for it.
func claim(b *book, set ipam.Set, a netip.Addr) error {
	if err := set.Check(a); err != nil {
		return cni.Errorf(cni.CodeInvalidConfig, "requested %w", err)
	}
	free, err := b.free(a)
	if err != nil || free {
		return err
	}
	h, err := b.holder(a)
	if err != nil {
		return err
	}
	return cni.Errorf(cni.CodeTryAgain, "requested address %s is leased to %s", a, h).
		WithDetails("ask for another one, or remove that container")
}

func next(ctx context.Context, b *book, set ipam.Set, n int) (netip.Addr, error) {
	a, err := set.Take(b.cursor(n), func(a netip.Addr) (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("search for a free address: %w", err)
		}
		return b.free(a)
	})
	if full, ok := errors.AsType[*ipam.FullError](err); ok {
		return a, exhausted(cni.CodeTryAgain, full)
	}
	return a, err
}

func exhausted(code cni.Code, full *ipam.FullError) error {
	return cni.Errorf(code, "%w", full).
		WithDetails("remove containers, give the network a larger range, or let GC free what containers left behind")
}

func describe(sets []ipam.Set) string {
	all := make([]string, len(sets))
	for i, s := range sets {
		all[i] = "[" + s.String() + "]"
	}
	return strings.Join(all, " ")
}
