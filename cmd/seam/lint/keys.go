package lint

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
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

func (c *checker) unknown(m *member, path string, types []reflect.Type) {
	if strings.HasPrefix(m.key, "cni.dev/") {
		return
	}
	hint := "no plugin named here reads it"
	if near := nearest(m.key, names(types)); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	c.add(m.keyAt, path, Error, fmt.Sprintf("unknown key %q", m.key), hint)
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
		c.keys(&n.members[i].node, fmt.Sprintf("%s[%d]", path, i), elems)
	}
}

// fits reports a value that none of the types can be decoded from.
func (c *checker) fits(n *node, path string, types []reflect.Type) {
	var first error
	for _, t := range types {
		err := json.Unmarshal(c.src[n.start:n.end], reflect.New(t).Interface())
		if err == nil {
			return
		}
		if first == nil {
			first = err
		}
	}
	c.errorf(n.start, path, "key %q: %s", path, describe(first, n))
}

// describe says in JSON's words what encoding/json says in Go's.
func describe(err error, n *node) string {
	t, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err.Error()
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
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Uint64:
		return fmt.Sprintf("a whole number (%s)", t.Kind())
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
