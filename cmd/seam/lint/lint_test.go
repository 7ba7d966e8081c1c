package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam/cni"
)

// cable stands for an interface plugin, and book for one that gives addresses.
type cable struct {
	IPAM struct {
		Type string `json:"type"`
	} `json:"ipam"`
	MTU       int     `json:"mtu"`
	IsGateway bool    `json:"isGateway"`
	Trunk     []trunk `json:"trunk"`
}

type trunk struct {
	ID *uint16 `json:"id"`
}

func (c *cable) Validate() error {
	if c.MTU < 0 {
		return fmt.Errorf("mtu %d: must not be negative", c.MTU)
	}
	for i, t := range c.Trunk {
		if t.ID != nil && *t.ID > 4094 {
			return fmt.Errorf("trunk[%d].id: too big", i)
		}
	}
	if c.MTU == 7 {
		return cni.Errorf(cni.CodeInvalidConfig, "isGateway: not with this mtu").WithDetails("leave one out")
	}
	return nil
}

type book struct {
	IPAM struct {
		Type   string `json:"type"`
		Ranges [][]struct {
			Subnet netip.Prefix `json:"subnet"`
		} `json:"ranges"`
	} `json:"ipam"`
}

func (b *book) Validate() error {
	for _, set := range b.IPAM.Ranges {
		for _, r := range set {
			if r.Subnet != r.Subnet.Masked() {
				return fmt.Errorf("subnet %s: has host bits", r.Subnet)
			}
		}
	}
	if len(b.IPAM.Ranges) == 0 {
		return errors.New("no ranges")
	}
	return nil
}

func (b *book) Doubt() error {
	for _, set := range b.IPAM.Ranges {
		if len(set) == 0 {
			return errors.New("ipam.ranges: an empty one")
		}
	}
	return nil
}

// tail stands for a chained plugin, and sleeve for one that wraps another.
type tail struct {
	Ports   ports `json:"ports"`
	Solo    bool  `json:"solo"`
	Runtime struct {
		Numbers []int `json:"someNumbers"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			Number int `json:"number"`
		} `json:"cni"`
	} `json:"args"`
}

// ports decodes itself.
type ports map[string]string

func (p *ports) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, (*map[string]string)(p))
}

func (t *tail) With(capabilities map[string]bool) error {
	if !capabilities["someNumbers"] {
		return errors.New("capabilities: without someNumbers nothing is done")
	}
	return nil
}

func (t *tail) Beside(other any) error {
	if c, ok := other.(*cable); ok && c.IsGateway && t.Solo {
		return errors.New("solo: not beside a gateway")
	}
	return nil
}

func (c *cable) First() error {
	if c.MTU == 8 {
		return cni.Errorf(cni.CodeInvalidConfig, "mtu: 8 is nothing to begin with")
	}
	return nil
}

type sleeve struct {
	Delegate    json.RawMessage `json:"delegate"`
	PatchConfig json.RawMessage `json:"patchConfig"`
	IPAM        struct {
		Delegate    json.RawMessage `json:"delegate"`
		PatchConfig json.RawMessage `json:"patchConfig"`
	} `json:"ipam"`
}

var rules = Rules{
	Configs: map[string]func() any{
		"cable":  func() any { return new(cable) },
		"book":   func() any { return new(book) },
		"tail":   func() any { return new(tail) },
		"sleeve": func() any { return new(sleeve) },
	},
	Chained:  []string{"tail"},
	IPAM:     []string{"book"},
	Versions: []string{"0.3.1", "1.0.0", "1.1.0"},
}

const good = `{"cniVersion": "1.1.0", "name": "blue", "disableCheck": "true",
	"_comment": "of ours", "args": {"podman_labels": {}}, "nerdctlID": "a", "nerdctlLabels": {}, "plugins": [
	{"type": "cable", "mtu": 1400, "ISGATEWAY": true, "trunk": [{"id": 3}], "dns": {"search": ["a"]},
	 "capabilities": {"mac": true}, "args": {"cni": {"ips": []}}, "cni.dev/x": 1,
	 "ipam": {"type": "book", "ranges": [[{"subnet": "10.1.0.0/16"}]]}},
	{"type": "cable", "ipam": {"type": "sky", "clouds": 3}},
	{"type": "tuning", "sysctl": {"a": "b"}, "ipam": {"a": 1}},
	{"type": "tail", "capabilities": {"someNumbers": true, "mac": true}, "args": {"cni": {"anything": 1}}, "//": 1, "$schema": "x"},
	{"type": "sleeve", "delegate": {"type": "cable", "mtu": "big", "trunk": [{"id": 9000}]}, "patchConfig": {"mtu": 3, "trunk": null}},
	{"type": "cable", "ipam": {"type": "sleeve", "delegate": {"type": "book"}, "patchConfig": {"ranges": [[{"subnet": "10.1.0.0/16"}]]}}}
]}`

func TestCheck(t *testing.T) {
	list := func(plugin string) string {
		return "{\"cniVersion\": \"1.1.0\", \"name\": \"blue\", \"plugins\": [\n  " + plugin + "\n]}"
	}
	tests := []struct{ name, file, want string }{
		{"good", good, ""},
		{"single", `{"cniVersion": "1.0.0", "name": "blue", "type": "cable", "mtu": 3}`, ""},
		{"drop-in", `{"type": "cable", "mtu": 3}`, ""},
		{"empty", "", "f:1:1: error: the file is empty"},
		{"comma", "{\n\t\"name\": \"blue\",\n}", "f:3:1: error: invalid character '}' looking for beginning of object key string"},
		{"cut", `{"name": "blue`, "f:1:15: error: the text ends inside a JSON value: a bracket, brace or quote is not closed"},
		{"trailing", "{}\n{}", "f:2:1: error: text after the end of the JSON value"},
		{"list", "[]", "f:1:1: error: a network file must be a JSON object, in braces"},
		{"columns are characters", `{"ü": 1, "name": "a", "cniVersion": "1.0.0", "plugins": []}`,
			"f:1:2: warning: unknown key \"ü\" (no key of a network; a plugin's keys stand in its object in \"plugins\")\nf:1:57: error: the list of plugins is empty"},
		{"head", `{"cniVersion": "3", "name": "-a", "plugins": [{"type": "x"}]}`, `f:1:16: error: version "3" of the specification does not exist (one of 0.3.1, 1.0.0, 1.1.0)
f:1:29: error: network name "-a": must begin with a letter or digit and hold only letters, digits, '_', '.' and '-'`},
		{"nothing", `{}`, `f:1:1: error: no "name": a network needs one
f:1:1: warning: no "cniVersion": the network is taken as of version 0.1.0 (add "cniVersion": "1.1.0")
f:1:1: warning: no "plugins": the network is only what the files of the folder named like it hold`},
		{"head types", `{"cniVersion": 1, "name": 2, "disableGC": "maybe", "plugins": [1]}`, `f:1:16: error: key "cniVersion": a number stands where a string is wanted
f:1:27: error: key "name": a number stands where a string is wanted
f:1:43: error: key "disableGC": true or false is wanted
f:1:64: error: a plugin must be an object, in braces`},
		{"no type", list(`{"mtu": 3}`), `f:2:3: error: no "type": a plugin needs one`},
		{"path", list(`{"type": "/bin/cable"}`), `f:2:12: error: type "/bin/cable": the name of a program, not a path`},
		{"typing error", list(`{"type": "cabel"}`), `f:2:12: warning: plugin "cabel" is not built in: its keys are not checked (did you mean "cable"?)`},
		{"unknown key", list(`{"type": "cable", "isGatway": true}`), `f:2:21: warning: unknown key "isGatway" (did you mean "isGateway"?)`},
		{"unknown key below", list(`{"type": "cable", "trunk": [{"id": 1}, {"ib": 1}]}`), `f:2:43: warning: unknown key "ib" (cable does not read it)`},
		{"unknown key of two", list(`{"type": "cable", "bogus": 1, "ipam": {"type": "book", "ranges": [[{"subnet": "10.1.0.0/16"}]]}}`),
			`f:2:21: warning: unknown key "bogus" (neither cable nor book reads it)`},
		{"unknown key of args", list(`{"type": "cable"}, {"type": "tail", "capabilities": {"someNumbers": true}, "args": {"cni": {"numbr": 1, "labels": {}}}}`),
			`f:2:95: warning: unknown key "numbr" (did you mean "number"?)`},
		{"unknown key of ipam", list(`{"type": "cable", "ipam": {"type": "book", "range": []}}`), `f:2:3: error: no ranges
f:2:46: warning: unknown key "range" (did you mean "ranges"?)`},
		{"twice", list(`{"type": "cable", "mtu": 1, "mtu": 2}`), `f:2:31: warning: key "mtu" stands twice: the last one counts`},
		{"type of value", list(`{"type": "cable", "mtu": "big", "trunk": {}, "isGateway": "yes"}`), `f:2:28: error: key "plugins[0].mtu": a string stands where a whole number is wanted
f:2:44: error: key "plugins[0].trunk": an object stands where a list is wanted
f:2:61: error: key "plugins[0].isGateway": a string stands where true or false is wanted`},
		{"number too big", list(`{"type": "cable", "trunk": [{"id": 70000}]}`), `f:2:38: error: key "plugins[0].trunk[0].id": the number 70000 stands where a whole number from 0 to 65535 is wanted`},
		{"address", list(`{"type": "cable", "ipam": {"type": "book", "ranges": [[{"subnet": "10.1.0.0/33"}]]}}`),
			`f:2:69: error: key "plugins[0].ipam.ranges[0][0].subnet": "10.1.0.0/33" is not of the form ADDRESS/LENGTH: prefix length out of range`},
		{"inside what decodes itself", list(`{"type": "cable"}, {"type": "tail", "ports": {"a.b": 7}}`),
			`f:2:56: error: key "plugins[1].ports.a.b": a number stands where a string is wanted`},
		{"object for an address", list(`{"type": "cable", "ipam": {"type": "book", "ranges": [[{"subnet": {"a": 1}}]]}}`),
			`f:2:69: error: key "plugins[0].ipam.ranges[0][0].subnet": an object stands where a string is wanted`},
		{"what the plugin refuses", list(`{"type": "cable", "isGateway": true, "mtu": -4}`), `f:2:40: error: mtu -4: must not be negative`},
		{"what it says to do", list(`{"type": "cable", "isGateway": true, "mtu": 7}`), `f:2:21: error: isGateway: not with this mtu (leave one out)`},
		{"what the other plugin refuses", list(`{"type": "cable", "ipam": {"type": "book", "ranges": [[{"subnet": "10.0.0.0/8"}], [{"subnet": "10.1.0.1/16"}]]}}`),
			`f:2:87: error: subnet 10.1.0.1/16: has host bits`},
		{"another project's plugin with ours", list(`{"type": "macvlan", "master": "eth0", "ipam": {"type": "book", "rangs": []}}`),
			`f:2:3: error: no ranges
f:2:66: warning: unknown key "rangs" (did you mean "ranges"?)`},
		{"another project's plugin with what ours refuses", list(`{"type": "macvlan", "ipam": {"type": "book"}}`), `f:2:3: error: no ranges`},
		{"wrapped", list(`{"type": "flannel", "delegate": {"type": "cable", "mtuu": 3}}`),
			`f:2:53: warning: unknown key "mtuu" (did you mean "mtu"?)`},
		{"patched", list(`{"type": "sleeve", "delegate": {"type": "cable", "trunk": [], "mtu": 1}, "patchConfig": {"mtu": "x", "trunk": {"id": null}}}`),
			`f:2:99: error: key "plugins[0].delegate.mtu": a string stands where a whole number is wanted
f:2:113: error: key "plugins[0].delegate.trunk": an object stands where a list is wanted`},
		{"patched to what the plugin refuses", list(`{"type": "sleeve", "delegate": {"type": "cable"}, "patchConfig": {"mtu": -4}}`),
			`f:2:69: error: mtu -4: must not be negative`},
		{"wrapped for addresses", list(`{"type": "cable", "ipam": {"type": "sleeve", "delegate": {"type": "book", "ranges": [[{"subnet": "10.1.0.1/16"}]]}}}`),
			`f:2:90: error: subnet 10.1.0.1/16: has host bits`},
		{"a typing error wrapped for addresses", list(`{"type": "cable", "ipam": {"type": "sleeve", "delegate": {"type": "bok"}}}`),
			`f:2:69: warning: plugin "bok" is not built in: its keys are not checked (did you mean "book"?)`},
		{"chained and first", list(`{"type": "tail", "capabilities": {"someNumbers": true}}`),
			`f:2:12: error: plugin "tail" works on what a plugin before it made, and is the first (put it after the one that makes the interface)`},
		{"chained, first and alone", `{"cniVersion": "1.0.0", "name": "blue", "type": "tail", "capabilities": {"someNumbers": true}}`,
			`f:1:49: error: plugin "tail" works on what a plugin before it made, and is the first (put it after the one that makes the interface)`},
		{"chained, wrapped and first", list(`{"type": "sleeve", "delegate": {"type": "tail", "capabilities": {"someNumbers": true}}}`),
			`f:2:43: error: plugin "tail" works on what a plugin before it made, and is the first (put it after the one that makes the interface)`},
		{"drop-in of a chained one", `{"type": "tail", "capabilities": {"someNumbers": true}}`, ""},
		{"what cannot be first", list(`{"type": "cable", "mtu": 8}, {"type": "cable", "mtu": 8}`), `f:2:21: error: mtu: 8 is nothing to begin with`},
		{"addresses in the chain", list(`{"type": "book", "ipam": {"type": "book", "ranges": [[{"subnet": "10.1.0.0/16"}]]}}`),
			`f:2:12: warning: plugin "book" gives addresses to a plugin that asks it: in the chain it sets none (name it in the one that makes the interface: "ipam": {"type": "book"})`},
		{"addresses from who gives none", list(`{"type": "cable", "ipam": {"type": "cable", "mtu": 1}}`), `f:2:38: error: plugin "cable" gives no addresses (name one that does: book)`},
		{"addresses from nobody", list(`{"type": "cable", "ipam": {"ranges": []}}, {"type": "cable", "ipam": {}}`),
			`f:2:21: warning: "ipam" has no "type": nobody gives the interface addresses (name the plugin that is to: book)`},
		{"capability without which", list(`{"type": "cable"}, {"type": "tail"}`), `f:2:22: warning: capabilities: without someNumbers nothing is done`},
		{"unknown capability", list(`{"type": "cable"}, {"type": "tail", "capabilities": {"somenumbers": true}}`),
			`f:2:39: warning: capabilities: without someNumbers nothing is done
f:2:56: warning: unknown capability "somenumbers" (did you mean "someNumbers"?)`},
		{"not beside", list(`{"type": "sleeve", "delegate": {"type": "cable", "isGateway": true}}, {"type": "tail", "solo": true, "capabilities": {"someNumbers": true}}`),
			`f:2:90: warning: solo: not beside a gateway`},
		{"doubt", list(`{"type": "cable", "ipam": {"type": "book", "ranges": [[]]}}`), `f:2:46: warning: ipam.ranges: an empty one`},
		{"what the runtime will add to", list(`{"type": "cable", "ipam": {"type": "book"}, "capabilities": {"ipRanges": true}}`), ""},
		{"path in the message", list(`{"type": "cable", "trunk": [{"id": 1}, {"id": 5000}]}`), `f:2:43: error: trunk[1].id: too big`},
		{"nothing to blame", list(`{"type": "cable", "ipam": {"type": "book"}}`), `f:2:3: error: no ranges`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var lines []string
			for _, f := range rules.Check("f", []byte(test.file)) {
				lines = append(lines, f.String())
			}
			if diff := cmp.Diff(test.want, strings.Join(lines, "\n")); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// The runtime takes of a folder the first file with a network's name.
func TestCheckAll(t *testing.T) {
	network := func(name string) []byte {
		return fmt.Appendf(nil, `{"cniVersion": "1.1.0", "name": %q, "plugins": [{"type": "cable"}]}`, name)
	}
	single := []byte(`{"cniVersion": "1.1.0", "name": "blue", "type": "cable"}`)
	findings := rules.CheckAll([]File{
		{"a/10.conf", single},
		{"a/30.conflist", network("blue")},
		{"a/20.conflist", network("blue")},
		{"a/20.conflist", network("blue")}, // the same one
		{"a/40.conflist", network("red")},
		{"b/90.conflist", network("blue")},
		{"a/00.txt", network("blue")},
		{"-", network("blue")},
	})
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	want := `a/10.conf:1:33: warning: network "blue" is that of a/20.conflist already, which comes first: this file has no effect (give the network another name, or remove one of the files)
a/30.conflist:1:33: warning: network "blue" is that of a/20.conflist already, which comes first: this file has no effect (give the network another name, or remove one of the files)`
	if diff := cmp.Diff(want, strings.Join(lines, "\n")); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestEdits(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"abc", "xabc", 1}, {"abc", "", 3}, {"kitten", "sitting", 3}} {
		if got := edits(test.a, test.b); got != test.want {
			t.Errorf("edits(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// Whatever the text, there is an answer, and its places are in the text.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"plugins":[{"type":"cable","ipam":{"type":"book"}}]}`))
	f.Add([]byte(`{"type":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, finding := range rules.Check("f", data) {
			if finding.Line < 1 || finding.Column < 1 || finding.Line > 1+strings.Count(string(data), "\n") {
				t.Errorf("%v is outside of the text", finding)
			}
		}
	})
}
