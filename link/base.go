package link

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"

	"github.com/seamnet/seam/netns"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Base is what links of every kind are made with.
type Base struct {
	Name   string
	MTU    int              // bytes; 0: the kernel's default, or its parent's
	MAC    net.HardwareAddr // nil: random, or its parent's
	Parent int              // index, in the handle's namespace, of the link that it stands on; 0: none
	NS     *netns.Namespace // where it is made, at once under its name; nil: the handle's own
}

// add makes a link, down, in one message. fill adds what only this kind knows, and may
// be nil. That the name is taken matches fs.ErrExist, and then nothing is made.
func (h *Handle) add(kind string, b Base, fill func(data *nl.RtAttr)) error {
	err := h.sendNew(kind, b, fill)
	if b.NS != nil && errors.Is(err, unix.EEXIST) {
		err = h.addAside(kind, b, fill, err)
	}
	return failure("add "+kind, sized(b.Name, b.MTU), err)
}

// addAside makes the link under another name first, if the one it is to have is not
// taken in its namespace: kernels before 6.15 also refuse a name that a link of the
// handle's own namespace has, and many hosts have an eth0 themselves.
func (h *Handle) addAside(kind string, b Base, fill func(data *nl.RtAttr), taken error) error {
	inside, err := In(b.NS)
	if err != nil {
		return err
	}
	defer inside.Close()
	if _, err := inside.ByName(b.Name); !Missing(err) {
		return errors.Join(taken, err)
	}
	final := b.Name
	b.Name = Aside(final)
	if err := h.sendNew(kind, b, fill); err != nil {
		return err
	}
	if err := inside.nl.LinkSetName(device(Link{Name: b.Name}), final); err != nil {
		return errors.Join(err, inside.Delete(b.Name))
	}
	return nil
}

// Aside is the name that a link of that name may have had before, and has kept if its
// maker was killed meanwhile.
func Aside(name string) string {
	h := fnv.New32a()
	h.Write([]byte(name))
	return fmt.Sprintf("seam%08x", h.Sum32())
}

func (h *Handle) sendNew(kind string, b Base, fill func(data *nl.RtAttr)) error {
	data := []nl.NetlinkRequestData{nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(b.Name))}
	if b.MTU != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(b.MTU))))
	}
	if b.MAC != nil {
		data = append(data, nl.NewRtAttr(unix.IFLA_ADDRESS, b.MAC))
	}
	if b.Parent != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(b.Parent))))
	}
	if b.NS != nil {
		data = append(data, nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(b.NS.Fd()))))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
	if fill != nil {
		fill(info.AddRtAttr(nl.IFLA_INFO_DATA, nil))
	}
	return h.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(data, info)...)
}
