package link

import (
	"bytes"
	"errors"
	"fmt"
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
	return slices.Contains([]string{bridge, "vrf", "bond", "team"}, l.Kind)
}

// remake makes a link that could not be moved: its kind's options are those that it had.
func (r *restoration) remake(was SavedLink) error {
	name := was.Name
	if other := r.options.Names[name]; other != "" {
		name = other
	}
	options, err := was.options(ofKind)
	if err != nil {
		return failure("restore link", was.Name, err)
	}
	err = r.add(was.Kind, Base{Name: name, MTU: was.MTU, MAC: was.MAC}, func(data *nl.RtAttr) {
		if was.Kind != bridge {
			for _, o := range options {
				data.AddRtAttr(int(o.kind), o.value)
			}
		}
	})
	if err != nil {
		return err
	}
	is, err := r.ByName(name)
	if err != nil {
		return err
	}
	r.now[was.Index] = SavedLink{Link: is}
	if was.Kind == bridge {
		return r.setOptions(is, was, ofKind)
	}
	return nil
}

const bridge = "bridge"

// An optionSet is where a link's description has the options of its kind, or those that it
// has as a bridge's port; and which of them say how it does.
type optionSet struct {
	kind, data int
	state      []int
}

var (
	ofKind = optionSet{nl.IFLA_INFO_KIND, nl.IFLA_INFO_DATA, []int{
		10, 11, 12, 13, 14, 15, 16, 17, 18, 19, // IFLA_BR_ROOT_ID to IFLA_BR_GC_TIMER
		47, 48, // IFLA_BR_MCAST_QUERIER_STATE, IFLA_BR_FDB_N_LEARNED
	}}
	ofPort = optionSet{4, 5, []int{ // IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA
		1, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, // IFLA_BRPORT_STATE, IFLA_BRPORT_ROOT_ID to IFLA_BRPORT_HOLD_TIMER
		34, 35, 36, 38, 41, // IFLA_BRPORT_BACKUP_PORT, IFLA_BRPORT_MRP_RING_OPEN, …_IN_OPEN, …_MCAST_EHT_HOSTS_CNT, …_MCAST_N_GROUPS
	}}
)

// setOptions gives a bridge or a port the options in which it differs from what it was, one
// by one, because some that every bridge has are refused by kernels without what they are
// about.
func (r *restoration) setOptions(is Link, was SavedLink, set optionSet) error {
	now, err := r.describe(is)
	if err != nil {
		return err
	}
	wanted, err := was.options(set)
	has, err2 := now.options(set)
	errs := []error{failure("restore link", is.Name, errors.Join(err, err2))}
	for _, o := range wanted {
		if slices.ContainsFunc(set.state, o.is) || bytes.Equal(has.get(int(o.kind)), o.value) {
			continue
		}
		info := attributes{{uint16(set.kind), []byte(bridge)}, {uint16(set.data) | unix.NLA_F_NESTED, attributes{o}.appendTo(nil)}}
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(is.Index)
		err := r.send(unix.RTM_NEWLINK, 0, msg, nl.NewRtAttr(unix.IFLA_LINKINFO, info.appendTo(nil)))
		errs = append(errs, failure(fmt.Sprintf("set option %d of", o.kind), is.Name, err))
	}
	return errors.Join(errs...)
}

// options returns those of the set.
func (l SavedLink) options(set optionSet) (attributes, error) {
	m, err := parseMessage(l.Message, unix.SizeofIfInfomsg)
	if err != nil {
		return nil, err
	}
	info, err := parseAttributes(m.get(unix.IFLA_LINKINFO))
	if err != nil {
		return nil, err
	}
	return parseAttributes(info.get(set.data))
}

// enslave makes the link a port or member as it was.
func (r *restoration) enslave(was, is, master SavedLink) error {
	err := r.Set(is.Link, Change{Master: master.Index})
	if err != nil || master.Kind != bridge {
		return err
	}
	return r.setOptions(is.Link, was, ofPort)
}

// describe returns a link as describeLinks does.
func (h *Handle) describe(l Link) (SavedLink, error) {
	links, err := h.describeLinks()
	for _, is := range links {
		if is.Index == l.Index {
			return is, nil
		}
	}
	return SavedLink{}, errors.Join(err, failure("link", l.Name, notThere))
}
