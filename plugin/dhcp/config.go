package dhcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/seamnet/seam/cni"
)

// DefaultSocket is where the daemon listens, and is asked, unless told otherwise.
const DefaultSocket = "/run/cni/dhcp.sock"

// longestSocket is what fits into the kernel's address of a socket (unix(7)).
const longestSocket = 107

// Config is the part of a network's configuration that the plugin reads; the keys
// are those of the reference plugin.
type Config struct {
	IPAM struct {
		DaemonSocketPath string    `json:"daemonSocketPath"` // default: DefaultSocket
		Request          []Request `json:"request"`          // what servers are asked for
		Provide          []Provide `json:"provide"`          // what servers are told
		Priority         int       `json:"priority"`         // metric of every route; 0: the kernel's default
	} `json:"ipam"`
}

// A Request names an option that servers are asked for, beside the router and the
// subnet's mask.
type Request struct {
	SkipDefault bool   `json:"skipDefault"` // in any of them: leave out the router and the mask
	Option      string `json:"option"`      // a name or a number; may be empty
}

// A Provide is an option that servers are told.
type Provide struct {
	Option  string `json:"option"`  // a name or a number
	Value   string `json:"value"`   // sent as it is
	FromArg string `json:"fromArg"` // key of CNI_ARGS that, where it is given, wins over Value
}

// Options of RFC 2132 that have a part here.
const (
	optionMask        = 1
	optionRouter      = 3
	optionClientID    = 61
	longestOption     = 255
	firstOption       = 1
	lastOption        = 254
	optionRequestedIP = 50
	optionOverload    = 52
	optionMessageType = 53
	optionServerID    = 54
	optionRequestList = 55
)

// protocolOptions are those that the protocol itself sets in each message.
var protocolOptions = [...]byte{optionRequestedIP, optionOverload, optionMessageType, optionServerID, optionRequestList}

// optionCode returns the number of an option that goes by a name of dhcp-options(5),
// or by its number.
func optionCode(name string) (byte, error) {
	switch name {
	case "subnet-mask":
		return optionMask, nil
	case "routers":
		return optionRouter, nil
	case "host-name":
		return 12, nil
	case "vendor-class-identifier":
		return 60, nil
	case "dhcp-client-identifier":
		return optionClientID, nil
	case "user-class":
		return 77, nil
	}
	n, err := strconv.ParseUint(name, 10, 8)
	if err != nil || n < firstOption || n > lastOption {
		return 0, fmt.Errorf("option %q is no number from %d to %d, and none of subnet-mask, routers, host-name, "+
			"vendor-class-identifier, dhcp-client-identifier, user-class", name, firstOption, lastOption)
	}
	return byte(n), nil
}

// Validate reports what is wrong with the keys of "ipam".
func (c *Config) Validate() error {
	if c.IPAM.DaemonSocketPath == "" {
		c.IPAM.DaemonSocketPath = DefaultSocket
	}
	if s := c.IPAM.DaemonSocketPath; !filepath.IsAbs(s) || len(s) > longestSocket {
		return fmt.Errorf("ipam.daemonSocketPath %q: must be an absolute path of at most %d bytes", s, longestSocket)
	}
	if c.IPAM.Priority < 0 {
		return fmt.Errorf("ipam.priority %d: must not be negative", c.IPAM.Priority)
	}
	for i, r := range c.IPAM.Request {
		if r.Option == "" {
			continue
		}
		if _, err := optionCode(r.Option); err != nil {
			return fmt.Errorf("ipam.request[%d]: %w", i, err)
		}
	}
	for i, p := range c.IPAM.Provide {
		if err := p.validate(); err != nil {
			return fmt.Errorf("ipam.provide[%d]: %w", i, err)
		}
	}
	return nil
}

func (p Provide) validate() error {
	code, err := optionCode(p.Option)
	switch {
	case err != nil:
		return err
	case slices.Contains(protocolOptions[:], code):
		return fmt.Errorf("option %d is set by the protocol itself", code)
	case len(p.Value) > longestOption:
		return fmt.Errorf("value of option %q: %d bytes, at most %d fit", p.Option, len(p.Value), longestOption)
	}
	return nil
}

// options are what every message to a server tells and asks for.
type options struct {
	Provide []option `json:"provide,omitempty"`
	Request []int    `json:"request,omitempty"`
}

type option struct {
	Code  int    `json:"code"`
	Value []byte `json:"value"`
}

// options returns what a valid configuration comes to with the attachment's arguments.
func (c *Config) options(args cni.Args) (options, error) {
	var o options
	for _, p := range c.IPAM.Provide {
		value := p.Value
		if given := args.Get(p.FromArg); given != "" {
			value = given
		}
		if len(value) > longestOption {
			return o, cni.Errorf(cni.CodeInvalidEnvironment, "CNI_ARGS: %s: %d bytes, at most %d fit into option %q",
				p.FromArg, len(value), longestOption, p.Option)
		}
		if value != "" {
			code, _ := optionCode(p.Option) // Validate has seen it
			o.Provide = append(o.Provide, option{int(code), []byte(value)})
		}
	}
	skip := false
	for _, r := range c.IPAM.Request {
		skip = skip || r.SkipDefault
		if code, err := optionCode(r.Option); err == nil {
			o.ask(int(code))
		}
	}
	if !skip {
		o.ask(optionRouter)
		o.ask(optionMask)
	}
	return o, nil
}

func (o *options) ask(code int) {
	if !slices.Contains(o.Request, code) {
		o.Request = append(o.Request, code)
	}
}

// socketOf returns where the daemon of a request is asked, whatever else its
// configuration holds: what is undone must not depend on that.
func socketOf(r *cni.Request) string {
	var c Config
	err := json.Unmarshal(r.Config.JSON, &c)
	if _, wrongType := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !wrongType || c.IPAM.DaemonSocketPath == "" {
		return DefaultSocket
	}
	return c.IPAM.DaemonSocketPath
}
