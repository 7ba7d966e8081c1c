package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var sections = []string{"## Description", "## Configuration", "## Examples", "## Files", "## Limits"}

func TestPluginREADMEs(t *testing.T) {
	for _, p := range packages(t, "./plugin/...") {
		if p.Name == "plugin" || p.Name == "all" || p.Name == "plugintest" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(p.Dir, "README.md"))
		if err != nil {
			t.Error(err)
			continue
		}
		at := -1
		for _, s := range sections {
			i := strings.Index(string(text), "\n"+s+"\n")
			if i <= at {
				t.Errorf("%s/README.md: section %q is missing or out of order", p.folder(), s)
			}
			at = i
		}
	}
}

var jsonBlock = regexp.MustCompile("(?ms)^```json\n(.*?)^```")

// TestREADMEExamples: every network that a README or a guide shows is one that
// "seam validate" accepts.
func TestREADMEExamples(t *testing.T) {
	dir := root(t)
	seam := filepath.Join(t.TempDir(), "seam")
	// The daemon's program is a plugin, too.
	plugins := t.TempDir()
	for file, program := range map[string]string{seam: "./cmd/seam", filepath.Join(plugins, "cnm"): "./cmd/seamd"} {
		build := exec.Command("go", "build", "-o", file, program)
		build.Dir = dir
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	var files []string
	for _, pattern := range []string{"README.md", "docs/*.md", "plugin/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	examples := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range jsonBlock.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(block[1], `"plugins"`) {
				continue
			}
			examples++
			cmd := exec.Command(seam, "validate", "--plugin-dir", plugins, "--strict", "-")
			cmd.Stdin = strings.NewReader(block[1])
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s\n%s", file, err, out, block[1])
			}
		}
	}
	if examples == 0 {
		t.Error("no example was found")
	}
}

func TestExampleFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root(t), "examples", "*.conflist"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		cmd := exec.Command("go", "run", "./cmd/seam", "validate", "--strict", file)
		cmd.Dir = root(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}
