package seam

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

func TestLoadAll(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{
		"30.conflist": `{"name":"c","plugins":[{"type":"x"}]}`,
		"20.conflist": `{"name":`,
		"10.conflist": `{"name":"a","plugins":[{"type":"x"}]}`,
		"05.conf":     `{"name":"b","type":"x"}`,
		"06.json":     `{"name":"a","type":"shadowed"}`,
		"07.txt":      `not one`,
		"c/10.conf":   `{"type":"dropped in"}`,
	})
	all, err := LoadAll(dir)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "20.conflist")) {
		t.Errorf("error %v, want one that names 20.conflist", err)
	}
	type brief struct{ Name, File, Types string }
	var got []brief
	for _, n := range all {
		var types []string
		for _, p := range n.Plugins {
			types = append(types, p.Type)
		}
		got = append(got, brief{n.Name, filepath.Base(n.File), strings.Join(types, " ")})
	}
	want := []brief{{"a", "10.conflist", "x"}, {"c", "30.conflist", "x dropped in"}, {"b", "05.conf", "x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("networks (-want +got)\n%s", diff)
	}
	if all, err := LoadAll(filepath.Join(dir, "missing")); err != nil || len(all) != 0 {
		t.Errorf("of a missing folder: %d networks, %v", len(all), err)
	}
}

func TestLoadMissing(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"10.conflist": `{"name":"a","plugins":[{"type":"x"}]}`})
	for _, dir := range []string{dir, filepath.Join(dir, "missing")} {
		_, err := Load(dir, "zzz")
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), `"zzz"`) || !strings.Contains(err.Error(), dir) {
			t.Errorf("error %v, want one that names network and folder and matches fs.ErrNotExist", err)
		}
	}
	if _, err := LoadFile(filepath.Join(dir, "zzz.conflist")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

// A network's name must not lead to files elsewhere.
func TestDropInsStayInside(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{
		"net.d/10.conflist": `{"name":"../evil","plugins":[{"type":"x"}]}`,
		"net.d/20.conflist": `{"name":"","plugins":[{"type":"x"}]}`,
		"net.d/30.conf":     `{"type":"of the folder itself"}`,
		"evil/10.conf":      `{"type":"evil"}`,
	})
	for _, file := range []string{"10.conflist", "20.conflist"} {
		n, err := LoadFile(filepath.Join(dir, "net.d", file))
		if err != nil {
			t.Fatal(err)
		}
		if len(n.Plugins) != 1 {
			t.Errorf("%s: %d plugins, want 1", file, len(n.Plugins))
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		raw, file, want string
		code            cni.Code
	}{
		{"", "n.conflist", "network configuration n.conflist: not JSON: it ends too early", cni.CodeDecoding},
		{"{\n  \"name\": \"a\",\n  oops\n}", "n.conflist", "network configuration n.conflist: line 3, column 3: invalid character 'o' looking for beginning of object key string", cni.CodeDecoding},
		{`{"name":"a"} {}`, "", "network configuration input: line 1, column 14: invalid character '{' after top-level value", cni.CodeDecoding},
		{`[]`, "n.conflist", "network configuration n.conflist: JSON array where an object is wanted", cni.CodeDecoding},
		{`{}`, "n.conflist", `network configuration n.conflist: missing "name"`, cni.CodeInvalidConfig},
		{`{"name":7}`, "n.conflist", `network configuration n.conflist: "name": a number where a string is wanted`, cni.CodeInvalidConfig},
		{`{"name":"a","plugins":[{"type":"x"},{"tpye":"y"}]}`, "n.conflist", `network configuration n.conflist: "plugins"[1]: missing "type"`, cni.CodeInvalidConfig},
		{`{"name":"a","plugins":[{"type":"x","ipam":{"type":[]}}]}`, "n.conflist", `network configuration n.conflist: "plugins"[0]: "ipam.type": JSON array where a string is wanted`, cni.CodeDecoding},
		{`{"name":"a","plugins":[{"type":"x","capabilities":{"mac":1}}]}`, "n.conflist", `network configuration n.conflist: "plugins"[0]: "capabilities": JSON number where true or false is wanted`, cni.CodeDecoding},
		{`{"name":"a","plugins":7}`, "n.conflist", `network configuration n.conflist: "plugins": a number where a list is wanted`, cni.CodeInvalidConfig},
		{`{"name":"a","disableGC":"maybe","plugins":[{"type":"x"}]}`, "n.conflist", `network configuration n.conflist: "disableGC": "maybe" where true or false is wanted`, cni.CodeInvalidConfig},
		{`{"name":"a","cniVersions":["one"]}`, "n.conflist", `network configuration n.conflist: "cniVersions": version "one": "one" is not a number`, cni.CodeDecoding},
		{`{"name":"a"}`, "n.conf", `network configuration n.conf: missing "type"`, cni.CodeInvalidConfig},
	}
	for _, tt := range tests {
		_, err := Parse([]byte(tt.raw), tt.file)
		if err == nil {
			t.Errorf("%q: no error", tt.raw)
			continue
		}
		if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
			t.Errorf("%q (-want +got)\n%s", tt.raw, diff)
		}
		if code := cni.CodeOf(err); code != tt.code {
			t.Errorf("%q: code %d, want %d", tt.raw, code, tt.code)
		}
	}
}

func TestCapabilities(t *testing.T) {
	n := parseNetwork(t, `{"name":"a","plugins":[{"type":"x","capabilities":{"mac":true,"ips":false}},{"type":"y","capabilities":{"dns":true,"mac":true}}]}`)
	if diff := cmp.Diff([]string{"dns", "mac"}, n.Capabilities()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
