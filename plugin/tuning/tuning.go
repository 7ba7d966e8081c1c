// Package tuning changes settings of a pod's interface and its network namespace: the
// plugin "tuning", chained after one that makes an interface.
//
// It writes sysctls inside the pod and sets MAC address, MTU, flags and queue length. It
// makes nothing, and writes down before each change what was there, to restore it. What
// it left to be restored is in /run/cni/tuning. To see its work, inside the pod:
// ip -d link show, sysctl -a --pattern '^net'.
package tuning

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
)

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Altering(h, func() plugin.Alteration { return Default() })
}

// Apply changes the settings, after it has written down what they were.
func (c *Config) Apply(_ context.Context, call *plugin.Call) error {
	t, err := c.wanted(call)
	if err != nil {
		return err
	}
	sysctls := c.sysctls()
	if err := allowed(sysctls); err != nil {
		return err
	}
	if t.IsZero() && len(sysctls) == 0 {
		return nil
	}
	if err := c.prepare(call, before(call.Link, t), sysctls); err != nil {
		return fmt.Errorf("pod %s: %w", call.NetNS, err)
	}
	if err := call.Pod.Tune(call.Link, t); err != nil {
		return fmt.Errorf("pod %s: %w", call.NetNS, err)
	}
	report(call.Result, call.IfName, t)
	return nil
}

// Available says, as the answer to STATUS, that the administrator does not allow a sysctl.
func (c *Config) Available(*link.Handle) error { return allowed(c.sysctls()) }

// prepare writes down what there is, and then the sysctls.
func (c *Config) prepare(call *plugin.Call, b backup, sysctls Sysctls) error {
	if len(sysctls) == 0 {
		return save(c.dataDir(), call.Attachment, b)
	}
	return call.PodNS.Do(func() (err error) {
		if b.Sysctl, err = readAll(sysctls, call.IfName); err != nil {
			return err
		}
		if err := save(c.dataDir(), call.Attachment, b); err != nil {
			return err
		}
		return writeAll(sysctls, call.IfName)
	})
}

// wanted returns what is asked of the interface, with what only the call tells.
func (c *Config) wanted(call *plugin.Call) (link.Tuning, error) {
	if err := call.Args.Only("MAC", "IP", "GATEWAY"); err != nil {
		return link.Tuning{}, err
	}
	t, err := c.tuning(call.Request)
	if err != nil || t.MTU == 0 || t.MTU >= link.SmallestIPv6 {
		return t, err
	}
	for _, ip := range call.Result.PodIPs(call.IfName) {
		if ip.Address.Addr().Is6() {
			return t, cni.Errorf(cni.CodeInvalidConfig, "mtu %d: %s would lose its IPv6 addresses, which need %d", t.MTU, call.IfName, link.SmallestIPv6)
		}
	}
	return t, nil
}

// report brings the result's entry of the pod's interface up to date.
func report(result *cni.Result, ifname string, t link.Tuning) {
	for i := range result.Interfaces {
		l := &result.Interfaces[i]
		if l.Name != ifname || l.Sandbox == "" {
			continue
		}
		if t.MAC != nil {
			l.MAC = t.MAC
		}
		if t.MTU != 0 && l.MTU != 0 {
			l.MTU = t.MTU
		}
	}
}

// readAll returns the values of the settings, but for those that cannot be read: to
// write to them is to give a command.
func readAll(sysctls Sysctls, ifname string) (map[string]string, error) {
	values := make(map[string]string)
	for _, s := range sysctls {
		setting, err := sysctl(s.Key, ifname)
		if err != nil {
			return nil, err
		}
		value, err := setting.Get()
		switch {
		case errors.Is(err, fs.ErrPermission):
		case err != nil:
			return nil, err
		default:
			values[string(setting)] = value
		}
	}
	return values, nil
}

func writeAll(sysctls Sysctls, ifname string) error {
	for _, s := range sysctls {
		setting, err := sysctl(s.Key, ifname)
		if err != nil {
			return err
		}
		if err := setting.Write(s.Value); err != nil {
			return fmt.Errorf("%w: to %q", err, s.Value)
		}
	}
	return nil
}

// Check compares every setting that was asked for with what it is.
func (c *Config) Check(_ context.Context, call *plugin.Call) error {
	t, err := c.wanted(call)
	if err != nil {
		return err
	}
	errs := compare(call.Link, t)
	if sysctls := c.sysctls(); len(sysctls) > 0 {
		errs = append(errs, call.PodNS.Do(func() error { return compareAll(sysctls, call.Link.Name) }))
	}
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("pod %s: %w", call.NetNS, err)
		}
	}
	return errors.Join(errs...)
}

func compare(l link.Link, t link.Tuning) (errs []error) {
	differs := func(what string, has, want any) {
		errs = append(errs, fmt.Errorf("interface %s has %s %v, not %v", l.Name, what, has, want))
	}
	if t.MAC != nil && !bytes.Equal(l.MAC, t.MAC) {
		differs("MAC address", l.MAC, t.MAC)
	}
	if t.MTU != 0 && l.MTU != t.MTU {
		differs("mtu", l.MTU, t.MTU)
	}
	if promisc := t.Promisc != nil; l.Promisc != promisc { // it is expected only where it is asked for
		differs("promisc", l.Promisc, promisc)
	}
	if t.Allmulti != nil && l.Allmulti != *t.Allmulti {
		differs("allmulti", l.Allmulti, *t.Allmulti)
	}
	if t.TxQLen != nil && l.TxQLen != *t.TxQLen {
		differs("txQLen", l.TxQLen, *t.TxQLen)
	}
	return errs
}

func compareAll(sysctls Sysctls, ifname string) error {
	var errs []error
	for _, s := range sysctls {
		setting, err := sysctl(s.Key, ifname)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		has, err := setting.Get()
		// The kernel separates several numbers by tabs, people by spaces.
		if err == nil && !slices.Equal(strings.Fields(has), strings.Fields(s.Value)) {
			err = fmt.Errorf("sysctl %s is %q, not %q", s.Key, has, s.Value)
		}
		if !errors.Is(err, fs.ErrPermission) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Revert restores what was written down, as far as there is something to restore it to,
// and forgets it then: nobody could make more of it later. Only what cannot be read at the
// moment is kept.
func (c *Config) Revert(_ context.Context, call *plugin.Call) error {
	file := filepath.Join(c.dataDir(), fileName(call.Attachment))
	b, err := state.Read[backup](file)
	if err != nil && !errors.Is(err, state.ErrUnreadable) {
		return err
	}
	if b != nil {
		if !b.of(call.Attachment) {
			return nil
		}
		err = restore(call, b)
	}
	return errors.Join(err, state.Remove(file))
}

func restore(call *plugin.Call, b *backup) error {
	if call.Pod == nil {
		return nil
	}
	var errs []error
	if len(b.Sysctl) > 0 {
		errs = append(errs, call.PodNS.Do(func() error { return restoreAll(b.Sysctl) }))
	}
	if call.Link.Index != 0 {
		t, err := b.tuning()
		if err == nil {
			err = call.Pod.Tune(call.Link, t)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func restoreAll(values map[string]string) error {
	var errs []error
	for key, value := range values {
		err := link.Sysctl(key).Set(value)
		if !errors.Is(err, fs.ErrNotExist) { // gone with the interface, say
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Retain removes what was written down for attachments that are no more.
func (c *Config) Retain(_ context.Context, _ *plugin.Host, r *cni.Request, _ []cni.Tag) error {
	return retain(c.dataDir(), r.Network, r.Valid)
}
