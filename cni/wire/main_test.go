package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seamnet/seam/cni"
)

// TestMain makes a plugin of the test's binary when it is called as "bridge".
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "bridge" {
		os.Exit(m.Run())
	}
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGPIPE)
	os.Exit(Serve(ctx, diary{}, Call{
		Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Plugins: func(dirs []string) cni.Finder { return Path{Dirs: dirs, Stderr: os.Stderr} },
	}))
}

// A diary is a plugin that writes each call into the file that its configuration
// names, and then does what the configuration says.
type diary struct{}

type diaryConfig struct {
	Diary string
	Fail  *struct {
		Code cni.Code
		Msg  string
	}
	Hang bool // until the context ends
}

type entry struct {
	Verb   string
	Env    map[string]string
	Config string
	Prev   string
	Valid  []cni.Attachment
}

func (diary) note(ctx context.Context, verb string, r *cni.Request) error {
	var conf diaryConfig
	if err := r.Decode(&conf); err != nil {
		return err
	}
	e := entry{Verb: verb, Config: string(r.Config.JSON), Valid: r.Valid, Env: map[string]string{}}
	for _, kv := range os.Environ() {
		if k, v, _ := strings.Cut(kv, "="); strings.HasPrefix(k, "CNI_") || k == "TRACEPARENT" {
			e.Env[k] = v
		}
	}
	if r.Prev != nil {
		prev, err := EncodeResult(r.Prev, latest)
		if err != nil {
			return err
		}
		e.Prev = string(prev)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(conf.Diary, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "diary: %s\n", verb)
	if conf.Hang && verb == "ADD" {
		<-ctx.Done()
		return ctx.Err()
	}
	if conf.Fail != nil && verb != "DEL" {
		return &cni.Error{Code: conf.Fail.Code, Msg: conf.Fail.Msg, Details: "as told"}
	}
	return nil
}

func (d diary) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	return onePod(), d.note(ctx, "ADD", r)
}
func (d diary) Check(ctx context.Context, r *cni.Request) error  { return d.note(ctx, "CHECK", r) }
func (d diary) Del(ctx context.Context, r *cni.Request) error    { return d.note(ctx, "DEL", r) }
func (d diary) GC(ctx context.Context, r *cni.Request) error     { return d.note(ctx, "GC", r) }
func (d diary) Status(ctx context.Context, r *cni.Request) error { return d.note(ctx, "STATUS", r) }

// readDiary returns the entries and empties the diary.
func readDiary(t *testing.T, file string) []entry {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	for line := range strings.Lines(string(data)) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	return entries
}

// installDiary puts the diary plugin into a folder of its own, as "bridge".
func installDiary(t *testing.T) (dir string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "bridge")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// script writes an executable file.
func script(t *testing.T, dir, name, body string) (file string) {
	t.Helper()
	file = filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}
