package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// request asks the diary to be kept in a folder of the test's own.
func request(t *testing.T, extra string) (r *cni.Request, diary string) {
	t.Helper()
	diary = filepath.Join(t.TempDir(), "diary")
	return &cni.Request{
		Attachment: cni.Attachment{Network: "net", ContainerID: "pod", IfName: "eth0"},
		NetNS:      "/no/such/ns",
		Args:       cni.Args{{Key: "K", Value: "V"}},
		Prev:       onePod(),
		Valid:      []cni.Attachment{},
		Config: cni.Config{Name: "net", Version: "1.1.0", Type: "bridge",
			JSON: json.RawMessage(`{"type":"bridge","diary":` + strconv.Quote(diary) + extra + `}`)},
	}, diary
}

// TestExecutable has a plugin write down what reaches it from each verb.
func TestExecutable(t *testing.T) {
	t.Setenv("CNI_NETNS_OVERRIDE", "1")
	t.Setenv("CNI_IFNAME", "stale")
	t.Setenv("TRACEPARENT", "00-a-b-01")
	dir := installDiary(t)
	var log bytes.Buffer
	e := &Executable{File: dir + "/bridge", Dirs: []string{dir, "/x"}, Stderr: &log}
	const big = `,"n":12345678901234567890,"s":"\u003c<\u00e9"`
	r, file := request(t, big)

	result, err := e.Add(t.Context(), r)
	if diff := cmp.Diff(onePod(), result, sameResult); diff != "" || err != nil {
		t.Fatalf("%v (-want +got)\n%s", err, diff)
	}
	for _, call := range []func(context.Context, *cni.Request) error{e.Check, e.Del, e.GC, e.Status} {
		if err := call(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	prev := `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}`
	config := `{"type":"bridge","diary":` + strconv.Quote(file) + big + `,"cniVersion":"1.1.0","name":"net"}`
	want := []entry{
		{Verb: "ADD", Prev: prev}, {Verb: "CHECK", Prev: prev}, {Verb: "DEL", Prev: prev},
		{Verb: "GC", Valid: []cni.Attachment{}}, {Verb: "STATUS"},
	}
	for i := range want {
		want[i].Config = config
		want[i].Env = map[string]string{
			"CNI_COMMAND": want[i].Verb, "CNI_CONTAINERID": "pod", "CNI_NETNS": "/no/such/ns", "CNI_IFNAME": "eth0",
			"CNI_ARGS": "K=V", "CNI_PATH": dir + ":/x", "CNI_NETNS_OVERRIDE": "1", "TRACEPARENT": "00-a-b-01",
		}
	}
	if diff := cmp.Diff(want, readDiary(t, file)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff("diary: ADD\ndiary: CHECK\ndiary: DEL\ndiary: GC\ndiary: STATUS\n", log.String()); diff != "" {
		t.Errorf("stderr (-want +got)\n%s", diff)
	}
	versions, err := e.Versions(t.Context())
	if diff := cmp.Diff(SupportedVersions(), versions); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestExecutableErrorsPass(t *testing.T) {
	dir := installDiary(t)
	e := &Executable{File: dir + "/bridge", Dirs: []string{dir}}
	r, file := request(t, `,"fail":{"code":50,"msg":"not now"}`)
	_, err := e.Add(t.Context(), r)
	for i, err := range []error{err, e.Check(t.Context(), r), e.GC(t.Context(), r), e.Status(t.Context(), r)} {
		if cni.CodeOf(err) != cni.CodeNotAvailable || err.Error() != "not now; as told" {
			t.Errorf("%d: %v", i, err)
		}
	}
	var verbs []string
	for _, e := range readDiary(t, file) {
		verbs = append(verbs, e.Verb)
	}
	if diff := cmp.Diff([]string{"ADD", "DEL", "CHECK", "GC", "STATUS"}, verbs); diff != "" {
		t.Errorf("a served plugin rolls its ADD back (-want +got)\n%s", diff)
	}
}

// TestExecutableRollsBack: a plugin of Seam's that is stopped cleans up by itself.
func TestExecutableRollsBack(t *testing.T) {
	dir := installDiary(t)
	e := &Executable{File: dir + "/bridge", Dirs: []string{dir}}
	r, file := request(t, `,"hang":true`)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(file); err == nil {
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := e.Add(ctx, r); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := readDiary(t, file); len(got) != 2 || got[1].Verb != "DEL" {
		t.Errorf("%+v", got)
	}
}

func TestExecutableBadPlugins(t *testing.T) {
	const anError = `{"cniVersion":"1.0.0","code":7,"msg":"bad key"}`
	tests := []struct {
		name, body string
		code       cni.Code
		want       string // FILE stands for the plugin's file
	}{
		{"garbage", `echo hello`, cni.CodeDecoding, `FILE: result: line 1, column 1: invalid character 'h' looking for beginning of value; it printed "hello\n"`},
		{"nothing", ``, cni.CodeDecoding, `FILE: result: empty; it printed ""`},
		{"garbage and failure", `echo hello; echo why >&2; exit 3`, cni.CodeInternal, `FILE: exit status 3, with no error object but "hello" on stdout; on stderr: why`},
		{"failure without a word", `exit 3`, cni.CodeInternal, `FILE: exit status 3, with nothing on stdout`},
		{"failure on stderr", `echo 'no "foo"' >&2; exit 1`, cni.CodeInternal, `FILE: exit status 1, with nothing on stdout; on stderr: no "foo"`},
		{"error object", `echo '` + anError + `'; exit 9`, cni.CodeInvalidConfig, `bad key`},
		{"error object and exit 0", `echo '` + anError + `'`, cni.CodeInvalidConfig, `bad key`},
		{"signal", `echo half; kill -KILL $$`, cni.CodeInternal, `FILE: signal: killed, with no error object but "half" on stdout`},
		{"too much", `head -c 10000000 /dev/zero`, cni.CodeDecoding, `FILE: wrote more than 1048576 bytes to stdout`},
		{"result of an unknown version", `echo '{"cniVersion":"7.0.0"}'`, cni.CodeIncompatibleVersion, `CNI version "7.0.0" is not supported`},
		{"two values", `echo '{}{}'`, cni.CodeDecoding, `after top-level value`},
		{"no such interpreter", "", cni.CodeInternal, `execute FILE: no such file or directory; the file is missing, or the interpreter that its first line names`},
		{"not executable", "", cni.CodeInternal, `execute FILE: permission denied; make it executable: chmod +x FILE`},
		{"no program", "", cni.CodeInternal, `execute FILE: exec format error; it is no program for this machine`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := script(t, t.TempDir(), "bad", tt.body)
			switch tt.name {
			case "no such interpreter":
				overwrite(t, file, "#!/no/such/interpreter\n", 0o755)
			case "not executable":
				overwrite(t, file, "", 0o644)
			case "no program":
				overwrite(t, file, "echo\n", 0o755)
			}
			r, _ := request(t, "")
			_, err := (&Executable{File: file}).Add(t.Context(), r)
			if err == nil || cni.CodeOf(err) != tt.code || !strings.Contains(err.Error(), strings.ReplaceAll(tt.want, "FILE", file)) {
				t.Errorf("%v, want code %d, %s", err, tt.code, tt.want)
			}
		})
	}
}

func overwrite(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestExecutableClosesStdin: a plugin need not read what it does not want.
func TestExecutableClosesStdin(t *testing.T) {
	file := script(t, t.TempDir(), "deaf", `exec 0<&-; echo '{"ips":[{"address":"10.0.0.2/24"}]}'`)
	r, _ := request(t, `,"long":"`+strings.Repeat("x", 1<<20)+`"`)
	result, err := (&Executable{File: file}).Add(t.Context(), r)
	if diff := cmp.Diff(onePod(), result, sameResult); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// TestExecutableHangs has a plugin and a child of it that do not end by themselves,
// one way on SIGTERM, the other way not even then.
func TestExecutableHangs(t *testing.T) {
	for name, trap := range map[string]string{"ends on SIGTERM": "", "ignores SIGTERM": "trap '' TERM; "} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			child := filepath.Join(dir, "child")
			file := script(t, dir, "slow", trap+`echo waiting >&2; sleep 1000 & echo $! >`+child+`.new; mv `+child+`.new `+child+`; wait`)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			r, _ := request(t, "")
			start := time.Now()
			_, err := (&Executable{File: file}).Add(ctx, r)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), file+": stopped: context deadline exceeded; on stderr: waiting") {
				t.Error(err)
			}
			if took := time.Since(start); took > 3*grace {
				t.Errorf("took %v", took)
			}
			if pid := readPID(t, child); !gone(pid) {
				t.Errorf("child %d lives on", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		})
	}
}

func readPID(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// gone waits a moment for a killed process to be reaped or to become a zombie.
func gone(pid int) bool {
	for range 100 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// TestExecutableLeavesADaemon: who holds stdout open after the plugin ended does
// not hold up the call for long, and is left alone.
func TestExecutableLeavesADaemon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := script(t, dir, "parent", `sleep 1000 & echo $! >`+dir+`/child; echo '{"ips":[{"address":"10.0.0.2/24"}]}'`)
	r, _ := request(t, "")
	result, err := (&Executable{File: file}).Add(t.Context(), r)
	if diff := cmp.Diff(onePod(), result, sameResult); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	pid := readPID(t, dir+"/child")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the daemon is gone: %v", err)
	}
}

// TestExecutableIsBusy holds the plugin's file open for writing, as an installer
// does, and lets go after a while.
func TestExecutableIsBusy(t *testing.T) {
	dir := t.TempDir()
	file := script(t, dir, "busy", `echo '{"ips":[{"address":"10.0.0.2/24"}]}'`)
	installer, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(30*time.Millisecond, func() { installer.Close() })
	r, _ := request(t, "")
	if _, err := (&Executable{File: file}).Add(t.Context(), r); err != nil {
		t.Error(err)
	}
	forever, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer forever.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := (&Executable{File: file}).Add(ctx, r); !errors.Is(err, syscall.ETXTBSY) {
		t.Errorf("%v, want text file busy", err)
	}
}

func TestExecutableTellsTheEndOfStderr(t *testing.T) {
	file := script(t, t.TempDir(), "wordy", `i=0; while [ $i -lt 2000 ]; do echo "line $i" >&2; i=$((i+1)); done; exit 1`)
	var log bytes.Buffer
	r, _ := request(t, "")
	_, err := (&Executable{File: file, Stderr: &log}).Add(t.Context(), r)
	if err == nil || !strings.HasSuffix(err.Error(), "line 1999") || len(err.Error()) > longestTail+500 {
		t.Errorf("%v", err)
	}
	if strings.Count(log.String(), "\n") != 2000 {
		t.Errorf("%d lines passed on", strings.Count(log.String(), "\n"))
	}
}

func TestExecutableOldVersions(t *testing.T) {
	tests := []struct {
		name, body string
		want       []string
	}{
		{"from the time of 0.1.0", `echo '{"cniVersion":"0.1.0","code":100,"msg":"unknown CNI_COMMAND: VERSION"}'; exit 1`, []string{"0.1.0"}},
		{"from the time of 0.2.0", `echo '{"cniVersion":"0.2.0"}'`, []string{"0.1.0", "0.2.0"}},
		{"wants parameters", `[ -n "$CNI_NETNS$CNI_IFNAME$CNI_PATH" ] && echo '{"cniVersion":"0.3.1","supportedVersions":["0.3.1"]}'`, []string{"0.3.1"}},
		{"garbage", `echo no`, nil},
		{"failure", `exit 1`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := script(t, t.TempDir(), "old", tt.body)
			got, err := (&Executable{File: file, Dirs: []string{"/x"}}).Versions(t.Context())
			if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.want != nil) {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
			if err != nil && !strings.Contains(err.Error(), file) {
				t.Errorf("%v does not name the file", err)
			}
		})
	}
}

// TestExecutableTooOld: a plugin that does not speak the network's version is named, with
// those that it speaks; what it refused by the version it did not begin.
func TestExecutableTooOld(t *testing.T) {
	t.Parallel()
	file := script(t, t.TempDir(), "old", `case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}' ;;
ADD) echo '{"cniVersion":"1.0.0","code":'${CNI_ARGS#CODE=}',"msg":"incompatible"}'; exit 1 ;;
*) echo '{"cniVersion":"1.0.0","code":4,"msg":"missing containerID"}'; exit 1 ;;
esac`)
	e := &Executable{File: file}
	for version, want := range map[string]struct{ add, gc string }{
		"1.1.0": {`old does not speak version "1.1.0", but 0.4.0, 1.0.0`, `old does not speak version "1.1.0"`},
		"1.0.0": {"incompatible", "missing containerID"},
	} {
		for _, code := range []cni.Code{cni.CodeIncompatibleVersion, cni.CodeInternal} {
			r, _ := request(t, "")
			r.Config.Version = version
			r.Args = cni.Args{{Key: "CODE", Value: fmt.Sprint(code)}}
			_, err := e.Add(t.Context(), r)
			explained := code == cni.CodeIncompatibleVersion && version == "1.1.0"
			if cni.IsUntouched(err) != explained || strings.Contains(err.Error(), "does not speak") != explained {
				t.Errorf("ADD with %s, code %d: %v", version, code, err)
			}
			if explained && !strings.Contains(err.Error(), want.add) {
				t.Errorf("ADD: %v, want %q", err, want.add)
			}
			for verb, err := range map[string]error{"GC": e.GC(t.Context(), r), "STATUS": e.Status(t.Context(), r)} {
				if err == nil || !strings.Contains(err.Error(), want.gc) {
					t.Errorf("%s with %s: %v, want %q", verb, version, err, want.gc)
				}
			}
		}
	}
}
