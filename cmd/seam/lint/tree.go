package lint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A node is a JSON value and where it stands in the text.
type node struct {
	kind       json.Delim // '{' or '['; 0: a string, number, true, false or null
	start, end int        // bytes of the value in the text
	members    []member   // of an object in their order, of a list with empty keys
	composed   bool       // an object whose members come from several places of the text
}

// A member is a value of an object or list.
type member struct {
	key   string
	keyAt int // byte where the key stands; of a list's value, its own start
	node
}

// get returns the last member with that key, as encoding/json lets the last win.
func (n *node) get(key string) *member {
	var found *member
	for i := range n.members {
		if n.kind == '{' && strings.EqualFold(n.members[i].key, key) {
			found = &n.members[i]
		}
	}
	return found
}

// text returns the string that the node is, or "".
func (n *node) text(src []byte) string {
	var s string
	if n == nil || json.Unmarshal(src[n.start:n.end], &s) != nil {
		return ""
	}
	return s
}

// json returns the value's text.
func (n *node) json(src []byte) []byte {
	if !n.composed {
		return src[n.start:n.end]
	}
	text := []byte("{")
	for i := range n.members {
		if i > 0 {
			text = append(text, ',')
		}
		key, _ := json.Marshal(n.members[i].key) // a string always can be
		text = append(append(append(text, key...), ':'), n.members[i].json(src)...)
	}
	return append(text, '}')
}

// with returns the object with that member in place of what has its key.
func (n *node) with(m member) *node {
	changed := *n
	changed.composed = true
	changed.members = append(slices.DeleteFunc(slices.Clone(n.members), func(o member) bool { return o.key == m.key }), m)
	return &changed
}

// patched returns the object changed by a JSON merge patch (RFC 7396). What comes from
// the patch keeps its place there.
func (n *node) patched(patch *node, src []byte) *node {
	if patch.kind != '{' {
		return patch
	}
	result := &node{kind: '{', start: patch.start, end: patch.end, composed: true}
	if n.kind == '{' {
		result.start, result.end, result.members = n.start, n.end, n.members
	}
	for _, m := range patch.members {
		below := &node{start: m.start, end: m.end}
		for _, o := range result.members {
			if o.key == m.key {
				below = &o.node
			}
		}
		removed := string(m.json(src)) == "null"
		m.node = *below.patched(&m.node, src)
		result = result.with(m)
		if removed {
			result.members = result.members[:len(result.members)-1]
		}
	}
	return result
}

// at returns the deepest value within n that holds the byte before pos, and its path.
func (n *node) at(pos int, path string) (*node, string) {
	for i := range n.members {
		m := &n.members[i]
		if m.start < pos && pos <= m.end {
			return m.at(pos, n.below(i, path))
		}
	}
	return n, path
}

// below returns the path of a member.
func (n *node) below(i int, path string) string {
	if n.kind == '[' {
		return fmt.Sprintf("%s[%d]", path, i)
	}
	return join(path, n.members[i].key)
}

// A syntaxError says at which byte the text stops being JSON.
type syntaxError struct {
	at  int
	msg string
}

func (e *syntaxError) Error() string { return e.msg }

// parse returns the tree of a text that is one JSON value.
func parse(src []byte) (*node, error) {
	if err := wellFormed(src); err != nil {
		return nil, err
	}
	p := &parser{src: src, dec: json.NewDecoder(bytes.NewReader(src))}
	p.dec.UseNumber()
	var root node
	err := p.value(&root)
	return &root, err
}

// wellFormed leaves the grammar to encoding/json, whose decoder of single tokens
// is laxer than its decoder of values.
func wellFormed(src []byte) error {
	dec := json.NewDecoder(bytes.NewReader(src))
	var value json.RawMessage
	if err := dec.Decode(&value); err != nil {
		return located(err, src)
	}
	rest := int(dec.InputOffset())
	if i := bytes.IndexFunc(src[rest:], func(r rune) bool { return !strings.ContainsRune(" \t\r\n", r) }); i >= 0 {
		return &syntaxError{rest + i, "text after the end of the JSON value"}
	}
	return nil
}

func located(err error, src []byte) error {
	if s, ok := err.(*json.SyntaxError); ok {
		return &syntaxError{max(int(s.Offset)-1, 0), s.Error()}
	}
	if len(bytes.TrimSpace(src)) == 0 {
		return &syntaxError{0, "the file is empty"}
	}
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		return &syntaxError{len(src), "the text ends inside a JSON value: a bracket, brace or quote is not closed"}
	}
	return &syntaxError{0, err.Error()}
}

type parser struct {
	src []byte
	dec *json.Decoder
}

// token returns the next token and where it begins and ends.
func (p *parser) token() (t json.Token, start, end int, err error) {
	start = int(p.dec.InputOffset())
	for start < len(p.src) && strings.IndexByte(" \t\r\n,:", p.src[start]) >= 0 {
		start++
	}
	t, err = p.dec.Token()
	return t, start, int(p.dec.InputOffset()), err
}

func (p *parser) value(n *node) error {
	t, start, end, err := p.token()
	if err != nil {
		return located(err, p.src)
	}
	n.start, n.end = start, end
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	n.kind = open
	for p.dec.More() {
		if err := p.member(n); err != nil {
			return err
		}
	}
	_, _, n.end, err = p.token()
	return err
}

func (p *parser) member(n *node) error {
	var m member
	if n.kind == '{' {
		t, start, _, err := p.token()
		if err != nil {
			return located(err, p.src)
		}
		m.key, m.keyAt = fmt.Sprint(t), start
	}
	if err := p.value(&m.node); err != nil {
		return err
	}
	if n.kind == '[' {
		m.keyAt = m.start
	}
	n.members = append(n.members, m)
	return nil
}

// position returns the line and column, counted from 1 and in characters, of a byte.
func position(src []byte, at int) (line, column int) {
	at = min(at, len(src))
	line = 1 + bytes.Count(src[:at], []byte("\n"))
	begin := bytes.LastIndexByte(src[:at], '\n') + 1
	return line, 1 + len([]rune(string(src[begin:at])))
}
