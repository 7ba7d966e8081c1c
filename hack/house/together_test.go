package house

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// An example is a network of a README, and what of a host it takes for itself.
type example struct {
	where   string
	bridges []string
	subnets []netip.Prefix
}

// TestREADMEExamplesTogether: whoever tries one plugin's example after another's finds
// neither its name nor its bridge nor its addresses taken. Bridges stay, addresses and all.
func TestREADMEExamplesTogether(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root(t), "plugin", "*", "README.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no READMEs: %v", err)
	}
	named := map[string]string{}
	var before []example
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range jsonBlock.FindAllStringSubmatch(string(text), -1) {
			var network struct {
				Name    string
				Plugins []any
			}
			if err := json.Unmarshal([]byte(block[1]), &network); err != nil || network.Plugins == nil {
				continue
			}
			e := example{where: filepath.Base(filepath.Dir(file)) + ": " + network.Name}
			if other := named[network.Name]; other != "" {
				t.Errorf("%s: %s has the same name", e.where, other)
			}
			named[network.Name] = e.where
			e.take(t, network.Plugins)
			for _, other := range before {
				e.compare(t, other)
			}
			before = append(before, e)
		}
	}
}

// take notes what a part of a network's configuration takes.
func (e *example) take(t *testing.T, part any) {
	t.Helper()
	switch part := part.(type) {
	case []any:
		for _, p := range part {
			e.take(t, p)
		}
	case map[string]any:
		bridge, isNamed := part["bridge"].(string)
		if part["type"] == "bridge" && !isNamed {
			t.Errorf("%s: does not name its bridge", e.where)
		}
		if isNamed {
			e.bridges = append(e.bridges, bridge)
		}
		for key, value := range part {
			text, _ := value.(string)
			if p, err := netip.ParsePrefix(text); err == nil && (key == "subnet" || key == "address") {
				e.subnets = append(e.subnets, p.Masked())
			}
			e.take(t, value)
		}
	}
}

func (e *example) compare(t *testing.T, other example) {
	t.Helper()
	for _, b := range e.bridges {
		for _, taken := range other.bridges {
			if b == taken {
				t.Errorf("%s: %s has the bridge %s, too", e.where, other.where, b)
			}
		}
	}
	for _, s := range e.subnets {
		for _, taken := range other.subnets {
			if s.Overlaps(taken) {
				t.Errorf("%s: %s has %s, which overlaps %s", e.where, other.where, taken, s)
			}
		}
	}
}
