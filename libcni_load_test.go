package seam

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
)

// loaded is what this package and libcni must agree on of a network.
type loaded struct {
	Name, Version     string
	NoCheck, NoGC     bool
	InlinedOnly       bool
	Plugins           []any
	Types             []string
	Capabilities      [][]string
	List              any
	RejectedByLibcni  bool
	RejectedAsMissing bool
}

func ofSeam(n *Network, err error) loaded {
	if err != nil {
		return loaded{RejectedByLibcni: true, RejectedAsMissing: errors.Is(err, fs.ErrNotExist)}
	}
	l := loaded{Name: n.Name, Version: n.Version, NoCheck: n.DisableCheck, NoGC: n.DisableGC, InlinedOnly: n.InlinedOnly, List: decoded(n.Raw)}
	for _, p := range n.Plugins {
		l.Plugins = append(l.Plugins, decoded(p.JSON))
		l.Types = append(l.Types, p.Type)
		l.Capabilities = append(l.Capabilities, p.Capabilities)
	}
	return l
}

func ofLibcni(n *libcni.NetworkConfigList, err error) loaded {
	if err != nil {
		var missing libcni.NotFoundError
		var none libcni.NoConfigsFoundError
		return loaded{RejectedByLibcni: true, RejectedAsMissing: errors.As(err, &missing) || errors.As(err, &none)}
	}
	l := loaded{Name: n.Name, Version: n.CNIVersion, NoCheck: n.DisableCheck, NoGC: n.DisableGC, InlinedOnly: n.LoadOnlyInlinedPlugins, List: decoded(n.Bytes)}
	if l.Version == "" {
		l.Version = "0.1.0" // on purpose: what a missing version means
	}
	for _, p := range n.Plugins {
		l.Plugins = append(l.Plugins, decoded(p.Bytes))
		l.Types = append(l.Types, p.Network.Type)
		var enabled []string
		for name, on := range p.Network.Capabilities {
			if on {
				enabled = append(enabled, name)
			}
		}
		slices.Sort(enabled)
		l.Capabilities = append(l.Capabilities, enabled)
	}
	return l
}

func decoded(raw []byte) any {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err.Error()
	}
	return v
}

// folders are trees of configurations, by file.
var folders = map[string]map[string]string{
	"empty": {},
	"one list": {
		"10-a.conflist": `{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"x","n":1,"capabilities":{"p":true,"q":false}}]}`,
	},
	"sorted by file name": {
		"20.conflist": `{"name":"a","plugins":[{"type":"second"}]}`,
		"10.conflist": `{"name":"a","plugins":[{"type":"first"}]}`,
	},
	"a broken file before": {"10.conflist": `{`, "20.conflist": `{"name":"a","plugins":[{"type":"x"}]}`},
	"a broken file after":  {"10.conflist": `{"name":"a","plugins":[{"type":"x"}]}`, "20.conflist": `{`},
	"list before single":   {"10.conf": `{"name":"a","type":"single"}`, "20.conflist": `{"name":"a","plugins":[{"type":"list"}]}`},
	"single":               {"10.conf": `{"cniVersion":"0.3.1","name":"a","type":"x","ipam":{"type":"y"},"disableCheck":true}`},
	"single json":          {"10.json": `{"name":"a","type":"x"}`},
	"single without name":  {"10.conf": `{"type":"x"}`, "20.conf": `{"name":"a","type":"y"}`},
	"single with versions": {"10.conf": `{"cniVersion":"0.4.0","cniVersions":["1.0.0"],"name":"a","type":"x"}`},
	"list called single":   {"10.conf": `{"name":"a","plugins":[{"type":"x"}]}`},
	"other extensions":     {"10.conflist.bak": `{"name":"a","plugins":[{"type":"x"}]}`, "a.txt": "no"},
	"only others":          {"10.conflist": `{"name":"b","plugins":[{"type":"x"}]}`},
	"other and broken":     {"10.conflist": `{"name":"b","plugins":[{"type":"x"}]}`, "10.conf": `{"name":"a"}`},
	"drop-ins": {
		"10.conflist": `{"cniVersion":"1.1.0","name":"a","plugins":[{"type":"x"}]}`,
		"a/20.conf":   `{"type":"z"}`, "a/10.conf": `{"type":"y","k":[1,2]}`, "a/30.json": `{"type":"not"}`, "a/40.conflist": `{`,
	},
	"only drop-ins":      {"10.conflist": `{"name":"a"}`, "a/10.conf": `{"type":"y"}`},
	"no plugins at all":  {"10.conflist": `{"name":"a"}`},
	"broken drop-in":     {"10.conflist": `{"name":"a","plugins":[{"type":"x"}]}`, "a/10.conf": `{"typo":"y"}`},
	"inlined only":       {"10.conflist": `{"name":"a","loadOnlyInlinedPlugins":true,"plugins":[{"type":"x"}]}`, "a/10.conf": `{"type":"y"}`},
	"inlined but none":   {"10.conflist": `{"name":"a","loadOnlyInlinedPlugins":"true"}`, "a/10.conf": `{"type":"y"}`},
	"drop-in of another": {"10.conflist": `{"name":"a","plugins":[{"type":"x"}]}`, "b/10.conf": `{"type":"y"}`},
	"single has none":    {"10.conf": `{"name":"a","type":"x"}`, "a/10.conf": `{"type":"y"}`},
}

func TestLoadAsLibcni(t *testing.T) {
	for name, tree := range folders {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeTree(t, dir, tree)
			for _, network := range []string{"a", "b"} {
				want := ofLibcni(libcni.LoadNetworkConf(dir, network))
				got := ofSeam(Load(dir, network))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("network %s (-libcni +seam)\n%s", network, diff)
				}
			}
		})
	}
}

func writeTree(t testing.TB, dir string, tree map[string]string) {
	t.Helper()
	for name, content := range tree {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// lists are configurations, sound and not, as bytes.
var lists = []string{
	``, `null`, `[]`, `{}`, `{} {}`, `{"name":"a"}x`, `{"name":null}`, `{"name":1}`, `{"name":""}`, `{"name":"a"}`,
	`{"name":"a","plugins":null}`, `{"name":"a","plugins":{}}`, `{"name":"a","plugins":[]}`, `{"name":"a","plugins":[1]}`,
	`{"name":"a","plugins":[null]}`, `{"name":"a","plugins":[{}]}`, `{"name":"a","plugins":[{"type":""}]}`, `{"name":"a","plugins":[{"type":1}]}`,
	`{"name":"a","plugins":[{"type":"x","capabilities":{"a":1}}]}`, `{"name":"a","plugins":[{"type":"x","ipam":[]}]}`,
	`{"name":"a","plugins":[{"type":"x","ipam":{"type":1}}]}`, `{"name":"a","plugins":[{"type":"x","dns":{"nameservers":"1.1.1.1"}}]}`,
	`{"name":"a","plugins":[{"type":"x","name":1}]}`, `{"name":"a","plugins":[{"type":"x","prevResult":[]}]}`, `{"name":"a","plugins":[{"Type":"x"}]}`,
	`{"name":"a","plugins":[{"type":"x","cni.dev/valid-attachments":{}}]}`,
	`{"name":"a","plugins":[{"type":"x","capabilities":{"a":true},"capabilities":{"b":true}}]}`,
	`{"name":"a","name":"b","plugins":[{"type":"x","type":"y"}]}`,
	`{"name":"a","cniVersion":1}`, `{"name":"a","cniVersion":null}`, `{"name":"a","cniVersion":"junk"}`, `{"name":"a","cniVersion":"9.0.0"}`,
	`{"name":"a","cniVersions":"1.0.0"}`, `{"name":"a","cniVersions":[]}`, `{"name":"a","cniVersions":[1]}`, `{"name":"a","cniVersions":["junk"]}`,
	`{"name":"a","cniVersions":["0.4.0","1.0.0","0.3.1"]}`, `{"name":"a","cniVersion":"1.1.0","cniVersions":["0.4.0","1.0.0"]}`,
	`{"name":"a","cniVersion":"0.4.0","cniVersions":["2.0.0"]}`, `{"name":"a","cniVersion":"2.0.0","cniVersions":["0.4.0"]}`,
	`{"name":"a","cniVersion":"2.0.0","cniVersions":["3.0.0"]}`, `{"name":"a","cniVersion":"junk","cniVersions":["0.4.0"]}`,
	`{"name":"a","cniVersions":["1.2"]}`, `{"name":"a","cniVersions":["1"]}`, `{"name":"a","cniVersions":["1.0.0.0"]}`, `{"name":"a","cniVersions":["0.0.1"]}`,
	`{"name":"a","cniVersions":[""]}`, `{"name":"a","disableCheck":true,"disableGC":"FALSE"}`, `{"name":"a","disableCheck":"yes"}`,
	`{"name":"a","disableGC":1}`, `{"name":"a","disableGC":null}`, `{"name":"a","loadOnlyInlinedPlugins":true}`, `{"name":"a","loadOnlyInlinedPlugins":"tRue","plugins":[{"type":"x"}]}`,
	`{"cniVersion":"1.1.0","name":"a","plugins":[{"type":"x","deep":{"a":[1,2.5,-3e4,"\u00e9<&>",null,true]}},{"type":"y"}]}`,
}

func TestParseAsLibcni(t *testing.T) {
	for _, list := range lists {
		if diff := diffParse([]byte(list)); diff != "" {
			t.Errorf("%s (-libcni +seam)\n%s", list, diff)
		}
	}
}

func diffParse(list []byte) string {
	got := ofSeam(Parse(list, "x.conflist"))
	n, err := libcni.NetworkConfFromBytes(list)
	want := ofLibcni(n, err)
	return cmp.Diff(want, got)
}

func FuzzParse(f *testing.F) {
	for _, list := range lists {
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		n, err := Parse(list, "x.conf")
		if err == nil && len(n.Plugins) != 1 {
			t.Errorf("a single plugin became %d", len(n.Plugins))
		}
		_, theirs := libcni.NetworkConfFromBytes(list)
		switch {
		case theirs != nil && strings.Contains(theirs.Error(), "cannot unmarshal number"):
			return // on purpose: a number too big for libcni keeps its digits
		case bytes.Contains(list, []byte("cniVersions")):
			return // that libcni's order of equal versions is unspecified hides the rest
		}
		if diff := diffParse(list); diff != "" {
			t.Errorf("%s (-libcni +seam)\n%s", list, diff)
		}
	})
}
