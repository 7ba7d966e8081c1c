package dhcp

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/seamnet/seam/cni"
	"golang.org/x/sys/unix"
)

// A lease is what an attachment was granted or, as long as Since is zero, was offered
// and is about to ask for. Its JSON form is the record on disk.
type lease struct {
	cni.Attachment
	NetNS   string    `json:"netns"` // as the runtime names it
	Place   place     `json:"place"` // which namespace and link that was
	Options options   `json:"options"`
	Message *message  `json:"message"` // the server's OFFER or ACK
	Since   time.Time `json:"since"`   // when it was asked for: from then on its times count
}

// A message is one of DHCP, which JSON has as its bytes.
type message struct{ *dhcpv4.DHCPv4 }

func (m message) MarshalJSON() ([]byte, error) { return json.Marshal(m.ToBytes()) }

func (m *message) UnmarshalJSON(data []byte) (err error) {
	var wire []byte
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	m.DHCPv4, err = dhcpv4.FromBytes(wire)
	return err
}

// address returns what was offered or granted.
func (l *lease) address() netip.Addr { return addr(l.Message.YourIPAddr) }

func (l *lease) granted() bool { return l.Message != nil && !l.Since.IsZero() }

// Times that servers leave out (RFC 2131, section 4.4.5), and the shortest that is
// waited for.
const (
	defaultTime  = time.Hour
	shortestTime = time.Second
)

// times returns when the lease is to be renewed, when any server may do that, and
// when it ends.
func (l *lease) times() (renew, rebind, end time.Time) {
	whole := max(l.Message.IPAddressLeaseTime(defaultTime), shortestTime)
	t2 := l.Message.IPAddressRebindingTime(0)
	if t2 < shortestTime || t2 > whole {
		t2 = whole / 8 * 7
	}
	t1 := l.Message.IPAddressRenewalTime(0)
	if t1 < shortestTime || t1 > t2 {
		t1 = min(whole/2, t2)
	}
	return l.Since.Add(t1), l.Since.Add(t2), l.Since.Add(whole)
}

// terms returns what the granted lease means to the pod.
func (l *lease) terms() (*terms, error) {
	m := l.Message
	ones, bits := m.SubnetMask().Size()
	if bits != 32 {
		return nil, cni.Errorf(cni.CodeInternal, "server %s granted %s without a valid subnet mask", m.ServerIdentifier(), l.address()).
			WithDetails(`let it send option 1, and let "request" ask for it`)
	}
	t := &terms{Address: netip.PrefixFrom(l.address(), ones)}
	if routers := m.Router(); len(routers) > 0 {
		t.Gateway = addr(routers[0])
	}
	// Who sends option 121 means it to stand for options 33 and 3 (RFC 3442).
	if t.Routes = classlessRoutes(m); len(t.Routes) > 0 {
		return t, nil
	}
	t.Routes = classfulRoutes(m.Options.Get(dhcpv4.OptionStaticRoutingTable))
	if t.Gateway.IsValid() {
		t.Routes = append(t.Routes, cni.Route{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), GW: t.Gateway})
	}
	return t, nil
}

// classlessRoutes returns the routes of option 121. One whose router is 0.0.0.0 leads
// to the link itself.
func classlessRoutes(m *message) []cni.Route {
	var routes []cni.Route
	for _, r := range m.ClasslessStaticRoute() {
		ones, _ := r.Dest.Mask.Size()
		route := cni.Route{Dst: netip.PrefixFrom(addr(r.Dest.IP), ones).Masked(), GW: addr(r.Router)}
		if route.GW.IsUnspecified() {
			link := unix.RT_SCOPE_LINK
			route.Scope = &link
		}
		routes = append(routes, route)
	}
	return routes
}

// classfulRoutes returns the routes of option 33: pairs of a destination, whose class
// is its length, and a router.
func classfulRoutes(pairs []byte) []cni.Route {
	var routes []cni.Route
	for ; len(pairs) >= 8; pairs = pairs[8:] {
		dst, router := net.IP(pairs[:4]), net.IP(pairs[4:8])
		ones, bits := dst.DefaultMask().Size()
		if bits == 0 || dst.IsUnspecified() { // of no class, or the default route, which is the router's
			continue
		}
		routes = append(routes, cni.Route{Dst: netip.PrefixFrom(addr(dst), ones).Masked(), GW: addr(router)})
	}
	return routes
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func (l *lease) String() string {
	if l.Message == nil {
		return string(l.Tag())
	}
	return fmt.Sprintf("%s of %s", l.address(), l.Tag())
}
