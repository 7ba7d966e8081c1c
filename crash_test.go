package seam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// The variable that makes the test binary a process to be killed: "VERB PLUGIN DIR NETNS".
// What it plugs is written down as files, as would outlive it in a kernel.
const victim = "SEAM_TEST_VICTIM"

// plug is a plugin whose work is a file DIR/world/NAME-CONTAINER.
type plug struct {
	dir, name string
	dies      Verb // before its work is done, and half done
}

func (p plug) file(r *cni.Request) string {
	return filepath.Join(p.dir, "world", p.name+"-"+r.ContainerID)
}

func (p plug) die(verb Verb) {
	if p.dies == verb {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}

func (p plug) Add(_ context.Context, r *cni.Request) (*cni.Result, error) {
	if err := os.WriteFile(p.file(r), nil, 0o600); err != nil {
		return nil, err
	}
	p.die(Add)
	return r.Prev.Clone(), nil
}

func (p plug) Del(_ context.Context, r *cni.Request) error {
	p.die(Del)
	return removeFile(p.file(r))
}

func (p plug) Check(_ context.Context, r *cni.Request) error {
	p.die(Check)
	_, err := os.Stat(p.file(r))
	return err
}

func (p plug) GC(_ context.Context, r *cni.Request) error     { return nil }
func (p plug) Status(_ context.Context, r *cni.Request) error { return nil }

func plugged(dir, dying string, dies Verb) *Runtime {
	registry := cni.Registry{}
	for _, name := range []string{"a", "b", "c"} {
		p := plug{dir: dir, name: name}
		if name == dying {
			p.dies = dies
		}
		registry[name] = p
	}
	return &Runtime{Plugins: registry, CacheDir: filepath.Join(dir, "cache"), OwnNetNS: true}
}

// TestVictim is no test but the process that TestKilled kills.
func TestVictim(t *testing.T) {
	var verb Verb
	var dying, dir, netNS string
	if n, _ := fmt.Sscan(os.Getenv(victim), &verb, &dying, &dir, &netNS); n != 4 {
		t.Skip("runs as a part of TestKilled")
	}
	rt := plugged(dir, dying, verb)
	n := parseNetwork(t, blue)
	c := Container{ID: "c1", IfName: "eth0", NetNS: netNS}
	switch verb {
	case Add:
		rt.Attach(t.Context(), n, c)
	case Del:
		rt.Detach(t.Context(), n, c)
	case Check:
		rt.Check(t.Context(), n, c)
	}
	t.Fatal("still alive")
}

const blue = `{"cniVersion": "1.1.0", "name": "blue", "plugins": [{"type": "a"}, {"type": "b"}, {"type": "c"}]}`

func TestKilled(t *testing.T) {
	next := map[string]func(*Runtime, *Network) error{
		"recover": func(rt *Runtime, _ *Network) error { return rt.Recover(t.Context()) },
		"collect": func(rt *Runtime, n *Network) error { return rt.Collect(t.Context(), n, nil) },
		"attach and detach another": func(rt *Runtime, n *Network) error {
			_, err := rt.Attach(t.Context(), n, container("c2"))
			return errors.Join(err, rt.Detach(t.Context(), n, container("c2")))
		},
		"attach and detach again": func(rt *Runtime, n *Network) error {
			_, err := rt.Attach(t.Context(), n, container("c1"))
			return errors.Join(err, rt.Detach(t.Context(), n, container("c1")))
		},
		"detach": func(rt *Runtime, n *Network) error { return rt.Detach(t.Context(), n, container("c1")) },
	}
	for _, verb := range []Verb{Add, Del} {
		for _, dying := range []string{"a", "b", "c"} {
			for name, clean := range next {
				t.Run(fmt.Sprintf("%s of %s, then %s", verb, dying, name), func(t *testing.T) {
					dir := t.TempDir()
					kill(t, dir, dying, verb)
					rt := plugged(dir, "", "")
					if err := clean(rt, parseNetwork(t, blue)); err != nil {
						t.Error(err)
					}
					assertClean(t, dir)
				})
			}
		}
	}
}

// kill runs an operation that is killed by one of its plugins, and makes sure that it
// left something to clean.
func kill(t *testing.T, dir, dying string, verb Verb) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "world"), 0o700); err != nil {
		t.Fatal(err)
	}
	if verb != Add {
		if _, err := plugged(dir, "", "").Attach(t.Context(), parseNetwork(t, blue), container("c1")); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestVictim$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s", victim, verb, dying, dir, ownNS()))
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("victim was not killed: %v\n%s", err, out)
	}
	if len(files(t, filepath.Join(dir, "world"))) == 0 {
		t.Fatal("nothing to clean")
	}
}

func assertClean(t *testing.T, dir string) {
	t.Helper()
	for _, file := range files(t, dir) {
		if !strings.HasPrefix(file, "cache/seam/networks/") {
			t.Errorf("left: %s", file)
		}
	}
}

// A killed check or collection leaves attachments as they are, and nothing locked.
func TestKilledReading(t *testing.T) {
	dir := t.TempDir()
	kill(t, dir, "b", Check)
	rt, n := plugged(dir, "", ""), parseNetwork(t, blue)
	if err := rt.Check(t.Context(), n, container("c1")); err != nil {
		t.Error(err)
	}
	if err := rt.Detach(t.Context(), n, container("c1")); err != nil {
		t.Error(err)
	}
	assertClean(t, dir)
}

// A network that is being collected has its killed operations undone by the
// collector: no other operation does it meanwhile, or waits for it.
func TestKilledWhileCollected(t *testing.T) {
	dir := t.TempDir()
	kill(t, dir, "b", Add)
	rt, red := plugged(dir, "", ""), parseNetwork(t, strings.Replace(blue, "blue", "red", 1))
	l, err := lockFile(t.Context(), rt.networkFile("blue"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rt.Attach(t.Context(), red, container("c2")); err != nil {
		t.Errorf("another container: %v", err)
	}
	if _, err := rt.Attach(t.Context(), red, container("c1")); cni.CodeOf(err) != cni.CodeTryAgain {
		t.Errorf("the same container: %v, want an error with CodeTryAgain", err)
	}
	if err := rt.Recover(t.Context()); err != nil {
		t.Error(err)
	}
	want := []string{"a-c1", "a-c2", "b-c1", "b-c2", "c-c2"}
	if diff := cmp.Diff(want, files(t, filepath.Join(dir, "world"))); diff != "" {
		t.Errorf("world (-want +got)\n%s", diff)
	}
	l.remove()
	if _, err := rt.Attach(t.Context(), red, container("c1")); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"c1", "c2"} {
		if err := rt.Detach(t.Context(), red, container(id)); err != nil {
			t.Error(err)
		}
	}
	assertClean(t, dir)
}

// Cut the journal anywhere: what is not whole was not begun, what is whole is undone.
func TestTornJournal(t *testing.T) {
	dir := t.TempDir()
	kill(t, dir, "c", Add)
	journal := filepath.Join(dir, "cache", "seam", "journal")
	names := files(t, journal)
	if len(names) != 1 {
		t.Fatalf("journal holds %v, want one file", names)
	}
	whole, err := os.ReadFile(filepath.Join(journal, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	intentEnd := slices.Index(whole, '\n') + 1
	results := 0
	for size := range len(whole) + 1 {
		in, last, err := parseIntent(whole[:size])
		if begun := size >= intentEnd; begun != (err == nil) {
			t.Fatalf("cut at %d of %d: %v, want an intent: %v", size, len(whole), err, begun)
		}
		if err == nil && in.ContainerID != "c1" {
			t.Fatalf("cut at %d: container %q", size, in.ContainerID)
		}
		if last != nil {
			results++
		}
	}
	if results == 0 {
		t.Error("no results of the chain so far")
	}
	if err := os.Truncate(filepath.Join(journal, names[0]), int64(intentEnd-1)); err != nil {
		t.Fatal(err)
	}
	if err := plugged(dir, "", "").Recover(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, files(t, journal)); diff != "" {
		t.Errorf("journal (-want +got)\n%s", diff)
	}
}

// The undoing of a killed attach hands plugins the last result, which those without
// a memory need.
func TestKilledResult(t *testing.T) {
	b := newBench(t, t.TempDir())
	in := &intent{Verb: Add, Network: b.network, ContainerID: "c1", IfName: "eth0", NetNS: ownNS(), Args: cni.Args{{Key: "A", Value: "1"}}}
	l, err := lockFile(t.Context(), b.journalFile("c1"), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.declare(in), l.progress(&cni.Result{Interfaces: []cni.Interface{{Name: "eth0"}}})); err != nil {
		t.Fatal(err)
	}
	l.release()
	scratch := b.recordScratch("c1") // it was writing the record
	if err := errors.Join(os.MkdirAll(filepath.Dir(scratch), 0o700), os.WriteFile(scratch, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	var got []byte
	b.plugins["b"].on[Del] = func(_ context.Context, r *cni.Request) error {
		got, err = json.Marshal([]any{r.Prev.Interfaces[0].Name, r.Args, r.NetNS == ownNS()})
		return err
	}
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := `["eth0",[{"Key":"A","Value":"1"}],true]`; string(got) != want {
		t.Errorf("DEL got %s, want %s", got, want)
	}
	if _, err := os.Stat(scratch); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v, want that it does not exist", scratch, err)
	}
}
