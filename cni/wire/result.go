package wire

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/seamnet/seam/cni"
)

// resultForm is the JSON form of results since 0.3.0. What came or went since then
// is marked; the version decides what is written.
type resultForm struct {
	CNIVersion string          `json:"cniVersion"`
	Interfaces []interfaceForm `json:"interfaces,omitempty"`
	IPs        []ipForm        `json:"ips,omitempty"`
	Routes     []cni.Route     `json:"routes,omitempty"`
	DNS        cni.DNS         `json:"dns,omitzero"`
}

type interfaceForm struct {
	Name       string `json:"name"`
	MAC        string `json:"mac,omitempty"`
	MTU        int    `json:"mtu,omitempty"` // from 1.0.0 on, as the two below
	Sandbox    string `json:"sandbox,omitempty"`
	SocketPath string `json:"socketPath,omitempty"`
	PciID      string `json:"pciID,omitempty"`
}

type ipForm struct {
	Version   string       `json:"version,omitempty"` // "4" or "6", before 1.0.0
	Interface *int         `json:"interface,omitempty"`
	Address   netip.Prefix `json:"address"`
	Gateway   netip.Addr   `json:"gateway,omitzero"`
}

// oldResultForm is the JSON form of results before 0.3.0.
type oldResultForm struct {
	CNIVersion string     `json:"cniVersion"`
	IP4        *oldIPForm `json:"ip4,omitempty"`
	IP6        *oldIPForm `json:"ip6,omitempty"`
	DNS        cni.DNS    `json:"dns,omitzero"`
}

type oldIPForm struct {
	IP      netip.Prefix `json:"ip"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
	Routes  []cni.Route  `json:"routes,omitempty"`
}

// EncodeResult returns the result in the JSON form of the version ("" is 0.1.0). A
// form before 1.0.0 has no MTU, socket path or PCI ID; one before 0.3.0 holds the
// first address of each family with that family's routes, and must have one.
// An unknown version is an error with CodeIncompatibleVersion.
func EncodeResult(r *cni.Result, version string) ([]byte, error) {
	version, err := known(version)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &cni.Result{}
	}
	if err := checkPrefixes(r); err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	switch {
	case version < "0.3.0": // the supported versions sort as strings
		old, err := encodeOld(r, version)
		if err != nil {
			return nil, err
		}
		return json.Marshal(old)
	default:
		return json.Marshal(encodeNew(r, version))
	}
}

func encodeNew(r *cni.Result, version string) *resultForm {
	form := &resultForm{
		CNIVersion: version,
		Interfaces: make([]interfaceForm, len(r.Interfaces)),
		IPs:        make([]ipForm, len(r.IPs)),
		Routes:     r.Routes,
		DNS:        r.DNS,
	}
	for i, l := range r.Interfaces {
		form.Interfaces[i] = interfaceForm{Name: l.Name, MAC: l.MAC.String(), Sandbox: l.Sandbox}
		if version >= "1.0.0" {
			form.Interfaces[i].MTU = l.MTU
			form.Interfaces[i].SocketPath = l.SocketPath
			form.Interfaces[i].PciID = l.PciID
		}
	}
	for i, ip := range r.IPs {
		form.IPs[i] = ipForm{Interface: ip.Interface, Address: ip.Address, Gateway: ip.Gateway}
		if version < "1.0.0" {
			form.IPs[i].Version = "6"
			if ip.Address.Addr().Is4() {
				form.IPs[i].Version = "4"
			}
		}
	}
	return form
}

func encodeOld(r *cni.Result, version string) (*oldResultForm, error) {
	form := &oldResultForm{CNIVersion: version, DNS: r.DNS}
	for _, ip := range r.IPs {
		family := form.family(ip.Address)
		if *family == nil {
			*family = &oldIPForm{IP: ip.Address, Gateway: ip.Gateway}
		}
	}
	if form.IP4 == nil && form.IP6 == nil {
		return nil, fmt.Errorf("result: version %s has no form for one without an address", version)
	}
	for _, route := range r.Routes {
		if family := *form.family(route.Dst); family != nil {
			family.Routes = append(family.Routes, cni.Route{Dst: route.Dst, GW: route.GW})
		}
	}
	return form, nil
}

func (form *oldResultForm) family(p netip.Prefix) **oldIPForm {
	if p.Addr().Is4() {
		return &form.IP4
	}
	return &form.IP6
}

// DecodeResult reads a result of the version that it names itself, else of the
// fallback ("" is 0.1.0). The errors have CodeDecoding or, for an unknown
// version, CodeIncompatibleVersion.
func DecodeResult(data []byte, fallback string) (*cni.Result, error) {
	r, err := decodeResult(data, fallback)
	if err != nil && cni.CodeOf(err) == cni.CodeInternal {
		err = cni.Errorf(cni.CodeDecoding, "result: %w", err)
	}
	return r, err
}

func decodeResult(data []byte, fallback string) (*cni.Result, error) {
	var form resultForm
	if err := unmarshalObject(data, &form); err != nil {
		return nil, err
	}
	if form.CNIVersion == "" {
		form.CNIVersion = fallback
	}
	version, err := known(form.CNIVersion)
	if err != nil {
		return nil, err
	}
	var r *cni.Result
	if version < "0.3.0" {
		r, err = decodeOld(data)
	} else {
		r, err = decodeNew(&form)
	}
	if err != nil {
		return nil, err
	}
	unmap(r)
	return r, checkPrefixes(r)
}

func decodeNew(form *resultForm) (*cni.Result, error) {
	r := &cni.Result{Routes: form.Routes, DNS: form.DNS}
	for _, f := range form.Interfaces {
		mac, err := parseMAC(f.MAC)
		if err != nil {
			return nil, fmt.Errorf("interface %q: %w", f.Name, err)
		}
		r.Interfaces = append(r.Interfaces, cni.Interface{
			Name: f.Name, MAC: mac, MTU: f.MTU, Sandbox: f.Sandbox, SocketPath: f.SocketPath, PciID: f.PciID,
		})
	}
	for _, f := range form.IPs {
		r.IPs = append(r.IPs, cni.IP{Address: f.Address, Gateway: f.Gateway, Interface: f.Interface})
	}
	return r, nil
}

func decodeOld(data []byte) (*cni.Result, error) {
	var form oldResultForm
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, describe(data, err)
	}
	r := &cni.Result{DNS: form.DNS}
	for _, f := range []*oldIPForm{form.IP4, form.IP6} {
		if f != nil {
			r.IPs = append(r.IPs, cni.IP{Address: f.IP, Gateway: f.Gateway})
			r.Routes = append(r.Routes, f.Routes...)
		}
	}
	return r, nil
}

// parseMAC also reads lengths that net.ParseMAC does not know: tunnels show their
// endpoint as a hardware address of four bytes.
func parseMAC(s string) (net.HardwareAddr, error) {
	if s == "" {
		return nil, nil
	}
	if mac, err := net.ParseMAC(s); err == nil {
		return mac, nil
	}
	mac, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(s) != 3*len(mac)-1 {
		return nil, fmt.Errorf("mac %q: not bytes in hexadecimal with colons between", s)
	}
	return mac, nil
}

// unmap makes plain IPv4 of IPv4-mapped addresses, so that a family is asked for in
// one way only.
func unmap(r *cni.Result) {
	for i := range r.IPs {
		r.IPs[i].Address = unmapPrefix(r.IPs[i].Address)
		r.IPs[i].Gateway = r.IPs[i].Gateway.Unmap()
	}
	for i := range r.Routes {
		r.Routes[i].Dst = unmapPrefix(r.Routes[i].Dst)
		r.Routes[i].GW = r.Routes[i].GW.Unmap()
	}
}

func unmapPrefix(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p
}

func checkPrefixes(r *cni.Result) error {
	for i, ip := range r.IPs {
		if !ip.Address.IsValid() {
			return fmt.Errorf("ips[%d]: no address", i)
		}
	}
	for i, route := range r.Routes {
		if !route.Dst.IsValid() {
			return fmt.Errorf("routes[%d]: no dst", i)
		}
	}
	return nil
}
