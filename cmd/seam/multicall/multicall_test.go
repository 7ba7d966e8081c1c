package multicall

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// names runs an operation and returns its outcomes as "name outcome" lines.
func names(t *testing.T, dir string, keepForeign bool, do func(Folder) error) string {
	t.Helper()
	var lines []string
	f := Folder{Dir: dir, KeepForeign: keepForeign, Report: func(c Change) {
		lines = append(lines, c.Name+" "+string(c.Outcome))
	}}
	if err := do(f); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func install(f Folder) error { return f.Install("/proc/self/exe", []string{"bridge", "ptp"}) }
func remove(f Folder) error  { return f.Remove([]string{"bridge", "ptp"}) }

func list(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestInstallAndRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bin")
	foreign := "#!/bin/sh\n"
	steps := []struct {
		name    string
		prepare func()
		do      func(Folder) error
		keep    bool
		want    string
		files   string
	}{
		{"first", nil, install, false, "bridge installed\nptp installed", "bridge ptp"},
		{"again", nil, install, false, "bridge unchanged\nptp unchanged", "bridge ptp"},
		{"foreign kept", func() { write(t, dir, "ptp", foreign) }, install, true, "bridge unchanged\nptp kept", "bridge ptp"},
		{"foreign replaced", nil, install, false, "bridge unchanged\nptp replaced", "bridge ptp ptp.before-seam"},
		{"second foreign does not hide the first", func() { write(t, dir, "ptp", "#!/bin/dash\n") }, install, false,
			"bridge unchanged\nptp replaced", "bridge ptp ptp.before-seam"},
		{"after a kill", func() { write(t, dir, ".seam.new", "half"); write(t, dir, ".seam.link.new", "half") }, install, false,
			"bridge unchanged\nptp unchanged", "bridge ptp ptp.before-seam"},
		{"removed", nil, remove, false, "bridge removed\nptp restored", "ptp"},
		{"removed again", nil, remove, false, "bridge absent\nptp absent", "ptp"},
	}
	for _, step := range steps {
		if step.prepare != nil {
			step.prepare()
		}
		got := names(t, dir, step.keep, step.do)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: outcomes (-want +got):\n%s", step.name, diff)
		}
		if diff := cmp.Diff(step.files, list(t, dir)); diff != "" {
			t.Errorf("%s: files (-want +got):\n%s", step.name, diff)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "ptp")); err != nil || string(got) != foreign {
		t.Errorf("restored: %q, %v, want %q", got, err, foreign)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	os.Remove(path)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestNamesAreOneFile(t *testing.T) {
	dir := t.TempDir()
	names(t, dir, false, install)
	a, err := os.Stat(filepath.Join(dir, "bridge"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(dir, "ptp"))
	if err != nil || !os.SameFile(a, b) {
		t.Errorf("bridge and ptp are two files (%v)", err)
	}
}

// What runs is not written to: "text file busy" would be the answer.
func TestInstallOverRunningProgram(t *testing.T) {
	dir := t.TempDir()
	names(t, dir, false, install)
	path := filepath.Join(dir, "bridge")
	p, err := os.StartProcess(path, []string{"bridge", "-test.run=^TestSleeper$"}, &os.ProcAttr{Env: []string{"SLEEP=1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	defer p.Kill()
	write(t, dir, "other", "x")
	f := Folder{Dir: dir}
	if err := f.Install("/bin/sh", []string{"bridge"}); err != nil {
		t.Fatal(err)
	}
	if same, err := equal("/bin/sh", path); err != nil || !same {
		t.Errorf("bridge was not replaced: %v", err)
	}
}

func TestSleeper(t *testing.T) {
	if os.Getenv("SLEEP") != "" {
		select {}
	}
}

// What cannot be replaced is found before anything is: a folder is all of one program or
// as it was.
func TestInstallChecksEveryNameFirst(t *testing.T) {
	for _, inTheWay := range []string{"ptp", "ptp" + backupSuffix} {
		t.Run(inTheWay, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "ptp", "#!/bin/sh\n")
			os.Remove(filepath.Join(dir, inTheWay))
			if err := os.Mkdir(filepath.Join(dir, inTheWay), 0o755); err != nil {
				t.Fatal(err)
			}
			before := list(t, dir)
			err := install(Folder{Dir: dir})
			if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, inTheWay)+" is a directory") {
				t.Errorf("error: %v", err)
			}
			if diff := cmp.Diff(before, list(t, dir)); diff != "" {
				t.Errorf("files (-before +after):\n%s", diff)
			}
		})
	}
}
