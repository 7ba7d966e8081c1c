package lint

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// flexibleBool is true or false, or a string that says so, as old files have it.
type flexibleBool bool

// UnmarshalJSON accepts true, "true" and so on.
func (b *flexibleBool) UnmarshalJSON(data []byte) error {
	switch strings.ToLower(strings.Trim(string(data), `"`)) {
	case "true":
		*b = true
	case "false":
		*b = false
	default:
		return errors.New("true or false is wanted")
	}
	return nil
}

// keys compares a value with what it may be: any of the types, of which structs
// tell the keys. Types that decode themselves tell nothing about what is in them.
func (c *checker) keys(n *node, path string, types []reflect.Type) {
	types = plain(types)
	if len(types) == 0 {
		return
	}
	if slices.ContainsFunc(types, decodesItself) {
		c.fits(n, path, types)
		return
	}
	switch n.kind {
	case '{':
		c.object(n, path, types)
	case '[':
		c.list(n, path, types)
	default:
		c.fits(n, path, types)
	}
}

func (c *checker) object(n *node, path string, types []reflect.Type) {
	structs, elems := 0, []reflect.Type(nil)
	for _, t := range types {
		switch t.Kind() {
		case reflect.Struct:
			structs++
		case reflect.Map:
			elems = append(elems, t.Elem())
		case reflect.Interface:
			return
		}
	}
	if structs == 0 && elems == nil {
		c.fits(n, path, types)
		return
	}
	seen := map[string]bool{}
	for i := range n.members {
		m := &n.members[i]
		at := join(path, m.key)
		if seen[m.key] {
			c.add(m.keyAt, at, Warning, fmt.Sprintf("key %q stands twice: the last one counts", m.key), "")
		}
		seen[m.key] = true
		fields := fieldTypes(types, m.key)
		switch {
		case len(fields)+len(elems) > 0:
			c.keys(&m.node, at, append(fields, elems...))
		case structs > 0:
			c.unknown(m, at, types)
		}
	}
}

// unknown warns of a key that nobody reads, unless it is an extension of the
// specification's, a comment, or below "args", where anybody may put anything.
func (c *checker) unknown(m *member, path string, types []reflect.Type) {
	for _, prefix := range []string{"cni.dev/", "_", "//", "$"} {
		if strings.HasPrefix(m.key, prefix) {
			return
		}
	}
	hint := `no key of a network; a plugin's keys stand in its object in "plugins"`
	switch len(c.readers) {
	case 1:
		hint = c.readers[0] + " does not read it"
	case 2:
		hint = fmt.Sprintf("neither %s nor %s reads it", c.readers[0], c.readers[1])
	}
	if near := nearest(m.key, names(types)); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if strings.Contains("."+path, ".args.") {
		return
	}
	c.add(m.keyAt, path, Warning, fmt.Sprintf("unknown key %q", m.key), hint)
}

func (c *checker) list(n *node, path string, types []reflect.Type) {
	var elems []reflect.Type
	for _, t := range types {
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			elems = append(elems, t.Elem())
		}
		if t.Kind() == reflect.Interface {
			return
		}
	}
	if elems == nil {
		c.fits(n, path, types)
		return
	}
	for i := range n.members {
		c.keys(&n.members[i].node, n.below(i, path), elems)
	}
}

// fits reports a value that none of the types can be decoded from.
func (c *checker) fits(n *node, path string, types []reflect.Type) {
	var first error
	for _, t := range types {
		err := json.Unmarshal(n.json(c.src), reflect.New(t).Interface())
		if err == nil {
			return
		}
		if first == nil {
			first = err
		}
	}
	// A type that decodes itself tells only by this where in it the fault is.
	if t, ok := errors.AsType[*json.UnmarshalTypeError](first); ok && !n.composed {
		n, path = n.at(n.start+int(t.Offset), path)
	}
	c.errorf(n.start, path, "key %q: %s", path, c.describe(first, n, types[0]))
}

// describe says in JSON's words what encoding/json and netip say in Go's.
func (c *checker) describe(err error, n *node, wants reflect.Type) string {
	t, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		if key, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			return "unknown key " + key
		}
		form, cause := "", err.Error()
		switch wants {
		case reflect.TypeFor[netip.Prefix]():
			form = "of the form ADDRESS/LENGTH"
		case reflect.TypeFor[netip.Addr]():
			form = "an IP address"
		default:
			return cause
		}
		if _, after, ok := strings.Cut(cause, `"): `); ok {
			cause = after
		}
		return fmt.Sprintf("%s is not %s: %s", n.json(c.src), form, cause)
	}
	is := "a " + strings.Fields(t.Value)[0]
	switch {
	case n.kind == '{':
		is = "an object"
	case n.kind == '[':
		is = "a list"
	case strings.HasPrefix(t.Value, "number "):
		is = "the " + t.Value
	case t.Value == "bool":
		is = "true or false"
	}
	return is + " stands where " + wanted(t.Type) + " is wanted"
}

func wanted(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		return "a list"
	case t.Kind() == reflect.Float64:
		return "a number"
	case reflect.Uint8 <= t.Kind() && t.Kind() <= reflect.Uint32:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(1)<<t.Bits()-1)
	case reflect.Uint <= t.Kind() && t.Kind() <= reflect.Uint64:
		return "a whole number from 0"
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Int64:
		return "a whole number"
	case t.Kind() == reflect.String, reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "a string"
	}
	return "an object"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
