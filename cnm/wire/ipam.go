package wire

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"github.com/seamnet/seam/cnm"
)

type requirements struct{ RequiresMACAddress, RequiresRequestReplay bool }

type spaces struct{ LocalDefaultAddressSpace, GlobalDefaultAddressSpace string }

type poolRequestForm struct {
	AddressSpace  string
	Pool, SubPool string
	Options       map[string]string
	V6            bool
}

func (f *poolRequestForm) value() (r *cnm.PoolRequest, err error) {
	r = &cnm.PoolRequest{Space: f.AddressSpace, IPv6: f.V6}
	if len(f.Options) > 0 {
		r.Options = f.Options
	}
	if r.Subnet, err = parsePrefix("Pool", f.Pool); err != nil {
		return nil, err
	}
	r.Range, err = parsePrefix("SubPool", f.SubPool)
	return r, err
}

func encodePoolRequest(r *cnm.PoolRequest) poolRequestForm {
	f := poolRequestForm{r.Space, textOf(r.Subnet), textOf(r.Range), r.Options, r.IPv6}
	if f.Options == nil {
		f.Options = map[string]string{}
	}
	return f
}

type reservedPool struct {
	PoolID cnm.PoolID
	Pool   string
	Data   map[string]string
}

func encodePool(p *cnm.Pool) (f reservedPool, err error) {
	if p == nil || !p.Subnet.IsValid() {
		return f, errors.New("driver gave no pool")
	}
	f = reservedPool{PoolID: p.ID, Pool: p.Subnet.String(), Data: map[string]string{}}
	if p.Gateway.IsValid() {
		f.Data[keyGateway] = p.Gateway.String()
	}
	return f, nil
}

func (f *reservedPool) value() (p *cnm.Pool, err error) {
	p = &cnm.Pool{ID: f.PoolID}
	if err := checkPoolID(f.PoolID); err != nil {
		return nil, err
	}
	if p.Subnet, err = netip.ParsePrefix(f.Pool); err != nil {
		return nil, fmt.Errorf("pool: %w", err)
	}
	p.Gateway, err = parsePrefix("Data: "+keyGateway, f.Data[keyGateway])
	return p, err
}

type poolRef struct{ PoolID cnm.PoolID }

func (f *poolRef) value() (cnm.PoolID, error) { return f.PoolID, checkPoolID(f.PoolID) }

// checkPoolID lets slashes pass: drivers put subnets into these.
func checkPoolID(id cnm.PoolID) error {
	odd := func(r rune) bool { return r < ' ' || r == 0x7f }
	switch {
	case id == "":
		return errors.New("PoolID: is missing")
	case len(id) > 8*maxID:
		return fmt.Errorf("PoolID: is longer than %d bytes", 8*maxID)
	case strings.ContainsFunc(string(id), odd):
		return fmt.Errorf("PoolID: %q has control characters", id)
	}
	return nil
}

type addressRequestForm struct {
	PoolID  cnm.PoolID
	Address string
	Options map[string]string
}

func (f *addressRequestForm) value() (r *cnm.AddressRequest, err error) {
	r = &cnm.AddressRequest{Pool: f.PoolID}
	if err := checkPoolID(f.PoolID); err != nil {
		return nil, err
	}
	if r.Address, err = parseAddr("Address", f.Address); err != nil {
		return nil, err
	}
	if r.MAC, err = parseMAC("option "+keyMAC, f.Options[keyMAC]); err != nil {
		return nil, err
	}
	r.Gateway, r.Name = f.Options[keyAddressType] == keyGateway, f.Options[keyName]
	for key, text := range f.Options {
		if key == keyMAC || key == keyName || key == keyAddressType && r.Gateway {
			continue
		}
		if r.Options == nil {
			r.Options = map[string]string{}
		}
		r.Options[key] = text
	}
	return r, nil
}

func encodeAddressRequest(r *cnm.AddressRequest) addressRequestForm {
	f := addressRequestForm{PoolID: r.Pool, Address: textOf(r.Address), Options: map[string]string{}}
	maps.Copy(f.Options, r.Options)
	if r.Gateway {
		f.Options[keyAddressType] = keyGateway
	}
	if r.MAC != nil {
		f.Options[keyMAC] = r.MAC.String()
	}
	if r.Name != "" {
		f.Options[keyName] = r.Name
	}
	return f
}

type reservedAddress struct {
	Address string
	Data    map[string]string
}

func encodeAddress(a netip.Prefix) (f reservedAddress, err error) {
	if !a.IsValid() {
		return f, errors.New("driver gave no address")
	}
	return reservedAddress{a.String(), map[string]string{}}, nil
}

func (f *reservedAddress) value() (netip.Prefix, error) {
	if f.Address == "" {
		return netip.Prefix{}, errors.New("address is missing")
	}
	return parsePrefix("Address", f.Address)
}

type addressRef struct {
	PoolID  cnm.PoolID
	Address string
	addr    netip.Addr
}

// value takes an address with a length, too.
func (f *addressRef) value() (r addressRef, err error) {
	r = addressRef{PoolID: f.PoolID, Address: f.Address}
	if err := checkPoolID(f.PoolID); err != nil {
		return r, err
	}
	if f.Address == "" {
		return r, errors.New("address is missing")
	}
	text, _, _ := strings.Cut(f.Address, "/")
	r.addr, err = parseAddr("Address", text)
	return r, err
}
