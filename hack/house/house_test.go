// Package house holds the rules of docs/architecture.md as tests: which package may
// import which, what each folder must bring along, and what is kept out of the
// program that is executed for every attachment.
package house

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/seamnet/seam"

// floors: a package imports only packages of lower floors. The plugins' floor has
// three storeys: the frame, the plugins, the list of them all; the programs' has two: a
// program, and the rooms below its folder. Between words and doors is state, whose errors
// are in cni's words.
var floors = []struct {
	floor  float64
	folder string // itself and what is below it; the longest match counts
}{
	{1, "cni"}, {1, "cnm"}, {1, "ipam"}, {1, "netns"}, {1, "span"}, {1, "examples"},
	{1.5, "state"},
	{2, "cni/wire"}, {2, "cnm/wire"}, {2, "link"}, {2, "nft"},
	{3, "."}, {3, "lease"},
	{4, "plugin"}, {4, "docker"}, {4, "oci"}, {4, "overlay"}, {4, "policy"}, {4, "dns"},
	{3.9, "docker/ahead"}, {3.9, "docker/engine"},
	{4.2, "plugin/all"}, {4.3, "plan"}, {4.3, "trail"}, {4.5, "conformance"}, {4.6, "conformance/plugins"}, {4.6, "conformance/drivers"},
	{5, "agent"}, {5, "kube"},
	{6, "cmd"}, {7, "hack"},
}

func floorOf(folder string) (float64, bool) {
	best, floor, found := -1, 0.0, false
	for _, f := range floors {
		if (folder == f.folder || strings.HasPrefix(folder, f.folder+"/")) && len(f.folder) > best {
			best, floor, found = len(f.folder), f.floor, true
		}
	}
	switch {
	case strings.HasPrefix(folder, "plugin/") && folder != "plugin/all":
		floor = 4.1
	case strings.HasPrefix(folder, "cmd/") && strings.Count(folder, "/") > 1:
		floor = 5.9
	case folder == "netns/scratch":
		floor = 1.1
	case folder == "netns/netnstest":
		floor = 1.2
	}
	return floor, found
}

// doors: the one folder (and what is below it) that may import a library.
var doors = map[string]string{
	"github.com/containernetworking/cni":     "cni/wire",
	"github.com/vishvananda/netlink":         "link",
	"github.com/opencontainers/runtime-spec": "oci",
	"github.com/insomniacslk/dhcp":           "plugin/dhcp",
	"github.com/godbus/dbus/v5":              "plugin/firewall",
	"github.com/vishvananda/netns":           "link",
	"github.com/google/nftables":             "nft",
	"github.com/mdlayher/netlink":            "nft",
	"github.com/spf13/cobra":                 "cmd",
	"github.com/prometheus/client_golang":    "cmd/seamd",
}

// neverInSeam must not be linked into cmd/seam, even indirectly: its start-up is on
// the path of every attachment.
var neverInSeam = []string{
	"k8s.io/", "go.etcd.io/", "google.golang.org/grpc", "google.golang.org/protobuf",
	"github.com/prometheus/", "go.opentelemetry.io/", "net/http", "crypto/tls",
}

type pkg struct {
	ImportPath, Name, Dir, Doc string
	Imports                    []string
	GoFiles, TestGoFiles       []string
}

func (p pkg) folder() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module+"/"), module)
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func packages(t *testing.T, patterns ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Dir,Doc,Imports,GoFiles,TestGoFiles"}, patterns...)...)
	cmd.Dir, cmd.Stderr = root(t), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, p := range packages(t, "./...") {
		folder := max(p.folder(), ".")
		mine, ok := floorOf(folder)
		if !ok {
			t.Errorf("%s: on no floor; docs/architecture.md says where things go", folder)
		}
		for _, i := range p.Imports {
			if i != module && !strings.HasPrefix(i, module+"/") {
				continue
			}
			imported := max(pkg{ImportPath: i}.folder(), ".")
			if theirs, _ := floorOf(imported); theirs >= mine {
				t.Errorf("%s (floor %v) imports %s (floor %v): imports go down only", folder, mine, imported, theirs)
			}
		}
	}
}

func TestOneDoorPerLibrary(t *testing.T) {
	for _, p := range packages(t, "./...") {
		for _, i := range p.Imports {
			for library, door := range doors {
				if !strings.HasPrefix(i+"/", library+"/") {
					continue
				}
				if folder := p.folder(); folder != door && !strings.HasPrefix(folder, door+"/") && !strings.HasPrefix(folder, "hack/") {
					t.Errorf("%s imports %s: only %s may", folder, i, door)
				}
			}
		}
	}
}

func TestThreadsAreMovedInNetnsOnly(t *testing.T) {
	mover := regexp.MustCompile(`\b(Setns|Unshare|LockOSThread)\(`)
	for _, p := range packages(t, "./...") {
		if p.folder() == "netns" {
			continue
		}
		for _, f := range p.GoFiles {
			src, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if m := mover.Find(src); m != nil {
				t.Errorf("%s/%s: %s: threads are moved in package netns only", p.folder(), f, m)
			}
		}
	}
}

func TestPackageNamesAndComments(t *testing.T) {
	drawers := []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "types", "manager", "shared", "lib"}
	for _, p := range packages(t, "./...") {
		if slices.Contains(drawers, p.Name) {
			t.Errorf("%s: package %s: a drawer, not an idea", p.folder(), p.Name)
		}
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s: has no package comment", p.folder())
		}
	}
}

func TestNoInitAndNoEnvironmentBelowCmd(t *testing.T) {
	mayReadEnvironment := []string{"cmd", "hack", "cni/wire", "netns/netnstest", "plugin/plugintest", "conformance"} // the last starts itself again
	for _, p := range packages(t, "./...") {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s/%s: func init: no hidden input", p.folder(), name)
				}
			}
			allowed := slices.ContainsFunc(mayReadEnvironment, func(d string) bool {
				return p.folder() == d || strings.HasPrefix(p.folder(), d+"/")
			})
			if !allowed && readsEnvironment(file) {
				t.Errorf("%s/%s: reads the environment: only cmd and the wires may", p.folder(), name)
			}
		}
	}
}

func readsEnvironment(file *ast.File) (found bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			x, isIdent := s.X.(*ast.Ident)
			found = found || isIdent && x.Name == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ"}, s.Sel.Name)
		}
		return !found
	})
	return found
}

func TestSeamStaysLean(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./cmd/seam")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, heavy := range neverInSeam {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("cmd/seam links %s", strings.TrimSpace(dep))
			}
		}
	}
}

// TestDependenciesHaveReasons: docs/dependencies.md says of each why it and not another.
func TestDependenciesHaveReasons(t *testing.T) {
	reasons, err := os.ReadFile(filepath.Join(root(t), "docs/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	required := regexp.MustCompile(`(?m)^(?:\t|require |tool )([a-z][^\s]+\.[^\s]+/[^\s]+)(?: v\S+)?$`)
	for _, m := range required.FindAllStringSubmatch(string(mod), -1) {
		if !strings.Contains(string(reasons), "`"+m[1]+"`") {
			t.Errorf("docs/dependencies.md: no reason for %s", m[1])
		}
	}
}
