// Package lint reads a CNI network file as an administrator wrote it and says what
// is wrong with it and where: syntax, unknown keys, values of the wrong type, and
// what the plugins themselves refuse.
//
// It is for people and their editors. The runtime does not use it: there an
// unknown key is another program's business and is passed on. Nothing is looked up
// on the host, so a file can be checked anywhere.
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

// The severities: an Error makes the file useless, a Warning is probably not meant.
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
	Versions []string              // of the specification, that exist
}

// Check returns what is wrong with the file, in the order of its text. The name
// stands in the findings, and its ending decides what the file may be: a .conf
// or .json file holds one plugin, any other a list.
func (r Rules) Check(name string, src []byte) []Finding {
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
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return c.findings
}

type checker struct {
	rules    Rules
	file     string
	src      []byte
	name     string // the network's
	version  string
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
	if root.get("name") != nil || root.get("cniVersion") != nil {
		c.head(root)
	}
	c.plugin(root, "")
}

// head checks the keys that say which network this is.
func (c *checker) head(root *node) {
	name := root.get("name")
	if name == nil {
		c.errorf(root.start, "name", `no "name": a network needs one`)
	} else if c.name = name.text(c.src); c.name != "" || c.isString(&name.node) {
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
		c.plugin(p, path)
	}
}
