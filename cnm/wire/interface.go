package wire

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cnm"
)

// An interfaceForm is a cnm.Interface.
type interfaceForm struct{ Address, AddressIPv6, MacAddress string }

func (f *interfaceForm) value() (i cnm.Interface, err error) {
	if f == nil {
		return i, nil
	}
	for _, field := range [...]struct{ name, text string }{{"Address", f.Address}, {"AddressIPv6", f.AddressIPv6}} {
		p, err := parsePrefix(field.name, field.text)
		if err != nil {
			return i, err
		}
		if p.IsValid() {
			i.Addresses = append(i.Addresses, p)
		}
	}
	if a := i.Addresses; len(a) == 2 && a[0].Addr().Is4() == a[1].Addr().Is4() {
		return i, errTwo
	}
	slices.SortFunc(i.Addresses, func(a, b netip.Prefix) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	i.MAC, err = parseMAC("MacAddress", f.MacAddress)
	return i, err
}

func encodeInterface(i *cnm.Interface) (f interfaceForm, err error) {
	for _, a := range i.Addresses {
		field := &f.Address
		if a.Addr().Is6() {
			field = &f.AddressIPv6
		}
		if *field != "" {
			return f, errTwo
		}
		*field = textOf(a)
	}
	if i.MAC != nil {
		f.MacAddress = i.MAC.String()
	}
	return f, nil
}

// A chosenForm is what the driver chose of an endpoint's interface.
type chosenForm struct{ Interface *interfaceForm }

// encodeChosen leaves out what is as it was asked for, which an engine takes for an
// attempt to change it. What is not as asked is said: the engine deletes the endpoint then.
func encodeChosen(i, asked *cnm.Interface) (chosenForm, error) {
	if i == nil {
		return chosenForm{}, nil
	}
	rest := cnm.Interface{MAC: i.MAC}
	rest.Addresses = slices.DeleteFunc(slices.Clone(i.Addresses), func(a netip.Prefix) bool {
		return slices.Contains(asked.Addresses, a)
	})
	if bytes.Equal(i.MAC, asked.MAC) {
		rest.MAC = nil
	}
	if rest.IsZero() {
		return chosenForm{}, nil
	}
	f, err := encodeInterface(&rest)
	return chosenForm{&f}, err
}

// value is nil if nothing was chosen.
func (f *chosenForm) value() (*cnm.Interface, error) {
	i, err := f.Interface.value()
	if err != nil || i.IsZero() {
		return nil, err
	}
	return &i, nil
}
