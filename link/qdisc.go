package link

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Handles of queueing disciplines and classes, as tc(8) writes them.
const (
	rootHandle    = 1 << 16 // 1:
	shapedClass   = 1       // 1:1
	ingressHandle = 0xffff << 16
)

// A TBF is a token bucket: what passes a link at most.
type TBF struct {
	Rate    uint64        // bytes a second; at least 1
	Burst   uint64        // bytes that may pass at once after a silence
	Latency time.Duration // what would have to wait longer than this, beyond a burst, is dropped
}

// The kernel is told a burst as the time that the rate takes for it, in ticks.
const nsPerTick = 64

// buffer returns the burst in ticks, and false if it is cut because it takes more than
// 32 bits of them, which is 274 s. It is rounded to microseconds first, as by tc(8) and
// the reference plugins, so that each takes the others' for its own.
func (t TBF) buffer() (ticks uint32, exact bool) {
	us := float64(t.Burst) * 1e6 / float64(t.Rate)
	if us*1e3/nsPerTick > math.MaxUint32 {
		return math.MaxUint32, false
	}
	return uint32(uint64(us) * 1000 / nsPerTick), true
}

// holds reports whether a queueing discipline's buffer is what was asked for. The
// kernel rounds by a tick, and one that was too much has been cut as its maker pleased.
func (t TBF) holds(ticks uint32) bool {
	want, exact := t.buffer()
	return !exact || max(want, ticks)-min(want, ticks) <= 1
}

// limit returns how many bytes may wait.
func (t TBF) limit() uint32 {
	return uint32(min(float64(t.Rate)*t.Latency.Seconds()+float64(t.Burst), math.MaxUint32))
}

// AddTBF makes what leaves by the link pass the bucket. A link with a root queueing
// discipline that someone made matches fs.ErrExist.
func (h *Handle) AddTBF(l Link, t TBF) error {
	buffer, _ := t.buffer()
	err := h.nl.QdiscAdd(&netlink.Tbf{QdiscAttrs: root(l), Rate: t.Rate, Limit: t.limit(), Buffer: buffer})
	return failure("add qdisc tbf to", l.Name, err)
}

func root(l Link) netlink.QdiscAttrs {
	return netlink.QdiscAttrs{LinkIndex: l.Index, Handle: rootHandle, Parent: netlink.HANDLE_ROOT}
}

// AddHTB makes what leaves by the link and is Shaped by one of the filters, or by none
// if byDefault, pass the bucket; the rest is not delayed. A link with a root queueing
// discipline that someone made matches fs.ErrExist.
func (h *Handle) AddHTB(l Link, t TBF, byDefault bool, filters []Filter) error {
	htb := netlink.NewHtb(root(l))
	if byDefault {
		htb.Defcls = shapedClass // 0 would be the direct queue, which is not shaped
	}
	if err := h.nl.QdiscAdd(htb); err != nil {
		return failure("add qdisc htb to", l.Name, err)
	}
	buffer, _ := t.buffer()
	err := h.nl.ClassAdd(&netlink.HtbClass{
		ClassAttrs: netlink.ClassAttrs{LinkIndex: l.Index, Handle: rootHandle | shapedClass, Parent: rootHandle},
		Rate:       t.Rate, Ceil: t.Rate, Buffer: buffer, Cbuffer: buffer, Quantum: quantum,
	})
	if err != nil {
		return failure("add class htb to", l.Name, err)
	}
	if err := h.addBFIFO(l, t.limit()); err != nil {
		return err
	}
	for _, f := range filters {
		if err := h.addFilter(l, rootHandle, f); err != nil {
			return err
		}
	}
	return nil
}

// quantum is of no consequence in a discipline with one class, but the kernel complains
// about what it would choose itself.
const quantum = 1 << 16

// addBFIFO bounds in bytes what waits in the shaped class: by itself that is a thousand
// packets, seconds of them at low rates.
func (h *Handle) addBFIFO(l Link, limit uint32) error {
	msg := &nl.TcMsg{Family: unix.AF_UNSPEC, Ifindex: int32(l.Index), Handle: 2 << 16, Parent: rootHandle | shapedClass}
	err := h.send(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, msg,
		nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bfifo")), nl.NewRtAttr(nl.TCA_OPTIONS, nl.Uint32Attr(limit)))
	return failure("add qdisc bfifo to", l.Name, err)
}

// AddIngress makes what comes in by the link pass the filters, the first that matches
// deciding. A link with an ingress queueing discipline matches fs.ErrExist.
func (h *Handle) AddIngress(l Link, filters []Filter) error {
	attrs := netlink.QdiscAttrs{LinkIndex: l.Index, Handle: ingressHandle, Parent: netlink.HANDLE_INGRESS}
	if err := h.nl.QdiscAdd(&netlink.Ingress{QdiscAttrs: attrs}); err != nil {
		return failure("add qdisc ingress to", l.Name, err)
	}
	for _, f := range filters {
		if err := h.addFilter(l, ingressHandle, f); err != nil {
			return err
		}
	}
	return nil
}

// DeleteShaping deletes what AddTBF or AddHTB made. That it is not there matches
// fs.ErrNotExist; what others made stays.
func (h *Handle) DeleteShaping(l Link) error {
	err := fs.ErrNotExist
	for _, kind := range []string{"tbf", "htb"} {
		if errors.Is(err, fs.ErrNotExist) {
			err = h.deleteQdisc(l, kind, rootHandle, netlink.HANDLE_ROOT)
		}
	}
	return err
}

// DeleteIngress deletes what AddIngress made. That it is not there matches
// fs.ErrNotExist.
func (h *Handle) DeleteIngress(l Link) error {
	return h.deleteQdisc(l, "ingress", ingressHandle, netlink.HANDLE_INGRESS)
}

// deleteQdisc names kind and handle, so that the kernel refuses another's.
func (h *Handle) deleteQdisc(l Link, kind string, handle, parent uint32) error {
	msg := &nl.TcMsg{Family: unix.AF_UNSPEC, Ifindex: int32(l.Index), Handle: handle, Parent: parent}
	err := h.send(unix.RTM_DELQDISC, 0, msg, nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(kind)))
	if errors.Is(err, unix.EINVAL) {
		err = missing{err}
	}
	return failure("delete qdisc "+kind+" of", l.Name, err)
}

// CheckTBF compares the link's root queueing discipline with what AddTBF makes.
func (h *Handle) CheckTBF(l Link, t TBF) error {
	has, err := h.rootQdisc(l)
	if err != nil {
		return err
	}
	tbf, ok := has.(*netlink.Tbf)
	if !ok {
		return wrongQdisc(l, has, "tbf")
	}
	if tbf.Rate != t.Rate || !t.holds(tbf.Buffer) || tbf.Limit != t.limit() {
		return fmt.Errorf("qdisc tbf of %s: lets pass %d bytes a second, burst %s, limit %d; wanted are %s", l.Name, tbf.Rate, ofTicks(tbf.Buffer), tbf.Limit, t)
	}
	return nil
}

// CheckHTB compares the link's root queueing discipline with what AddHTB makes.
func (h *Handle) CheckHTB(l Link, t TBF, byDefault bool, filters []Filter) error {
	has, err := h.rootQdisc(l)
	if err != nil {
		return err
	}
	htb, ok := has.(*netlink.Htb)
	if !ok {
		return wrongQdisc(l, has, "htb")
	}
	if (htb.Defcls == shapedClass) != byDefault {
		return fmt.Errorf("qdisc htb of %s: has default class %#x", l.Name, htb.Defcls)
	}
	classes, err := retry(func() ([]netlink.Class, error) { return h.nl.ClassList(device(l), netlink.HANDLE_NONE) })
	if err != nil {
		return failure("classes of", l.Name, err)
	}
	for _, c := range classes {
		class, ok := c.(*netlink.HtbClass)
		if ok && class.Handle == rootHandle|shapedClass && class.Rate == t.Rate && class.Ceil == t.Rate && t.holds(class.Buffer) {
			return h.checkFilters(l, rootHandle, filters)
		}
	}
	return fmt.Errorf("qdisc htb of %s: has no class 1:1 of %s", l.Name, t)
}

// CheckIngress compares the filters of what comes in by the link with those that
// AddIngress was given.
func (h *Handle) CheckIngress(l Link, filters []Filter) error {
	return h.checkFilters(l, ingressHandle, filters)
}

func (h *Handle) rootQdisc(l Link) (netlink.Qdisc, error) {
	all, err := retry(func() ([]netlink.Qdisc, error) { return h.nl.QdiscList(device(l)) })
	if err != nil {
		return nil, failure("qdiscs of", l.Name, err)
	}
	for _, q := range all {
		if q.Attrs().Parent == netlink.HANDLE_ROOT {
			return q, nil
		}
	}
	return nil, nil
}

func wrongQdisc(l Link, has netlink.Qdisc, want string) error {
	if has == nil {
		return fmt.Errorf("qdisc of %s: is gone, want %s", l.Name, want)
	}
	return fmt.Errorf("qdisc of %s: is %s, not %s", l.Name, has.Type(), want)
}

func (t TBF) String() string {
	buffer, _ := t.buffer()
	return fmt.Sprintf("%d bytes a second, burst %s, limit %d", t.Rate, ofTicks(buffer), t.limit())
}

func ofTicks(n uint32) time.Duration { return time.Duration(n) * nsPerTick }
