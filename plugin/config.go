package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/seamnet/seam/cni"
)

// Config holds the keys that interface plugins share; a plugin's own Config embeds it.
type Config struct {
	IPAM          IPAM    `json:"ipam"`
	DNS           cni.DNS `json:"dns"`
	MTU           int     `json:"mtu"` // bytes; 0: the kernel's default
	IPMasq        bool    `json:"ipMasq"`
	IPMasqBackend string  `json:"ipMasqBackend"` // iptables or nftables; nftables serves both

	RuntimeConfig struct {
		MAC string `json:"mac"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			MAC string `json:"mac"`
		} `json:"cni"`
	} `json:"args"`
}

// IPAM is what a plugin needs to know of the one that gives addresses.
type IPAM struct {
	Type string `json:"type"` // empty: no addresses
}

// Common returns the shared keys: a Device that embeds Config has it.
func (c *Config) Common() *Config { return c }

// ValidateCommon reports what is wrong with the shared keys.
func (c *Config) ValidateCommon() error {
	if c.MTU < 0 || c.MTU > 65535 {
		return fmt.Errorf("mtu %d: must be 0 (the kernel's default) to 65535", c.MTU)
	}
	switch c.IPMasqBackend {
	case "", "iptables", "nftables":
	default:
		return fmt.Errorf("ipMasqBackend %q: must be iptables or nftables", c.IPMasqBackend)
	}
	return nil
}

// MAC returns the hardware address that the pod's interface is asked to have: from
// runtimeConfig, args, CNI_ARGS or the plugin's own key, the first that is given;
// nil if none is.
func (c *Config) MAC(r *cni.Request, own string) (net.HardwareAddr, error) {
	// Every plugin of a chain sees all of CNI_ARGS, so the keys of IPAM are known here too. A
	// plugin that reads none of them does not judge them either: dhcp may be told any.
	known := []string{"MAC", "IP", "GATEWAY"}
	if r.Args.Only(known...) != nil { // decoded only where it matters: kubelets set IgnoreUnknown
		if err := r.Args.Only(append(namedArgs(r.Config.JSON), known...)...); err != nil {
			return nil, err
		}
	}
	for _, s := range []string{c.RuntimeConfig.MAC, c.Args.CNI.MAC, r.Args.Get("MAC"), own} {
		if s == "" {
			continue
		}
		mac, err := net.ParseMAC(s)
		if err == nil {
			err = usableMAC(mac)
		}
		if err != nil {
			return nil, cni.Errorf(cni.CodeInvalidConfig, "MAC address %q: %w", s, err)
		}
		return mac, nil
	}
	return nil, nil
}

// namedArgs returns the keys of CNI_ARGS that the configuration itself names, in "ipam", for
// dhcp to read. Of another IPAM plugin, what stands there may be anything.
func namedArgs(conf []byte) []string {
	var c struct {
		IPAM struct {
			Provide []struct{ FromArg string }
		}
	}
	_ = json.Unmarshal(conf, &c)
	var keys []string
	for _, p := range c.IPAM.Provide {
		keys = append(keys, p.FromArg)
	}
	return keys
}

func usableMAC(mac net.HardwareAddr) error {
	switch {
	case len(mac) != 6:
		return errors.New("not 6 bytes")
	case mac[0]&1 != 0:
		return errors.New("a group address; the first byte must be even")
	case [6]byte(mac) == [6]byte{}:
		return errors.New("all zero")
	}
	return nil
}
