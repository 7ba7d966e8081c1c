package wrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/seamnet/seam/cni/wire"
)

// Config is the plugin's configuration. In a chain its keys are those of the
// plugin's object; where it stands in for an IPAM plugin, those of "ipam".
type Config struct {
	Type string `json:"type"`
	Keys
	IPAM struct {
		Type string `json:"type"`
		Keys
	} `json:"ipam"`
}

// Keys are the plugin's own.
type Keys struct {
	Delegate    json.RawMessage `json:"delegate"` // required: the wrapped plugin's object
	Before      []Command       `json:"before"`
	After       []Command       `json:"after"`
	PatchConfig json.RawMessage `json:"patchConfig"` // of Delegate: RFC 7396
	PatchResult json.RawMessage `json:"patchResult"` // of its result: RFC 7396
	Timeout     string          `json:"timeout"`     // of one command, as time.ParseDuration reads it; default 10s
}

// A Command is run before or after the wrapped plugin. In JSON it is an object, or
// only the list Run.
type Command struct {
	Run   []string `json:"run"`   // the program's absolute path and its arguments
	On    []string `json:"on"`    // verbs; default: ADD
	NetNS bool     `json:"netns"` // run in the pod's network namespace
}

const defaultTimeout = 10 * time.Second

// Default returns the configuration without any key.
func Default() *Config { return &Config{} }

// UnmarshalJSON reads both forms. A key that it does not know is an error: a
// misspelt "on" would be a command that is never run.
func (c *Command) UnmarshalJSON(data []byte) error {
	if data[0] == '[' {
		return json.Unmarshal(data, &c.Run)
	}
	type fields Command
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode((*fields)(c))
}

// Validate is called by Request.Decode.
func (c *Config) Validate() error {
	k := c.keys()
	if _, err := k.timeout(); err != nil {
		return fmt.Errorf("timeout %q: must be a positive duration such as \"10s\"", k.Timeout)
	}
	for _, patch := range []struct {
		key  string
		json json.RawMessage
	}{{"patchConfig", k.PatchConfig}, {"patchResult", k.PatchResult}} {
		if _, err := wire.ParseObject(patch.json); patch.json != nil && err != nil {
			return fmt.Errorf("%s: %w", patch.key, err)
		}
	}
	if _, err := k.delegateType(); err != nil {
		return err
	}
	if err := validate("before", k.Before); err != nil {
		return err
	}
	return validate("after", k.After)
}

// Doubt says which keys of the delegate are replaced by the network's.
func (c *Config) Doubt() error {
	k := c.keys()
	delegate, err := wire.ParseObject(patched(k.Delegate, k.PatchConfig))
	if err != nil || c.asIPAM() {
		return err
	}
	var errs []error
	for _, key := range []string{"name", "cniVersion"} {
		if delegate.Get(key) != nil {
			errs = append(errs, fmt.Errorf("delegate.%s: the network's counts, not this one", key))
		}
	}
	return errors.Join(errs...)
}

func validate(key string, commands []Command) error {
	for i := range commands {
		if err := commands[i].validate(); err != nil {
			return fmt.Errorf("%s[%d]: %w", key, i, err)
		}
	}
	return nil
}

// asIPAM reports whether the plugin is called for addresses: the configuration is
// then the whole one of the plugin that asks.
func (c *Config) asIPAM() bool { return c.Type != "wrap" && c.IPAM.Type == "wrap" }

func (c *Config) keys() *Keys {
	if c.asIPAM() {
		return &c.IPAM.Keys
	}
	return &c.Keys
}

func (k *Keys) delegateType() (string, error) {
	if k.Delegate == nil {
		return "", errors.New(`missing key "delegate": the configuration of the plugin to wrap`)
	}
	o, err := wire.ParseObject(patched(k.Delegate, k.PatchConfig))
	if err != nil {
		return "", fmt.Errorf("delegate: %w", err)
	}
	t, err := o.String("type")
	if err == nil && t == "" {
		err = errors.New(`missing key "type"`)
	}
	if err != nil {
		return "", fmt.Errorf("delegate: %w", err)
	}
	return t, nil
}

func (k *Keys) timeout() (time.Duration, error) {
	if k.Timeout == "" {
		return defaultTimeout, nil
	}
	d, err := time.ParseDuration(k.Timeout)
	if err == nil && d <= 0 {
		err = errors.New("not positive")
	}
	return d, err
}

func (c *Command) validate() error {
	if len(c.Run) == 0 {
		return errors.New("run: no command")
	}
	if !filepath.IsAbs(c.Run[0]) {
		return fmt.Errorf("run: %q: must be an absolute path", c.Run[0])
	}
	for _, verb := range c.On {
		switch verb {
		case "ADD", "CHECK", "DEL":
		case "GC", "STATUS":
			if c.NetNS {
				return fmt.Errorf("netns: %s is about no pod", verb)
			}
		default:
			return fmt.Errorf("on: %q is none of ADD, CHECK, DEL, GC, STATUS", verb)
		}
	}
	return nil
}

// runsOn reports whether the command is for that verb.
func (c *Command) runsOn(verb string) bool {
	return slices.Contains(c.On, verb) || (c.On == nil && verb == "ADD")
}
