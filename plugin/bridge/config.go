// Package bridge makes a veth whose host end is a port of a bridge: the plugin
// "bridge". The bridge is made when it is missing and never deleted.
//
// It knows nothing of addresses beyond the gateway's; the frame in package plugin
// does the rest. To see what it made: bridge link, bridge vlan, ip -d link.
package bridge

import (
	"errors"
	"fmt"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
)

// Config is the plugin's configuration; the keys are those of the reference plugin.
type Config struct {
	plugin.Config
	Bridge           string `json:"bridge"` // its name; default cni0
	IsGateway        bool   `json:"isGateway"`
	IsDefaultGateway bool   `json:"isDefaultGateway"` // implies IsGateway
	ForceAddress     bool   `json:"forceAddress"`
	HairpinMode      bool   `json:"hairpinMode"`
	PromiscMode      bool   `json:"promiscMode"`
	EnableDAD        bool   `json:"enabledad"`
	MACSpoofCheck    bool   `json:"macspoofchk"`
	PortIsolation    bool   `json:"portIsolation"`
	LeaveDown        bool   `json:"disableContainerInterface"`

	VLAN                uint16  `json:"vlan"` // 1 to 4094; 0: none
	VLANTrunk           []Trunk `json:"vlanTrunk"`
	PreserveDefaultVLAN bool    `json:"preserveDefaultVlan"`

	link link.Link // the bridge, as Make found or made it
}

// A Trunk names tagged VLANs that pass the pod's port: one, or a range.
type Trunk struct {
	ID    *uint16 `json:"id"`
	MinID *uint16 `json:"minID"`
	MaxID *uint16 `json:"maxID"`
}

const lastVLAN = 4094

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Interface(h, func() plugin.Device { return &Config{Bridge: "cni0"} })
}

// Validate reports what is wrong with the configuration.
func (b *Config) Validate() error {
	b.IsGateway = b.IsGateway || b.IsDefaultGateway
	errs := []error{b.ValidateCommon()}
	if err := cni.CheckIfName(b.Bridge); err != nil {
		errs = append(errs, cni.Errorf(cni.CodeInvalidConfig, "bridge: %s", err))
	}
	if b.HairpinMode && b.PromiscMode {
		errs = append(errs, errors.New("hairpinMode and promiscMode exclude one another: choose one"))
	}
	if b.LeaveDown && b.IPAM.Type != "" {
		errs = append(errs, errors.New("disableContainerInterface: an interface that stays down can have no ipam"))
	}
	if b.VLAN > lastVLAN {
		errs = append(errs, fmt.Errorf("vlan %d: must be 0 (none) to %d", b.VLAN, lastVLAN))
	}
	_, err := b.trunks()
	return errors.Join(append(errs, err)...)
}

// trunks returns the ranges of tagged VLANs.
func (b *Config) trunks() ([]link.VLANs, error) {
	var vlans []link.VLANs
	valid := func(id uint16) bool { return id >= 1 && id <= lastVLAN }
	for i, t := range b.VLANTrunk {
		switch {
		case (t.MinID == nil) != (t.MaxID == nil):
			return nil, fmt.Errorf("vlanTrunk[%d]: minID and maxID go together", i)
		case t.MinID != nil && (!valid(*t.MinID) || !valid(*t.MaxID) || *t.MinID > *t.MaxID):
			return nil, fmt.Errorf("vlanTrunk[%d]: minID %d, maxID %d: must rise, within 1 to %d", i, *t.MinID, *t.MaxID, lastVLAN)
		case t.ID != nil && !valid(*t.ID):
			return nil, fmt.Errorf("vlanTrunk[%d]: id %d: must be 1 to %d", i, *t.ID, lastVLAN)
		case t.ID == nil && t.MinID == nil:
			return nil, fmt.Errorf("vlanTrunk[%d]: needs id, or minID and maxID", i)
		}
		if t.MinID != nil {
			vlans = append(vlans, link.VLANs{First: *t.MinID, Last: *t.MaxID})
		}
		if t.ID != nil {
			vlans = append(vlans, link.VLANs{First: *t.ID, Last: *t.ID})
		}
	}
	return vlans, nil
}

// filtered reports whether the bridge must keep frames apart by VLAN.
func (b *Config) filtered() bool { return b.VLAN != 0 || len(b.VLANTrunk) > 0 }
