package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// An Object is a JSON object whose members keep their order and whose values keep
// their bytes: integers of any size, and keys that Seam does not know, pass
// through unharmed. Keys match exactly. The zero Object is empty.
type Object struct {
	members []member
}

type member struct {
	key   string
	name  []byte // the key as written, in quotes
	value json.RawMessage
}

// ParseObject splits data, which must be one JSON object and nothing else.
func ParseObject(data []byte) (*Object, error) {
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, describe(data, err)
	}
	raw = bytes.TrimSpace(raw)
	if raw[0] != '{' {
		return nil, errNoObject
	}
	o := &Object{}
	for i := 1; ; {
		if i = skip(raw, i); raw[i] == '}' {
			return o, nil
		}
		keyEnd := valueEnd(raw, i)
		value := skip(raw, keyEnd)
		end := valueEnd(raw, value)
		o.members = append(o.members, member{unquote(raw[i:keyEnd]), raw[i:keyEnd:keyEnd], raw[value:end:end]})
		i = end
	}
}

// Get returns the value of the key, the last one if there are several, or nil if
// there is none. A null is a value.
func (o *Object) Get(key string) json.RawMessage {
	for _, m := range slices.Backward(o.members) {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// String returns the string that the key holds; without the key, or with null, "".
func (o *Object) String(key string) (string, error) {
	value := o.Get(key)
	if value == nil {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", fmt.Errorf("key %q: %.40s where a string is wanted", key, value)
	}
	return s, nil
}

// Set gives the key a value, in the place where the key stands or else at the end.
// value must be valid JSON.
func (o *Object) Set(key string, value json.RawMessage) {
	at := slices.IndexFunc(o.members, func(m member) bool { return m.key == key })
	if at < 0 {
		o.members = append(o.members, member{key, quote(key), value})
		return
	}
	o.members[at].value = value
	rest := slices.DeleteFunc(o.members[at+1:], func(m member) bool { return m.key == key })
	o.members = o.members[:at+1+len(rest)]
}

// SetString gives the key a string.
func (o *Object) SetString(key, s string) { o.Set(key, quote(s)) }

// Delete removes the keys.
func (o *Object) Delete(keys ...string) {
	o.members = slices.DeleteFunc(o.members, func(m member) bool { return slices.Contains(keys, m.key) })
}

// Keys returns the keys in their order, repeated ones repeated.
func (o *Object) Keys() []string {
	keys := make([]string, len(o.members))
	for i, m := range o.members {
		keys[i] = m.key
	}
	return keys
}

// Bytes returns the object as JSON.
func (o *Object) Bytes() []byte {
	size := 2
	for _, m := range o.members {
		size += len(m.name) + len(m.value) + 2
	}
	b := append(make([]byte, 0, size), '{')
	for i, m := range o.members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, m.name...), ':'), m.value...)
	}
	return append(b, '}')
}

// skip returns where the next token after white space, a comma or a colon begins.
func skip(raw []byte, i int) int {
	for {
		switch raw[i] {
		case ' ', '\t', '\r', '\n', ',', ':':
			i++
		default:
			return i
		}
	}
}

// valueEnd returns the end of the value that begins at raw[i]. raw is a valid
// object, so that only strings and depth need be watched.
func valueEnd(raw []byte, i int) int {
	for depth := 0; ; i++ {
		switch raw[i] {
		case '"':
			for i++; raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // of the object around a number or word
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
}

func unquote(name []byte) string {
	if inner := name[1 : len(name)-1]; !bytes.ContainsRune(inner, '\\') && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	_ = json.Unmarshal(name, &s) // a JSON string, or ParseObject had refused it
	return s
}

func quote(s string) []byte {
	b, _ := json.Marshal(s) // a string always has a JSON form
	return b
}

// unmarshalObject is json.Unmarshal for what must be an object, not null.
func unmarshalObject(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return describe(data, err)
	}
	if bytes.TrimSpace(data)[0] != '{' {
		return errNoObject
	}
	return nil
}

var errNoObject = errors.New("not a JSON object")

// describe says where a syntax error is, and a wrong type in words of JSON.
func describe(data []byte, err error) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("empty")
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		before := data[:min(int(s.Offset), len(data))]
		line := 1 + bytes.Count(before, []byte("\n"))
		column := max(1, len(before)-1-bytes.LastIndexByte(before, '\n'))
		return fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if t.Field == "" {
			return errNoObject
		}
		return fmt.Errorf("key %q: not of the right type: %s", t.Field, t.Value)
	}
	return err
}
