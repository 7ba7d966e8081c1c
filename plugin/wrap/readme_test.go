package wrap

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// TestReadmeExamples asks each example's plugins for their status through wrap.
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
		var list struct {
			CNIVersion, Name string
			Plugins          []json.RawMessage
		}
		if err := json.Unmarshal([]byte(e), &list); err != nil {
			t.Errorf("%v in:\n%s", err, e)
			continue
		}
		inner := &tape{}
		for _, p := range list.Plugins {
			config, err := wire.Compose(p, list.Name, list.CNIVersion, nil)
			if err != nil {
				t.Fatalf("%v in:\n%s", err, e)
			}
			r := &cni.Request{Config: config, Plugins: cni.Registry{"bridge": inner, "host-local": inner}}
			if err := New().Status(t.Context(), r); err != nil {
				t.Errorf("%v in:\n%s", err, e)
			}
		}
		if len(inner.calls) != len(list.Plugins) {
			t.Errorf("no plugin was wrapped in:\n%s", e)
		}
	}
}
