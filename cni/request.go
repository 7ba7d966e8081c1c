package cni

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Request is all that a plugin may know about one call: no environment, no
// flags.
type Request struct {
	Attachment
	NetNS   string       // path of the pod's namespace; on Del it may be empty or lead nowhere
	Args    Args         // CNI_ARGS
	Config  Config       // of this plugin
	Prev    *Result      // of the chain so far (Add) or of the whole chain (Check, Del); nil: none
	Valid   []Attachment // GC: what is still in use. nil: not told; empty: nothing
	Plugins Finder       // where plugins to delegate to are found
}

// Config is a plugin's configuration as the runtime hands it over: the
// administrator's object with the network's name and version, runtimeConfig and
// args, but without prevResult, which is Request.Prev.
type Config struct {
	Name    string // the network's
	Version string // of the specification, in which results are wanted
	Type    string // the plugin's
	JSON    json.RawMessage
}

// Decode fills conf, which holds the defaults, from the request's configuration
// and then calls its Validate method if it has one. Keys match without regard to
// case, as containerd capitalises those of runtimeConfig. Unknown keys are passed over.
// Errors have CodeDecoding or, from Validate, CodeInvalidConfig unless they
// bring a code of their own.
func (r *Request) Decode(conf any) error {
	if err := json.Unmarshal(r.Config.JSON, conf); err != nil {
		return Errorf(CodeDecoding, "%s: configuration of network %q: %w", r.Config.Type, r.Config.Name, describe(err))
	}
	v, ok := conf.(interface{ Validate() error })
	if !ok {
		return nil
	}
	err := v.Validate()
	if err != nil && CodeOf(err) == CodeInternal {
		err = Errorf(CodeInvalidConfig, "%s: network %q: %w", r.Config.Type, r.Config.Name, err)
	}
	return err
}

// describe says in the configuration's words what encoding/json says in Go's.
func describe(err error) error {
	if t, ok := err.(*json.UnmarshalTypeError); ok {
		return fmt.Errorf("key %q: a JSON %s where %s is wanted", keyOf(t.Field), t.Value, jsonType(t.Type.String()))
	}
	return err
}

// keyOf leaves out of a path the structs that are only embedded, which are no keys: their
// names are Go's, with a capital.
func keyOf(path string) string {
	keys := slices.DeleteFunc(strings.Split(path, "."), func(s string) bool { return s != "" && 'A' <= s[0] && s[0] <= 'Z' })
	return strings.Join(keys, ".")
}

func jsonType(goType string) string {
	switch goType = strings.TrimPrefix(goType, "*"); {
	case goType == "bool":
		return "true or false"
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"):
		return "a whole number in range"
	case goType == "string", strings.HasPrefix(goType, "netip."):
		return "a string"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	return "an object"
}

// Args are the pairs of CNI_ARGS in their order.
type Args []Arg

// An Arg is one pair of CNI_ARGS.
type Arg struct{ Key, Value string }

// ParseArgs parses "K=V;K2=V2" (the conventions of CNI, "CNI_ARGS").
func ParseArgs(s string) (Args, error) {
	if s == "" {
		return nil, nil
	}
	var args Args
	for pair := range strings.SplitSeq(s, ";") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" || strings.Contains(v, "=") {
			return nil, Errorf(CodeInvalidEnvironment, "CNI_ARGS: %q is not of the form KEY=VALUE", pair)
		}
		args = append(args, Arg{k, v})
	}
	return args, nil
}

func (a Args) String() string {
	var b bytes.Buffer
	for i, arg := range a {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(arg.Key + "=" + arg.Value)
	}
	return b.String()
}

// Get returns the value of the last pair with that key, or "".
func (a Args) Get(key string) string {
	value := ""
	for _, arg := range a {
		if arg.Key == key {
			value = arg.Value
		}
	}
	return value
}

// Only returns an error with CodeInvalidEnvironment if there is a key other than
// those given and IgnoreUnknown is not set, wherever it stands.
func (a Args) Only(keys ...string) error {
	switch v := a.Get("IgnoreUnknown"); strings.ToLower(v) {
	case "1", "true":
		return nil
	case "", "0", "false":
	default:
		return Errorf(CodeInvalidEnvironment, "CNI_ARGS: IgnoreUnknown=%q is none of 1, true, 0, false", v)
	}
next:
	for _, arg := range a {
		for _, k := range keys {
			if arg.Key == k {
				continue next
			}
		}
		if arg.Key != "IgnoreUnknown" {
			return Errorf(CodeInvalidEnvironment, "CNI_ARGS: unknown key %q", arg.Key).
				WithDetails("remove it, or add IgnoreUnknown=1")
		}
	}
	return nil
}
