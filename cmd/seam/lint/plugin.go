package lint

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
)

// pluginKeys are the keys that any plugin may have (specification 1.1.0, section
// 1, and the conventions).
type pluginKeys struct {
	Type          string                     `json:"type"`
	Capabilities  map[string]bool            `json:"capabilities"`
	IPAM          json.RawMessage            `json:"ipam"`
	DNS           *cni.DNS                   `json:"dns"`
	Args          map[string]json.RawMessage `json:"args"`
	RuntimeConfig json.RawMessage            `json:"runtimeConfig"`
	PrevResult    json.RawMessage            `json:"prevResult"`
	Name          string                     `json:"name"`
	CNIVersion    string                     `json:"cniVersion"`
}

func (c *checker) plugin(p *node, path string) {
	typ := p.get("type")
	if typ == nil || typ.text(c.src) == "" {
		at := p.start
		if typ != nil {
			at = typ.start
		}
		c.errorf(at, join(path, "type"), `no "type": a plugin needs one`)
		return
	}
	name := typ.text(c.src)
	if strings.Contains(name, "/") {
		c.errorf(typ.start, join(path, "type"), "type %q: the name of a program, not a path", name)
		return
	}
	if d := p.get("delegate"); d != nil && d.get("type") != nil {
		c.plugin(&d.node, join(path, "delegate")) // of wrap, and of other projects' that wrap plugins
	}
	ipam := p.get("ipam")
	delegateName, delegate := c.ipam(ipam, join(path, "ipam"))
	newConfig, known := c.rules.Configs[name]
	if !known {
		c.foreign(typ, join(path, "type"), name)
		c.foreignWith(p, path, ipam, delegateName, delegate)
		return
	}
	before := c.errors()
	config := newConfig()
	types := []reflect.Type{reflect.TypeFor[pluginKeys](), reflect.TypeOf(config)}
	if delegate != nil {
		types = append(types, reflect.TypeOf(delegate))
	}
	if path == "" {
		types = append(types, reflect.TypeFor[listKeys]())
	}
	checked := *p
	if delegateName != "" && delegate == nil {
		checked.members = without(p.members, "ipam") // keys of a program that is not ours
	}
	c.keys(&checked, path, types)
	if c.errors() > before {
		return // the plugin would say the same in other words
	}
	c.decode(p, path, name, config)
	c.decodeDelegate(p, path, delegateName, delegate)
}

// foreignWith checks what a plugin that is not built in hands to one that is.
func (c *checker) foreignWith(p *node, path string, ipam *member, name string, delegate any) {
	if delegate == nil {
		return
	}
	before := c.errors()
	types := append(fieldTypes([]reflect.Type{reflect.TypeOf(delegate).Elem()}, "ipam"), reflect.TypeFor[struct {
		Type string `json:"type"`
	}]())
	c.keys(&ipam.node, join(path, "ipam"), types)
	if c.errors() == before {
		c.decodeDelegate(p, path, name, delegate)
	}
}

// decodeDelegate lets the plugin that gives addresses judge its configuration,
// unless the runtime is to add to it (the capability ipRanges): alone it may be too little.
func (c *checker) decodeDelegate(p *node, path, name string, config any) {
	if config == nil {
		return
	}
	if caps := p.get("capabilities"); caps != nil {
		if ranges := caps.get(cni.CapabilityIPRanges); ranges != nil && string(c.src[ranges.start:ranges.end]) == "true" {
			return
		}
	}
	c.decode(p, path, name, config)
}

// ipam returns the type that an ipam object names and its configuration, nil if
// that plugin is not built in.
func (c *checker) ipam(m *member, path string) (string, any) {
	if m == nil || m.kind != '{' {
		return "", nil
	}
	t := m.get("type")
	if t == nil {
		return "", nil
	}
	name := t.text(c.src)
	if newConfig, ok := c.rules.Configs[name]; ok {
		return name, newConfig()
	}
	if name != "" {
		c.foreign(t, path+".type", name)
	}
	return name, nil
}

// foreign warns of a type that is only slightly different from one that exists.
func (c *checker) foreign(typ *member, path, name string) {
	if near := nearest(name, slices.Collect(maps.Keys(c.rules.Configs))); near != "" {
		c.add(typ.start, path, Warning, fmt.Sprintf("plugin %q is not built in: its keys are not checked", name), fmt.Sprintf("did you mean %q?", near))
	}
}

func without(members []member, key string) []member {
	return slices.DeleteFunc(slices.Clone(members), func(m member) bool { return strings.EqualFold(m.key, key) })
}

func (c *checker) errors() int {
	n := 0
	for _, f := range c.findings {
		if f.Severity == Error {
			n++
		}
	}
	return n
}

// decode lets the plugin's own code judge its configuration.
func (c *checker) decode(p *node, path, typ string, config any) {
	r := &cni.Request{Config: cni.Config{Name: c.name, Version: c.version, Type: typ, JSON: c.src[p.start:p.end]}}
	err := r.Decode(config)
	if err == nil {
		return
	}
	message, hint := err.Error(), ""
	if e, ok := err.(*cni.Error); ok { // and not one of several that it joins
		message, hint = e.Msg, e.Details
	}
	message = strings.TrimPrefix(message, fmt.Sprintf("%s: network %q: ", typ, c.name))
	for finding := range strings.SplitSeq(message, "\n") {
		b := blame{message: finding, src: c.src, at: p.start}
		b.look(p, "")
		at := path
		if b.path != "" {
			at = join(path, b.path)
		}
		c.add(b.at, at, Error, finding, hint)
	}
}
