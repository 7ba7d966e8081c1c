package link

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A SavedQueueing is a queueing discipline, a class or a filter of a link.
type SavedQueueing struct {
	Type    uint16 // of the message that makes it: RTM_NEWQDISC, RTM_NEWTCLASS or RTM_NEWTFILTER
	Message SavedMessage
}

// classful are the disciplines whose classes someone made; others have what looks like
// classes, but comes with them.
var classful = []string{"htb", "hfsc", "drr", "qfq", "cbq"}

// saveQueueing saves what was made of queueing; what each link has by itself bears no
// handle.
func (h *Handle) saveQueueing(s *Snapshot) error {
	qdiscs, err := h.dumpQueueing(unix.RTM_GETQDISC, 0, 0)
	if err != nil {
		return err
	}
	var errs []error
	for _, q := range qdiscs {
		l := s.byIndex(q.link())
		if l == nil || q.handle() == 0 {
			continue
		}
		l.add(unix.RTM_NEWQDISC, q)
		parents := []uint32{q.handle()}
		if slices.Contains(classful, q.kind()) {
			classes, err := h.saveClasses(l, q)
			parents = append(parents, classes...)
			errs = append(errs, err)
		}
		if q.kind() == "clsact" {
			parents = []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS}
		}
		for _, parent := range parents {
			errs = append(errs, h.saveFilters(l, parent))
		}
	}
	return errors.Join(errs...)
}

// saveClasses returns the handles of the classes of a discipline. Each is saved after the
// one that it is in: the kernel takes one that it does not know yet for the root.
func (h *Handle) saveClasses(l *SavedLink, of queueing) (handles []uint32, err error) {
	classes, err := h.dumpQueueing(unix.RTM_GETTCLASS, l.Index, 0)
	classes = slices.DeleteFunc(classes, func(c queueing) bool { return c.handle()>>16 != of.handle()>>16 })
	for len(classes) > 0 {
		next := slices.IndexFunc(classes, func(c queueing) bool {
			return !slices.ContainsFunc(classes, func(in queueing) bool { return in.handle() == c.parent() })
		})
		next = max(next, 0)
		l.add(unix.RTM_NEWTCLASS, classes[next])
		handles = append(handles, classes[next].handle())
		classes = slices.Delete(classes, next, next+1)
	}
	return handles, err
}

func (h *Handle) saveFilters(l *SavedLink, parent uint32) error {
	filters, err := h.dumpQueueing(unix.RTM_GETTFILTER, l.Index, parent)
	if errors.Is(err, unix.EINVAL) { // it takes none
		return nil
	}
	for _, f := range filters {
		if f.handle() != 0 && !f.comesByItself() {
			l.add(unix.RTM_NEWTFILTER, f)
		}
	}
	return err
}

func (l *SavedLink) add(kind uint16, q queueing) {
	l.Queueing = append(l.Queueing, SavedQueueing{kind, q.Serialize()})
}

func (h *Handle) dumpQueueing(kind, link int, parent uint32) ([]queueing, error) {
	messages, err := h.dump(kind, &nl.TcMsg{Family: unix.AF_UNSPEC, Ifindex: int32(link), Parent: parent})
	if err != nil {
		return nil, failure("list", "queueing", err)
	}
	var all []queueing
	for _, raw := range messages {
		q, err := parseQueueing(raw)
		if err != nil {
			return nil, failure("list", "queueing", err)
		}
		all = append(all, q)
	}
	return all, nil
}

// A queueing is a message about any of the three: struct tcmsg and attributes.
type queueing struct{ message }

func parseQueueing(raw []byte) (queueing, error) {
	m, err := parseMessage(raw, nl.SizeofTcMsg)
	q := queueing{m}
	if err != nil {
		return q, err
	}
	q.attributes = q.without(nl.TCA_STATS, nl.TCA_STATS2, nl.TCA_XSTATS, nl.TCA_FCNT)
	if q.kind() == "htb" {
		err = q.setHTBVersion()
	}
	return q, err
}

// setHTBVersion makes of the version that the kernel tells the one that it wants to be
// told, which is its upper half.
func (q queueing) setHTBVersion() error {
	options, err := parseAttributes(q.get(nl.TCA_OPTIONS))
	if init := options.get(nl.TCA_HTB_INIT); len(init) >= 4 {
		if version := binary.NativeEndian.Uint32(init); version > 0xffff {
			binary.NativeEndian.PutUint32(init, version>>16)
		}
	}
	return err
}

func (q queueing) link() int      { return int(int32(q.number(4))) }
func (q queueing) handle() uint32 { return q.number(8) }
func (q queueing) parent() uint32 { return q.number(12) }
func (q queueing) kind() string   { return q.text(nl.TCA_KIND) }

// comesByItself reports whether a filter is the hash table that the kernel makes for the
// first u32 filter of a priority.
func (q queueing) comesByItself() bool {
	return q.kind() == "u32" && q.handle()&0xfffff == 0 && q.handle() >= u32Root
}

// The handles of u32's filters have the number of a hash table, of a bucket and of a node.
// Tables from u32Root on were not made by anybody, but came with a priority.
const (
	u32Root = 0x800 << 20
	u32Node = 0xfff
)

// Where, in the options of a kind of filter, its actions and its flags are.
var filterOptions = map[string]struct{ actions, flags int }{
	"u32":      {nl.TCA_U32_ACT, 11},
	"flower":   {nl.TCA_FLOWER_ACT, nl.TCA_FLOWER_FLAGS},
	"matchall": {2, 3},
	"basic":    {3, 0},
	"fw":       {4, 0},
	"bpf":      {1, 9},
}

// renewed is a filter as it can be made: without what its flags tell, with actions of its
// own, and with those that lead to another link leading to where that is now.
func (q queueing) renewed(index func(was uint32) uint32) (queueing, error) {
	at, ok := filterOptions[q.kind()]
	options, err := parseAttributes(q.get(nl.TCA_OPTIONS))
	if err != nil || !ok {
		return q, err
	}
	if q.kind() == "u32" && q.handle() >= u32Root { // the number of this table is the kernel's choice
		q.setNumber(8, q.handle()&u32Node)
		options = options.without(nl.TCA_U32_HASH)
	}
	if flags, ok := options.uint32(at.flags); ok && at.flags != 0 {
		const skipHardware, skipSoftware = 1, 2
		options.set(at.flags, binary.NativeEndian.AppendUint32(nil, flags&(skipHardware|skipSoftware)))
	}
	actions, err := parseAttributes(options.get(at.actions))
	for i, a := range actions {
		if actions[i].value, err = renewAction(a.value, index); err != nil {
			return q, err
		}
	}
	options.set(at.actions, actions.appendTo(nil))
	q.set(nl.TCA_OPTIONS, options.appendTo(nil))
	return q, err
}

const (
	actionStats, actionUsedStats, actionInHardware = 4, 9, 10 // TCA_ACT_STATS, _USED_HW_STATS, _IN_HW_COUNT
	actionIndex                                    = 3        // TCA_ACT_INDEX
	mirredLink                                     = 24       // where struct tc_mirred has the link's index
)

// renewAction takes from an action its number, by which it would be one with another
// link's, and exchanges the link that it leads to.
func renewAction(raw []byte, index func(was uint32) uint32) ([]byte, error) {
	action, err := parseAttributes(raw)
	if err != nil {
		return nil, err
	}
	action = action.without(actionStats, actionUsedStats, actionInHardware, actionIndex)
	options, err := parseAttributes(action.get(nl.TCA_ACT_OPTIONS))
	if err != nil {
		return nil, err
	}
	kind, parameters := action.text(nl.TCA_ACT_KIND), 2
	if kind == "police" {
		parameters = 1
	}
	if p := options.get(parameters); len(p) >= 4 {
		binary.NativeEndian.PutUint32(p, 0)
		if kind == "mirred" && len(p) >= mirredLink+4 {
			binary.NativeEndian.PutUint32(p[mirredLink:], index(binary.NativeEndian.Uint32(p[mirredLink:])))
		}
	}
	action.set(nl.TCA_ACT_OPTIONS, options.appendTo(nil))
	return action.appendTo(nil), nil
}
