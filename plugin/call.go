package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"golang.org/x/sys/unix"
)

// A Call is one call of an interface plugin as its Device sees it: the request and
// the doors to both sides.
type Call struct {
	*cni.Request
	host   *Host
	Links  *link.Handle     // the host's
	Pod    *link.Handle     // the pod's
	PodNS  *netns.Namespace // for what must run inside
	Link   link.Link        // the pod's interface; Add: as Device.Make made it
	Result *cni.Result      // Add: what there is so far; Check: the chain's final result

	// DAD makes the pod ask whether someone else has its IPv6 addresses, which takes
	// a second. A Device sets it where the addresses are not Seam's alone to give.
	DAD bool
	// ViaGateway leaves the pod without neighbours but its gateway; a Device sets it in
	// Connect and in Check.
	ViaGateway bool
	// AnnounceLate says that going up announces nothing, as what the interface is connected
	// with does not yet pass frames on. A Device sets it in Connect and calls Announce in
	// Finish, when that does.
	AnnounceLate bool
	// LeaveDown leaves the pod's interface down.
	LeaveDown bool
	// TakesOver says that Result is the whole chain's: what the plugins before reported
	// is this interface's now, and is not passed on beside it.
	TakesOver bool
}

// open opens both sides. An error with CodeInvalidNetNS is about the pod's.
func (h *Host) open(r *cni.Request) (*Call, error) {
	if r.NetNS == "" {
		return nil, cni.Errorf(cni.CodeInvalidNetNS, "%s: %w", r.Config.Type, errNoNetNS)
	}
	links, err := h.Links()
	if err != nil {
		return nil, err
	}
	ns, err := netns.Open(r.NetNS)
	if err != nil {
		return nil, cni.Errorf(cni.CodeInvalidNetNS, "%w", err)
	}
	pod, err := link.In(ns)
	if err != nil {
		ns.Close()
		return nil, err
	}
	return &Call{Request: r, host: h, Links: links, Pod: pod, PodNS: ns, Result: &cni.Result{}}, nil
}

// gone reports whether open's error says that there is no namespace, and so nothing inside to
// undo. One that only cannot be opened, for want of files or rights, is there still.
func gone(err error) bool {
	missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, errNoNetNS)
	return missing && cni.CodeOf(err) == cni.CodeInvalidNetNS
}

func (c *Call) close() {
	if c.Pod != nil {
		c.Pod.Close()
		c.PodNS.Close()
	}
}

// HostName returns the name of the host's end of the attachment's veth: derived
// from the tag, so that Del finds it at once and two calls cannot make it twice.
func HostName(tag cni.Tag) string { return "veth" + tag.Hash(11) }

// Alias is what a link bears that was made for the tag.
func Alias(tag cni.Tag) string { return aliasPrefix + string(tag) }

const aliasPrefix = "seam:"

// Mark returns the alternative name that a Lender gives to what it lends to the attachment,
// and that says so wherever the link is. It is derived from the tag, which may be longer
// than a name can be.
func Mark(tag cni.Tag) string { return markPrefix + tag.Hash(markDigits) }

// IsMark reports whether a name is a Mark, of whichever attachment.
func IsMark(name string) bool {
	return strings.HasPrefix(name, markPrefix) && len(name) == len(markPrefix)+markDigits
}

const (
	markPrefix = "seam-"
	markDigits = 24
)

// AddVeth makes the attachment's veth, whose host end has HostName and whose peer is
// the pod's interface, and sets Link. Both ends are down. The host's end bears no tag
// yet: the Device sets Alias in the message that connects it. A crash between the two
// leaves a veth that Del finds by its name, and that goes away with the pod.
func (c *Call) AddVeth(v link.Veth) error {
	v.Name, v.PeerName, v.PeerNS = HostName(c.Tag()), c.IfName, c.PodNS
	err := c.Links.AddVeth(v)
	if errors.Is(err, fs.ErrExist) {
		return c.whatExists(v.Name, err)
	}
	return c.Made(err)
}

// Made sets Link to the pod's interface, which was just made in the pod under its name
// with the outcome err. If one of that name was there, whatever else stood in the way,
// that becomes a refusal that touched nothing.
func (c *Call) Made(err error) error {
	if err == nil {
		c.Link, err = c.Pod.ByName(c.IfName)
		return err
	}
	if _, podErr := c.Pod.ByName(c.IfName); podErr == nil {
		return exists(fs.ErrExist, "interface %s is in the pod %s already", c.IfName, c.NetNS)
	}
	return err
}

// HostEnd returns the host's end of the pod's interface, which must be a veth.
func (c *Call) HostEnd() (link.Link, error) {
	if c.Link.Kind != "veth" {
		return link.Link{}, fmt.Errorf("pod %s: interface %s is a %s, not a veth", c.NetNS, c.IfName, c.Link.Kind)
	}
	host, err := c.Links.ByIndex(c.Link.Peer)
	if err == nil && host.Peer != c.Link.Index { // a number of another namespace
		err = link.NotThere("is not on the host")
	}
	if err != nil {
		return link.Link{}, fmt.Errorf("host end of %s: %w", c.IfName, err)
	}
	return host, nil
}

// Host returns the host that the call works on.
func (c *Call) Host() *Host { return c.host }

func (c *Call) whatExists(hostName string, err error) error {
	if _, podErr := c.Pod.ByName(c.IfName); podErr == nil {
		return c.Made(err)
	}
	return exists(err, "container %s is attached to network %s as %s already (%s): DEL it first", c.ContainerID, c.Network, c.IfName, hostName)
}

// PodInterface returns the result's entry for Link. Like the reference plugins' it has
// no MTU, which a later plugin of the chain may change without saying so.
func (c *Call) PodInterface() cni.Interface {
	return cni.Interface{Name: c.Link.Name, MAC: c.Link.MAC, Sandbox: c.NetNS}
}

// HostInterface returns the result's entry for an interface of the host.
func HostInterface(l link.Link) cni.Interface {
	return cni.Interface{Name: l.Name, MAC: l.MAC}
}

// Families reports which families the result's addresses are of.
func (c *Call) Families() (v4, v6 bool) {
	for _, ip := range c.Result.IPs {
		if ip.Address.Addr().Is4() {
			v4 = true
		} else {
			v6 = true
		}
	}
	return v4, v6
}

// GatewaySettings makes the host's link ready to be the gateway of IPv6 pods: it takes
// no routes from those it serves, and its link-local address, made from a MAC address
// of its own, is not first looked for elsewhere. For a second or two the host could
// otherwise forward nothing to them, as it would have no address to ask for
// neighbours with. A kernel without IPv6 has no such settings.
func GatewaySettings(ifname string) error {
	for _, key := range []string{"accept_ra", "accept_dad"} {
		err := link.Sysctl("ipv6/conf/" + ifname + "/" + key).Write("0")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// CheckForward reports what Forward did and someone undid. For an attachment that a
// reference plugin made it was not done; others' rules may let its packets pass.
func (c *Call) CheckForward(ifname string) error {
	if host, err := c.HostEnd(); err == nil && !strings.HasPrefix(host.Alias, aliasPrefix) {
		return nil
	}
	v4, v6 := c.Families()
	var errs []error
	for setting, wanted := range map[link.Sysctl]bool{forward4: v4, forward6: v6} {
		value, err := setting.Get()
		if wanted && err == nil && value == "0" {
			err = fmt.Errorf("sysctl net/%s is 0: the host forwards no packets", setting)
		}
		if wanted {
			errs = append(errs, err)
		}
	}
	table, err := c.host.Table()
	if err == nil {
		err = table.CheckForward(ifname)
	}
	return errors.Join(append(errs, err)...)
}

const (
	forward4 link.Sysctl = "ipv4/ip_forward"
	forward6 link.Sysctl = "ipv6/conf/all/forwarding"
)

// Forward makes the host forward packets of the result's families between its
// link ifname and the others, also where a firewall's policy is to drop them.
func (c *Call) Forward(ifname string) error {
	v4, v6 := c.Families()
	var errs []error
	if v4 {
		errs = append(errs, forward4.Set("1"))
	}
	if v6 {
		errs = append(errs, forward6.Set("1"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("let the host forward packets: %w", err)
	}
	table, err := c.host.Table()
	if err != nil {
		return err
	}
	return table.AdmitForward(ifname)
}
