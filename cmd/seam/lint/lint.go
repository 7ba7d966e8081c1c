// Package lint reads a CNI network file as an administrator wrote it and says what
// is wrong with it and where: syntax, values of the wrong type, what the plugins
// themselves refuse, plugins in places where they cannot work, and unknown keys.
//
// It is for people and their editors. The runtime does not use it: there an
// unknown key is another program's business and is passed on, so here it is no more
// than a warning. Nothing is looked up on the host, so a file can be checked anywhere.
//
// To see what a plugin accepts, look at its Config type: the known keys are that
// type's JSON names.
package lint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
)

// A Severity says whether a finding keeps the network from working.
type Severity string

// The severities: with an Error no container can be attached, a Warning is probably
// not meant.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// A Finding is something wrong at a place of a file.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`   // from 1
	Column   int      `json:"column"` // from 1, in characters
	Path     string   `json:"path,omitempty"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"` // what to do about it
}

// String returns the finding as compilers do: FILE:LINE:COLUMN: severity: message.
func (f Finding) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Severity, f.Message)
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// Rules are what a file is checked against.
type Rules struct {
	Configs  map[string]func() any // by plugin type: returns a pointer to a new configuration, filled with the defaults
	Chained  []string              // types that stand after another plugin only
	IPAM     []string              // types that give addresses: that "ipam" may name, and a chain has no place for
	Versions []string              // of the specification, that exist
}

// Check returns what is wrong with the file, in the order of its text. The name
// stands in the findings.
func (r Rules) Check(name string, src []byte) []Finding {
	c := r.check(name, src)
	c.sort()
	return c.findings
}

func (r Rules) check(name string, src []byte) *checker {
	c := &checker{rules: r, file: name, src: src}
	root, err := parse(src)
	switch e := err.(type) {
	case nil:
		c.network(root)
	case *syntaxError:
		c.errorf(e.at, "", "%s", e.msg)
	default:
		c.errorf(0, "", "%v", err)
	}
	return c
}

func (c *checker) sort() {
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

type checker struct {
	rules    Rules
	file     string
	src      []byte
	name     string // the network's
	nameAt   int
	version  string
	readers  []string // one or two types that are to read the keys that are being compared; none: the runtime
	placed   []placed
	findings []Finding
}

func (c *checker) add(at int, path string, s Severity, message, hint string) {
	line, column := position(c.src, at)
	c.findings = append(c.findings, Finding{c.file, line, column, path, s, message, hint})
}

func (c *checker) errorf(at int, path, format string, args ...any) {
	c.add(at, path, Error, fmt.Sprintf(format, args...), "")
}

// listKeys are the keys of a network file (specification 1.1.0, section 1).
type listKeys struct {
	CNIVersion             string            `json:"cniVersion"`
	CNIVersions            []string          `json:"cniVersions"`
	Name                   string            `json:"name"`
	DisableCheck           flexibleBool      `json:"disableCheck"`
	DisableGC              flexibleBool      `json:"disableGC"`
	LoadOnlyInlinedPlugins flexibleBool      `json:"loadOnlyInlinedPlugins"`
	Plugins                []json.RawMessage `json:"plugins"`

	// Notes that runtimes leave for themselves.
	Args          json.RawMessage `json:"args"` // Podman
	NerdctlID     json.RawMessage `json:"nerdctlID"`
	NerdctlLabels json.RawMessage `json:"nerdctlLabels"`
}

func (c *checker) network(root *node) {
	if root.kind != '{' {
		c.errorf(root.start, "", "a network file must be a JSON object, in braces")
		return
	}
	plugins := root.get("plugins")
	if plugins == nil && root.get("type") != nil {
		c.single(root)
		return
	}
	c.keys(root, "", []reflect.Type{reflect.TypeFor[listKeys]()})
	c.head(root)
	switch {
	case plugins == nil:
		if l := root.get("loadOnlyInlinedPlugins"); l != nil && string(c.src[l.start:l.end]) == "true" {
			c.errorf(l.keyAt, "loadOnlyInlinedPlugins", "loadOnlyInlinedPlugins is true, but there are no plugins")
		} else {
			c.add(root.start, "", Warning, `no "plugins": the network is only what the files of the folder named like it hold`, "")
		}
	case plugins.kind == '[' && len(plugins.members) == 0:
		c.errorf(plugins.start, "plugins", "the list of plugins is empty")
	case plugins.kind == '[':
		c.chain(plugins)
	}
}

// single checks a file of one plugin: the old form of a network's, or without name
// and version one of a network's drop-in folder.
func (c *checker) single(root *node) {
	whole := root.get("name") != nil || root.get("cniVersion") != nil
	if whole {
		c.head(root)
	}
	c.plugin(root, place{first: whole})
	c.review()
}

// head checks the keys that say which network this is.
func (c *checker) head(root *node) {
	name := root.get("name")
	if name == nil {
		c.errorf(root.start, "name", `no "name": a network needs one`)
	} else if c.name, c.nameAt = name.text(c.src), name.start; c.name != "" || c.isString(&name.node) {
		if err := cni.CheckNetworkName(c.name); err != nil {
			c.errorf(name.start, "name", "%v", err)
		}
	}
	v := root.get("cniVersion")
	if v == nil {
		if root.get("cniVersions") == nil {
			c.add(root.start, "cniVersion", Warning, `no "cniVersion": the network is taken as of version 0.1.0`, `add "cniVersion": "1.1.0"`)
		}
		return
	}
	c.version = v.text(c.src)
	if c.isString(&v.node) && !slices.Contains(c.rules.Versions, c.version) {
		c.add(v.start, "cniVersion", Error, fmt.Sprintf("version %q of the specification does not exist", c.version),
			"one of "+strings.Join(c.rules.Versions, ", "))
	}
}

func (c *checker) isString(n *node) bool { return n.kind == 0 && c.src[n.start] == '"' }

func (c *checker) chain(plugins *member) {
	for i := range plugins.members {
		path := fmt.Sprintf("plugins[%d]", i)
		p := &plugins.members[i].node
		if p.kind != '{' {
			c.errorf(p.start, path, "a plugin must be an object, in braces")
			continue
		}
		c.plugin(p, place{path: path, first: i == 0})
	}
	c.review()
}
