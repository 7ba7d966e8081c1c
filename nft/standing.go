package nft

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/mdlayher/netlink"
	"github.com/seamnet/seam/cni"
	"golang.org/x/sys/unix"
)

// A standing is what is in the kernel of what a plan is about, looked up by name:
// nothing is listed.
type standing struct {
	broken []table                // their static rules are missing or not whole
	chains map[string]heldChain   // of content, that are there
	held   map[string]heldElement // by entry.id; only if looked for
}

// look asks for the static chains that the wanted entries need, for the chains of
// content that any entry leads to and, if elements is true, for the entries
// themselves, all in one exchange.
func (t *Table) look(wanted, old []entry, elements bool) (standing, error) {
	s := standing{chains: make(map[string]heldChain), held: make(map[string]heldElement)}
	q := new(questions)
	for _, c := range homes(wanted) {
		q.chain(c, func(h heldChain, found bool) {
			if !found || h.uses < c.uses() {
				s.broken = append(s.broken, c.table)
			}
		})
	}
	for _, c := range contentChains(slices.Concat(wanted, old)) {
		q.chain(c, func(h heldChain, found bool) {
			if found {
				s.chains[c.name] = h
			}
		})
	}
	if elements {
		for _, e := range slices.Concat(wanted, without(old, wanted)) {
			q.element(e, func(h heldElement) { s.held[e.id()] = h })
		}
	}
	return s, q.put(t.conn)
}

// plan is the transaction that turns the state of the tag's old entries into the
// wanted ones. Chains to which nothing leads any more go too.
func (s standing) plan(tag cni.Tag, wanted, old []entry) ([]netlink.Message, error) {
	var remove, add []entry
	for _, e := range without(old, wanted) {
		if h, there := s.held[e.id()]; there && h.comment == string(tag) {
			remove = append(remove, e)
		}
	}
	for _, e := range wanted {
		h, there := s.held[e.id()]
		switch {
		case there && h.comment == string(tag) && h.is(e):
			continue
		case there && h.comment != string(tag) && e.sole != "":
			return nil, taken(e, h)
		case there:
			remove = append(remove, e)
		}
		add = append(add, e)
	}
	msgs := setElements(unix.NFT_MSG_DELSETELEM, 0, remove, "")
	msgs = append(msgs, s.orphans(remove, wanted, old)...)
	for _, c := range contentChains(wanted) {
		if _, there := s.chains[c.name]; !there {
			msgs = append(msgs, whole(c)...)
		}
	}
	return append(msgs, setElements(unix.NFT_MSG_NEWSETELEM, netlink.Create|netlink.Excl, add, string(tag))...), nil
}

// orphans deletes the old entries' chains that have no reference but those of the
// entries removed, and will get none.
func (s standing) orphans(remove, wanted, old []entry) (msgs []netlink.Message) {
	refs := make(map[string]int)
	for _, e := range remove {
		refs[s.held[e.id()].chain]++
	}
	needed := contentChains(wanted)
	for _, c := range contentChains(old) {
		if slices.ContainsFunc(needed, func(n chain) bool { return n.name == c.name }) {
			continue
		}
		if h, there := s.chains[c.name]; there && h.uses == len(c.rules)+refs[c.name] {
			msgs = append(msgs, deleteChain(c))
		}
	}
	return msgs
}

func taken(e entry, h heldElement) error {
	holder := h.comment
	if holder == "" {
		holder = "an element that Seam did not make, in map " + e.set.name
	}
	return cni.Errorf(cni.CodeTryAgain, "%s is taken by %s", e.sole, holder).
		WithDetails("choose another port or remove the holder; if that is gone already, collect garbage (seam gc)")
}

// questions are requests for single things by name, put to the kernel together.
type questions struct {
	requests []netlink.Message
	answered []func(answer) error
}

func (q *questions) chain(c chain, f func(h heldChain, found bool)) {
	q.requests = append(q.requests, getChain(c))
	q.answered = append(q.answered, func(a answer) error {
		if errors.Is(a.err, fs.ErrNotExist) {
			f(heldChain{}, false)
			return nil
		}
		if a.err != nil {
			return a.err
		}
		h, err := parseChain(a.msg)
		if err == nil {
			f(h, true)
		}
		return err
	})
}

// element calls f if the entry's key is in its set.
func (q *questions) element(e entry, f func(heldElement)) {
	q.requests = append(q.requests, setElements(unix.NFT_MSG_GETSETELEM, 0, []entry{e}, "")...)
	q.answered = append(q.answered, func(a answer) error {
		if errors.Is(a.err, fs.ErrNotExist) {
			return nil
		}
		if a.err != nil {
			return a.err
		}
		list, err := parseElements(a.msg)
		for _, h := range list {
			f(h)
		}
		return err
	})
}

// mostQuestions keeps the answers within what a socket buffers.
const mostQuestions = 128

func (q *questions) put(c *conn) error {
	for len(q.requests) > 0 {
		n := min(len(q.requests), mostQuestions)
		answers, err := c.ask(q.requests[:n]...)
		if err != nil {
			return err
		}
		for i, a := range answers {
			if err := q.answered[i](a); err != nil {
				return err
			}
		}
		q.requests, q.answered = q.requests[n:], q.answered[n:]
	}
	return nil
}
