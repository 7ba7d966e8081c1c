package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

// defaultVLAN is what the kernel puts every port in.
const defaultVLAN = 1

// setVLANs lets the configured VLANs pass the port, and takes it out of the default
// one unless that is wanted: as native VLAN of a trunk without "vlan", or by
// preserveDefaultVlan.
func (b *Config) setVLANs(links *link.Handle, port link.Link) error {
	trunks, err := b.trunks()
	if err != nil {
		return err
	}
	if b.VLAN != 0 && !b.PreserveDefaultVLAN {
		if err := links.DeleteVLAN(port, defaultVLAN); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, v := range append(trunks, b.native()...) {
		if err := links.AddVLANs(port, v, false); err != nil {
			return err
		}
	}
	return nil
}

// native returns the VLAN of frames without a tag.
func (b *Config) native() []link.VLANs {
	if b.VLAN != 0 {
		return []link.VLANs{{First: b.VLAN, Last: b.VLAN, Native: true}}
	}
	return []link.VLANs{{First: defaultVLAN, Last: defaultVLAN, Native: true}}
}

func (b *Config) checkVLANs(links *link.Handle, port link.Link) error {
	if !b.filtered() {
		return nil
	}
	trunks, err := b.trunks()
	if err != nil {
		return err
	}
	has, err := links.PortVLANs(port)
	if err != nil {
		return err
	}
	var errs []error
	for _, want := range append(trunks, b.native()...) {
		for id := want.First; id <= want.Last; id++ {
			// The native VLAN may lie within a trunk's range.
			passes := func(v link.VLANs) bool { return v.First == id && (v.Native || !want.Native) }
			if !slices.ContainsFunc(has, passes) {
				errs = append(errs, fmt.Errorf("bridge port %s: vlan %d is gone", port.Name, id))
			}
		}
	}
	return errors.Join(errs...)
}

// vlanLinkName is the reference plugin's.
func (b *Config) vlanLinkName() string { return fmt.Sprintf("%s.%d", b.Bridge, b.VLAN) }

// ensureVLANLink returns the host's interface in the VLAN: one end of a veth whose
// other end is a port of the bridge with that native VLAN.
func (b *Config) ensureVLANLink(links *link.Handle) (link.Link, error) {
	name := b.vlanLinkName()
	if err := cni.CheckIfName(name); err != nil {
		return link.Link{}, fmt.Errorf("gateway of vlan %d: %w", b.VLAN, err)
	}
	port := "veth" + cni.Tag(name).Hash(11)
	switch err := links.AddVeth(link.Veth{Name: name, PeerName: port}); {
	case errors.Is(err, fs.ErrExist):
	case err != nil:
		return link.Link{}, err
	}
	br, err := links.ByName(b.Bridge)
	if err != nil {
		return br, err
	}
	peer, err := links.ByName(port)
	if err != nil {
		return peer, err
	}
	if peer.Master != br.Index {
		if err := links.Set(peer, link.Change{Master: br.Index, Up: true}); err != nil {
			return peer, err
		}
		gateway := *b
		gateway.VLANTrunk = nil
		if err := gateway.setVLANs(links, peer); err != nil {
			return peer, err
		}
	}
	l, err := links.ByName(name)
	if err == nil && !l.Up {
		err = links.Set(l, link.Change{Up: true})
	}
	return l, err
}
