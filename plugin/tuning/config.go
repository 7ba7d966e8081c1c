package tuning

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"path"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
)

// Config is the plugin's configuration.
type Config struct {
	DataDir  string  `json:"dataDir"` // where what was changed is written down
	Sysctl   Sysctls `json:"sysctl"`
	MAC      string  `json:"mac"`
	MTU      int     `json:"mtu"`     // bytes; 0: as it is
	Promisc  bool    `json:"promisc"` // false: as it is
	Allmulti *bool   `json:"allmulti"`
	TxQLen   *int    `json:"txQLen"` // packets

	RuntimeConfig struct {
		MAC string `json:"mac"`
	} `json:"runtimeConfig"`

	// Args are one call's wishes, which go before the keys above.
	Args struct {
		CNI struct {
			Sysctl   Sysctls `json:"sysctl"`
			MAC      string  `json:"mac"`
			MTU      *int    `json:"mtu"`
			Promisc  *bool   `json:"promisc"`
			Allmulti *bool   `json:"allmulti"`
			TxQLen   *int    `json:"txQLen"`
		} `json:"cni"`
	} `json:"args"`
}

// Default returns the configuration without any key.
func Default() *Config { return &Config{DataDir: defaultDataDir} }

// defaultDataDir is the reference plugin's.
const defaultDataDir = "/run/cni/tuning"

// dataDir returns the folder also where an empty name was given.
func (c *Config) dataDir() string {
	if c.DataDir == "" {
		return defaultDataDir
	}
	return c.DataDir
}

// Sysctls are settings by key, in the order in which they are written.
type Sysctls []Setting

// A Setting is a sysctl's key, with dots or slashes, and the value that it is to have.
type Setting struct{ Key, Value string }

// UnmarshalJSON reads an object of strings. A key that stands twice is an error: none of
// its two values is more right than the other.
func (s *Sysctls) UnmarshalJSON(data []byte) error {
	var values map[string]string
	if err := json.Unmarshal(data, &values); err != nil || values == nil {
		*s = nil
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	_, err := d.Token() // the brace
	var all Sysctls
	for err == nil && d.More() {
		var key json.Token
		if key, err = d.Token(); err != nil {
			return err
		}
		setting := Setting{Key: key.(string)}
		if err = d.Decode(&setting.Value); err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(s Setting) bool { return s.Key == setting.Key }) {
			return fmt.Errorf("sysctl %q: stands there twice", setting.Key)
		}
		all = append(all, setting)
	}
	*s = all
	return err
}

// sysctls returns those of the configuration and of args, which go before.
func (c *Config) sysctls() Sysctls {
	all := slices.Clone(c.Sysctl)
	for _, s := range c.Args.CNI.Sysctl {
		if i := slices.IndexFunc(all, s.same); i >= 0 {
			all[i] = s
		} else {
			all = append(all, s)
		}
	}
	return all
}

// same reports whether both keys mean one setting, however they are spelt.
func (s Setting) same(other Setting) bool {
	a, errA := sysctl(s.Key, placeholder)
	b, errB := sysctl(other.Key, placeholder)
	return errA == nil && errB == nil && a == b
}

// placeholder in a key stands for the name of the pod's interface.
const placeholder = "IFNAME"

// sysctl returns the setting that a key means. As with sysctl(8), dots separate, unless
// the first separator is a slash: then a dot is one of an interface's name.
func sysctl(key, ifname string) (link.Sysctl, error) {
	file := key
	if i := strings.IndexAny(key, "./"); i < 0 || key[i] == '.' {
		file = strings.ReplaceAll(key, ".", "/")
	}
	file = strings.Replace(file, placeholder, ifname, 1)
	if slices.Contains(strings.Split(file, "/"), "..") {
		return "", fmt.Errorf("sysctl %q: must not contain %q", key, "..")
	}
	setting, ok := strings.CutPrefix(path.Join("/", file), "/net/")
	if !ok {
		return "", fmt.Errorf("sysctl %q: only those of the network, net.…, are a pod's own", key)
	}
	return link.Sysctl(setting), nil
}

// tuning returns what is changed about the interface itself.
func (c *Config) tuning(r *cni.Request) (link.Tuning, error) {
	t := link.Tuning{MTU: c.MTU, Allmulti: c.Allmulti, TxQLen: c.TxQLen}
	args, promisc := c.Args.CNI, c.Promisc
	if args.MTU != nil {
		t.MTU = *args.MTU
	}
	if args.Allmulti != nil {
		t.Allmulti = args.Allmulti
	}
	if args.TxQLen != nil {
		t.TxQLen = args.TxQLen
	}
	if args.Promisc != nil {
		promisc = *args.Promisc
	}
	if promisc {
		t.Promisc = &promisc
	}
	var err error
	t.MAC, err = c.mac(r)
	return t, err
}

// mac returns the address that is asked for: args go before the capability, as with the
// reference plugin, and unlike with those that make interfaces.
func (c *Config) mac(r *cni.Request) (net.HardwareAddr, error) {
	wish := plugin.Config{}
	wish.RuntimeConfig.MAC = c.Args.CNI.MAC
	if wish.RuntimeConfig.MAC == "" {
		wish.RuntimeConfig.MAC = c.RuntimeConfig.MAC
	}
	return wish.MAC(r, c.MAC)
}

// Validate is called by Request.Decode.
func (c *Config) Validate() error {
	t, err := c.tuning(&cni.Request{})
	errs := []error{err}
	if t.MTU < 0 || t.MTU > 65535 {
		errs = append(errs, fmt.Errorf("mtu %d: must be 0 (as it is) to 65535", t.MTU))
	}
	if t.TxQLen != nil && (*t.TxQLen < 0 || *t.TxQLen > math.MaxInt32) {
		errs = append(errs, fmt.Errorf("txQLen %d: must be 0 to %d", *t.TxQLen, math.MaxInt32))
	}
	if c.DataDir != "" && !path.IsAbs(c.DataDir) {
		errs = append(errs, fmt.Errorf("dataDir %q: must be an absolute path", c.DataDir))
	}
	for i, s := range c.sysctls() {
		_, err := sysctl(s.Key, placeholder)
		errs = append(errs, err)
		if twin := slices.IndexFunc(c.sysctls()[:i], s.same); twin >= 0 {
			errs = append(errs, fmt.Errorf("sysctl %q: is the same as %q", s.Key, c.sysctls()[twin].Key))
		}
	}
	return errors.Join(errs...)
}
