package link

import (
	"errors"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// MoveAll moves the links of a namespace, which must not have many, to another one, where
// they keep their names, but for those in names, and all else that Move would take from
// them but their addresses and routes. lo stays, and so do links of kinds that cannot be
// moved. It returns those that it moved, as they are then.
//
// A link that cannot be moved, because its name is taken say, does not keep it from moving
// the others; all errors are returned.
func (h *Handle) MoveAll(to *Handle, names map[string]string) ([]Link, error) {
	links, err := h.describeLinks()
	errs := []error{err}
	var moved []Link
	for _, l := range links {
		if l.Name == loopback || immovable(l) {
			continue
		}
		name := l.Name
		if other := names[name]; other != "" {
			name = other
		}
		err := h.Move(l.Link, Move{To: to, Name: name, Alias: l.Alias})
		if err == nil {
			l.Link, err = to.ByName(name)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		moved = append(moved, l.Link)
	}
	return moved, errors.Join(errs...)
}

const iflaNetNSImmutable = 0x43 // IFLA_NETNS_IMMUTABLE

// immovable reports whether the kernel refuses to move the link. Kernels before 6.16 do
// not say so: then these kinds are known.
func immovable(l SavedLink) bool {
	if m, err := parseMessage(l.Message, unix.SizeofIfInfomsg); err == nil {
		if v := m.get(iflaNetNSImmutable); len(v) == 1 {
			return v[0] != 0
		}
	}
	return slices.Contains([]string{"bridge", "vrf", "bond", "team"}, l.Kind)
}

// remake makes a link that could not be moved: its kind's options are those that it had.
func (r *restoration) remake(was SavedLink) error {
	name := was.Name
	if other := r.options.Names[name]; other != "" {
		name = other
	}
	m, err := parseMessage(was.Message, unix.SizeofIfInfomsg)
	if err != nil {
		return failure("restore link", was.Name, err)
	}
	info, err := parseAttributes(m.get(unix.IFLA_LINKINFO))
	if err != nil {
		return failure("restore link", was.Name, err)
	}
	info = slices.DeleteFunc(info, func(a attribute) bool { return !a.is(nl.IFLA_INFO_KIND) && !a.is(nl.IFLA_INFO_DATA) })
	data := []nl.NetlinkRequestData{
		nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(was.MTU))),
		nl.NewRtAttr(unix.IFLA_LINKINFO, info.appendTo(nil)),
	}
	if len(was.MAC) > 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_ADDRESS, was.MAC))
	}
	if err := r.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, data...); err != nil {
		return failure("restore link", was.Name, err)
	}
	is, err := r.ByName(name)
	if err == nil {
		r.now[was.Index] = SavedLink{Link: is}
	}
	return err
}

// enslave makes the link a port or member as it was, with what it had as such.
func (r *restoration) enslave(was, is, master SavedLink) error {
	if err := r.Set(is.Link, Change{Master: master.Index}); err != nil {
		return err
	}
	m, err := parseMessage(was.Message, unix.SizeofIfInfomsg)
	if err != nil {
		return failure("restore port", is.Name, err)
	}
	info, err := parseAttributes(m.get(unix.IFLA_LINKINFO))
	if err != nil {
		return failure("restore port", is.Name, err)
	}
	const slaveKind, slaveData = 4, 5 // IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA
	kind, options := info.get(slaveKind), info.get(slaveData)
	if kind == nil || len(options) == 0 {
		return nil
	}
	port := attributes{{slaveKind, kind}, {slaveData | unix.NLA_F_NESTED, options}}
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(is.Index)
	err = r.send(unix.RTM_NEWLINK, 0, msg, nl.NewRtAttr(unix.IFLA_LINKINFO, port.appendTo(nil)))
	return failure("restore port", is.Name, err)
}
