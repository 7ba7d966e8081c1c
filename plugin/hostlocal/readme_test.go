package hostlocal

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
)

// TestReadmeExamples gives an address by each example.
func TestReadmeExamples(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(text), "```json\n")[1:]
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	for _, e := range examples {
		e, _, _ = strings.Cut(e, "```")
		e = strings.ReplaceAll(e, "/run/example/leases", t.TempDir())
		var list struct {
			CNIVersion, Name string
			Plugins          []json.RawMessage
		}
		if err := json.Unmarshal([]byte(e), &list); err != nil {
			t.Errorf("%v in:\n%s", err, e)
			continue
		}
		for _, p := range list.Plugins {
			h := newHost(t)
			r := request("c1", simple)
			r.Config = cni.Config{Name: list.Name, Version: list.CNIVersion, Type: "host-local", JSON: p}
			h.add(r)
			h.del(r)
		}
	}
}
