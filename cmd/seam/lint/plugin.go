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
	Type         string          `json:"type"`
	Capabilities map[string]bool `json:"capabilities"`
	IPAM         struct {
		Type string `json:"type"`
	} `json:"ipam"`
	DNS           *cni.DNS                   `json:"dns"`
	Args          map[string]json.RawMessage `json:"args"`
	RuntimeConfig json.RawMessage            `json:"runtimeConfig"`
	PrevResult    json.RawMessage            `json:"prevResult"`
	Name          string                     `json:"name"`
	CNIVersion    string                     `json:"cniVersion"`
}

// A place is where in a network a plugin stands.
type place struct {
	path  string
	first bool // no plugin is before it
}

func (c *checker) plugin(p *node, at place) {
	name, typ := c.pluginType(p, at.path)
	if name == "" {
		return
	}
	if d := c.delegate(p); d != nil {
		c.plugin(d, place{join(at.path, "delegate"), at.first})
	}
	ipam := p.get("ipam")
	ipamName, ipamConfig := c.ipam(ipam, join(at.path, "ipam"))
	newConfig, known := c.rules.Configs[name]
	if !known {
		c.foreign(typ, join(at.path, "type"), name)
		c.givesAddresses(p, at, ipam, ipamName, ipamConfig)
		return
	}
	c.stands(typ, at, name)
	before := c.errors()
	config := newConfig()
	c.pluginKeys(p, at.path, name, config, ipamName, ipamConfig)
	if c.errors() > before {
		return // the plugin would say the same in other words
	}
	c.decode(p, at, name, config)
	c.decodeIPAM(p, at, ipamName, ipamConfig)
	c.wrappedIPAM(p, at, ipam)
}

// pluginType returns the type that an object names, "" if it can be none.
func (c *checker) pluginType(p *node, path string) (string, *member) {
	typ := p.get("type")
	if typ == nil || typ.text(c.src) == "" {
		at := p.start
		if typ != nil {
			at = typ.start
		}
		c.errorf(at, join(path, "type"), `no "type": a plugin needs one`)
		return "", nil
	}
	name := typ.text(c.src)
	if strings.Contains(name, "/") {
		c.errorf(typ.start, join(path, "type"), "type %q: the name of a program, not a path", name)
		return "", nil
	}
	return name, typ
}

// delegate returns the plugin that an object wraps, as its patch leaves it; nil if there
// is none. So it is with wrap, and with other projects' plugins.
func (c *checker) delegate(p *node) *node {
	d := p.get("delegate")
	if d == nil {
		return nil
	}
	wrapped := &d.node
	if patch := p.get("patchConfig"); patch != nil && patch.kind == '{' {
		wrapped = wrapped.patched(&patch.node, c.src)
	}
	if wrapped.get("type") == nil {
		return nil
	}
	return wrapped
}

// stands says what is wrong with a plugin's place in the chain.
func (c *checker) stands(typ *member, at place, name string) {
	path := join(at.path, "type")
	switch {
	case at.first && slices.Contains(c.rules.Chained, name):
		c.add(typ.start, path, Error, fmt.Sprintf("plugin %q works on what a plugin before it made, and is the first", name),
			"put it after the one that makes the interface")
	case slices.Contains(c.rules.IPAM, name):
		c.add(typ.start, path, Warning, fmt.Sprintf("plugin %q gives addresses to a plugin that asks it: in the chain it sets none", name),
			fmt.Sprintf(`name it in the one that makes the interface: "ipam": {"type": %q}`, name))
	}
}

// pluginKeys compares the keys with those that the plugin and its IPAM plugin read.
func (c *checker) pluginKeys(p *node, path, name string, config any, ipamName string, ipamConfig any) {
	types := []reflect.Type{reflect.TypeFor[pluginKeys](), reflect.TypeOf(config)}
	c.readers = []string{name}
	if ipamConfig != nil {
		types = append(types, reflect.TypeOf(ipamConfig))
		if ipamName != name {
			c.readers = append(c.readers, ipamName)
		}
	}
	if path == "" {
		types = append(types, reflect.TypeFor[listKeys]())
	}
	checked := *p
	if m := p.get("ipam"); m != nil && ipamConfig == nil && (ipamName != "" || c.untyped(m, path, name)) {
		checked.members = without(p.members, "ipam") // keys of a program that is not ours, or nobody's
	}
	c.keys(&checked, path, types)
	c.capabilities(p, path, types)
}

// untyped reports whether an "ipam" object has keys, and does not say whose.
func (c *checker) untyped(ipam *member, path, name string) bool {
	if ipam.kind != '{' || len(ipam.members) == 0 || ipam.get("type") != nil {
		return false
	}
	if !slices.Contains(c.rules.Chained, name) {
		c.add(ipam.keyAt, join(path, "ipam"), Warning, `"ipam" has no "type": nobody gives the interface addresses`,
			"name the plugin that is to: "+strings.Join(c.rules.IPAM, ", "))
	}
	return true
}

// capabilities warns of one that is nearly what the plugins read: they are told apart
// by the case of letters too.
func (c *checker) capabilities(p *node, path string, types []reflect.Type) {
	caps := p.get("capabilities")
	if caps == nil {
		return
	}
	read := names(plain(fieldTypes(plain(types), "runtimeConfig")))
	for _, m := range caps.members {
		if near := nearest(m.key, read); near != "" && !slices.Contains(read, m.key) {
			c.add(m.keyAt, join(path, "capabilities."+m.key), Warning, fmt.Sprintf("unknown capability %q", m.key), fmt.Sprintf("did you mean %q?", near))
		}
	}
}

// givesAddresses checks what a plugin hands to the one that is to give addresses, where
// its own keys are not known.
func (c *checker) givesAddresses(p *node, at place, ipam *member, name string, config any) {
	if config == nil {
		return
	}
	before := c.errors()
	types := append(fieldTypes([]reflect.Type{reflect.TypeOf(config).Elem()}, "ipam"), reflect.TypeFor[struct {
		Type string `json:"type"`
	}]())
	c.readers = []string{name}
	c.keys(&ipam.node, join(at.path, "ipam"), types)
	if c.errors() == before {
		c.decodeIPAM(p, at, name, config)
		c.wrappedIPAM(p, at, ipam)
	}
}

// wrappedIPAM checks the plugin that is wrapped by what stands as "ipam": it gets the
// whole configuration with its own object there.
func (c *checker) wrappedIPAM(p *node, at place, ipam *member) {
	if ipam == nil {
		return
	}
	d := c.delegate(&ipam.node)
	if d == nil {
		return
	}
	inner := &member{key: ipam.key, keyAt: ipam.keyAt, node: *d}
	name, config := c.ipam(inner, join(at.path, "ipam.delegate"))
	c.givesAddresses(p.with(*inner), at, inner, name, config)
}

// decodeIPAM lets the plugin that gives addresses judge its configuration,
// unless the runtime is to add to it (the capability ipRanges): alone it may be too little.
func (c *checker) decodeIPAM(p *node, at place, name string, config any) {
	if config != nil && !c.enabled(p)[cni.CapabilityIPRanges] {
		c.decode(p, at, name, config)
	}
}

// enabled returns the capabilities that a plugin's object asks for.
func (c *checker) enabled(p *node) map[string]bool {
	caps := map[string]bool{}
	if m := p.get("capabilities"); m != nil {
		_ = json.Unmarshal(m.json(c.src), &caps) // what is no boolean is an error elsewhere
	}
	return caps
}

// ipam returns the type that an ipam object names and its configuration, nil if
// that plugin is not built in, or gives no addresses.
func (c *checker) ipam(m *member, path string) (string, any) {
	if m == nil || m.kind != '{' {
		return "", nil
	}
	t := m.get("type")
	if t == nil {
		return "", nil
	}
	name := t.text(c.src)
	newConfig, known := c.rules.Configs[name]
	switch {
	case known && (slices.Contains(c.rules.IPAM, name) || c.delegate(&m.node) != nil):
		return name, newConfig()
	case known:
		c.add(t.start, path+".type", Error, fmt.Sprintf("plugin %q gives no addresses", name), "name one that does: "+strings.Join(c.rules.IPAM, ", "))
	case name != "":
		c.foreign(t, path+".type", name)
	}
	return name, nil
}

// foreign warns of a type that is only slightly different from one that exists.
func (c *checker) foreign(typ *member, path, name string) {
	if near := nearest(name, slices.Sorted(maps.Keys(c.rules.Configs))); near != "" {
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
func (c *checker) decode(p *node, at place, typ string, config any) {
	r := &cni.Request{Config: cni.Config{Name: c.name, Version: c.version, Type: typ, JSON: p.json(c.src)}}
	if err := r.Decode(config); err != nil {
		c.refused(p, at.path, typ, err, Error)
		return
	}
	c.placed = append(c.placed, placed{place: at, node: p, typ: typ, config: config})
}

// refused reports what a plugin's code says, at the places that it is about.
func (c *checker) refused(p *node, path, typ string, err error, s Severity) {
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
		c.add(b.at, at, s, finding, hint)
	}
}
