package wrap

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/netns/netnstest"
)

// A tape is a delegate that keeps what it was asked.
type tape struct {
	calls []string
	last  *cni.Request
	err   error
}

func (p *tape) note(verb string, r *cni.Request) error {
	p.calls, p.last = append(p.calls, verb), r
	return p.err
}

func (p *tape) Add(_ context.Context, r *cni.Request) (*cni.Result, error) {
	return podResult("10.0.0.2/24"), p.note("ADD", r)
}
func (p *tape) Check(_ context.Context, r *cni.Request) error  { return p.note("CHECK", r) }
func (p *tape) Del(_ context.Context, r *cni.Request) error    { return p.note("DEL", r) }
func (p *tape) GC(_ context.Context, r *cni.Request) error     { return p.note("GC", r) }
func (p *tape) Status(_ context.Context, r *cni.Request) error { return p.note("STATUS", r) }

func podResult(address string) *cni.Result {
	return &cni.Result{IPs: []cni.IP{{Address: netip.MustParsePrefix(address)}}}
}

var sameResult = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

// A world is a folder with commands in it, and a delegate "tape".
type world struct {
	*testing.T
	dir  string
	tape *tape
}

func newWorld(t *testing.T) *world { return &world{t, t.TempDir(), &tape{}} }

// request fills $DIR in the configuration.
func (w *world) request(config string) *cni.Request {
	w.Helper()
	config = strings.ReplaceAll(config, "$DIR", w.dir)
	if !json.Valid([]byte(config)) {
		w.Fatalf("not JSON: %s", config)
	}
	return &cni.Request{
		Attachment: cni.Attachment{Network: "net", ContainerID: "pod", IfName: "eth0"},
		NetNS:      "/no/such/ns",
		Args:       cni.Args{{Key: "K", Value: "V"}},
		Prev:       podResult("10.9.0.2/24"),
		Config:     cni.Config{Name: "net", Version: "1.1.0", Type: "wrap", JSON: json.RawMessage(config)},
		Plugins:    wire.Path{Dirs: []string{"/x", w.dir}, Builtins: cni.Registry{"tape": w.tape, "wrap": New()}},
	}
}

// command writes a script that appends to the file log.
func (w *world) command(name, body string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte("#!/bin/sh\nexec 3>>"+w.dir+"/log\n"+body), 0o755); err != nil {
		w.Fatal(err)
	}
}

func (w *world) log() string {
	w.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		w.Fatal(err)
	}
	return string(data)
}

// TestForward has the delegate see each verb as the runtime meant it.
func TestForward(t *testing.T) {
	w := newWorld(t)
	r := w.request(`{"type":"wrap","name":"net","cniVersion":"1.1.0",
		"runtimeConfig":{"mac":"02:00:00:00:00:01","ips":["10.0.0.9/24"]},
		"args":{"cni":{"mac":"02:00:00:00:00:02"}},"cni.dev/future":{"a":1},"other":1,
		"delegate":{"type":"tape","n":12345678901234567890,"name":"no","drop":1,"in":{"a":1,"b":2},"args":{"cni":{"ips":[]},"mac":0},"capabilities":{"mac":true}},
		"patchConfig":{"drop":null,"in":{"b":3,"c":null},"new":[null]}}`)
	r.Valid = []cni.Attachment{}
	result, err := New().Add(t.Context(), r)
	if diff := cmp.Diff(podResult("10.0.0.2/24"), result, sameResult); diff != "" || err != nil {
		t.Fatalf("%v (-want +got)\n%s", err, diff)
	}
	for _, call := range []func(context.Context, *cni.Request) error{New().Check, New().Del, New().GC, New().Status} {
		if err := call(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"ADD", "CHECK", "DEL", "GC", "STATUS"}, w.tape.calls); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want := *r
	want.Config.Type = "tape"
	want.Config.JSON = json.RawMessage(`{"type":"tape","n":12345678901234567890,"name":"net","in":{"a":1,"b":3},` +
		`"args":{"cni":{"ips":[],"mac":"02:00:00:00:00:02"},"mac":0},"new":[null],"cni.dev/future":{"a":1},` +
		`"runtimeConfig":{"mac":"02:00:00:00:00:01"},"cniVersion":"1.1.0"}`)
	if diff := cmp.Diff(&want, w.tape.last, sameResult, cmpopts.IgnoreFields(cni.Request{}, "Plugins")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(string(want.Config.JSON), string(w.tape.last.Config.JSON)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestAsIPAM calls wrap as an interface plugin does, and as an executed one does.
func TestAsIPAM(t *testing.T) {
	for _, configType := range []string{"wrap", "bridge"} {
		w := newWorld(t)
		r := w.request(`{"name":"net","type":"bridge","mtu":1400,"runtimeConfig":{"ips":[]},
			"ipam":{"type":"wrap","delegate":{"type":"wrap","delegate":{"type":"tape","x":1}},"patchResult":{"dns":{"domain":"d"}}}}`)
		r.Config.Type = configType
		result, err := New().Add(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if result.DNS.Domain != "d" || len(result.IPs) != 1 {
			t.Errorf("%+v", result)
		}
		want := `{"name":"net","type":"bridge","mtu":1400,"runtimeConfig":{"ips":[]},"ipam":{"type":"tape","x":1}}`
		if diff := cmp.Diff(want, string(w.tape.last.Config.JSON)); diff != "" || w.tape.last.Config.Type != "tape" {
			t.Errorf("type %q (-want +got)\n%s", w.tape.last.Config.Type, diff)
		}
	}
}

// TestCommands has commands write down when they run and what they see.
func TestCommands(t *testing.T) {
	w := newWorld(t)
	w.command("say", `echo "$1 $CNI_COMMAND" >&3`)
	w.command("show", `echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS $CNI_PATH" >&3; cat >&3; echo >&3; echo ignored`)
	r := w.request(`{"type":"wrap","delegate":{"type":"tape","x":1},
		"before":[["$DIR/say","a"],{"run":["$DIR/say","b"],"on":["ADD","CHECK","DEL","GC","STATUS"]}],
		"after":[{"run":["$DIR/show"]},{"run":["$DIR/say","c"],"on":["DEL"]}],
		"patchResult":{"ips":[{"address":"10.0.0.3/24"}]}}`)
	result, err := New().Add(t.Context(), r)
	if diff := cmp.Diff(podResult("10.0.0.3/24"), result, sameResult); diff != "" || err != nil {
		t.Fatalf("%v (-want +got)\n%s", err, diff)
	}
	for _, call := range []func(context.Context, *cni.Request) error{New().Check, New().Del, New().GC, New().Status} {
		if err := call(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	want := `a ADD
b ADD
ADD pod /no/such/ns eth0 K=V /x:` + w.dir + `
{"type":"tape","x":1,"name":"net","cniVersion":"1.1.0","prevResult":{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.3/24"}]}}
b CHECK
b DEL
c DEL
b GC
b STATUS
`
	if diff := cmp.Diff(want, w.log()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestFailures calls ADD as every caller does, by cni.Add.
func TestFailures(t *testing.T) {
	tests := []struct {
		name, keys string
		fail       error // of the delegate
		calls      []string
		log        string
		code       cni.Code
		want       string
	}{
		{"before", `"before":[["$DIR/bad"],["$DIR/say"]]`, nil, []string{"DEL"}, "DEL\n", cni.CodeInternal, "bad: exit status 3, with nothing on stdout; on stderr: no way"},
		{"after", `"after":[["$DIR/say"],["$DIR/bad"]]`, nil, []string{"ADD", "DEL"}, "ADD\nDEL\n", cni.CodeInternal, "no way"},
		{"after, with an error object", `"after":[["$DIR/object"]]`, nil, []string{"ADD", "DEL"}, "DEL\n", cni.CodeTryAgain, "later"},
		{"after, with a code that is not its own", `"after":[["$DIR/exists"]]`, nil, []string{"ADD", "DEL"}, "DEL\n", cni.CodeInternal, "there"},
		{"after, too long", `"after":[["/bin/sleep","1000"]],"timeout":"50ms"`, nil, []string{"ADD", "DEL"}, "DEL\n", cni.CodeInternal, "/bin/sleep: stopped: longer than its timeout of 50ms"},
		{"no such program", `"after":[["/no/such/program"]]`, nil, []string{"ADD", "DEL"}, "DEL\n", cni.CodeInternal, "execute /no/such/program: no such file"},
		{"in a pod that is not there", `"after":[{"run":["$DIR/say"],"netns":true}]`, nil, []string{"ADD", "DEL"}, "DEL\n", cni.CodeInvalidNetNS, "/no/such/ns"},
		{"patch of the result", `"patchResult":{"ips":[{"address":"x"}]}`, nil, []string{"ADD", "DEL"}, "DEL\n", cni.CodeInvalidConfig, "wrap: patchResult: result:"},
		{"the delegate refuses", `"after":[["$DIR/say"]]`, cni.Errorf(cni.CodeExists, "there"), []string{"ADD"}, "", cni.CodeExists, "there"},
		// The delegate fails in its DEL too.
		{"the delegate", `"after":[["$DIR/say"]]`, cni.Errorf(cni.CodeTryAgain, "busy"), []string{"ADD", "DEL", "DEL"}, "DEL\n", cni.CodeTryAgain, "busy"},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			w := newWorld(t)
			w.tape.err = tt.fail
			w.command("say", `echo "$CNI_COMMAND" >&3`)
			w.command("bad", `echo no way >&2; exit 3`)
			w.command("object", `echo '{"code":11,"msg":"later"}'; exit 1`)
			w.command("exists", `echo '`+string(wire.EncodeError(cni.Errorf(cni.CodeExists, "there"), ""))+`'; exit 1`)
			// A command for DEL shows that the roll-back has come.
			keys := strings.Replace(tt.keys, `"after":[`, `"after":[{"run":["$DIR/say"],"on":["DEL"]},`, 1)
			if !strings.Contains(keys, `"after"`) {
				keys += `,"after":[{"run":["$DIR/say"],"on":["DEL"]}]`
			}
			_, err := cni.Add(t.Context(), New(), w.request(`{"type":"wrap","delegate":{"type":"tape"},`+keys+`}`))
			if err == nil || cni.CodeOf(err) != tt.code || !strings.Contains(strings.ReplaceAll(err.Error(), "\n", "; "), tt.want) {
				t.Errorf("%v, want code %d, %q", err, tt.code, tt.want)
			}
			if diff := cmp.Diff(tt.calls, w.tape.calls); diff != "" {
				t.Errorf("calls (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tt.log, w.log()); diff != "" {
				t.Errorf("log (-want +got)\n%s", diff)
			}
		})
	}
}

func TestCleaningGoesOn(t *testing.T) {
	w := newWorld(t)
	w.tape.err = errors.New("stuck")
	w.command("say", `echo "$1 $CNI_COMMAND" >&3`)
	w.command("bad", `echo '{"code":5,"msg":"bad '$1'"}'; exit 1`)
	r := w.request(`{"type":"wrap","delegate":{"type":"tape"},
		"before":[{"run":["$DIR/bad","1"],"on":["DEL","GC","CHECK"]},{"run":["$DIR/say","2"],"on":["DEL","GC","CHECK"]}],
		"after":[{"run":["$DIR/bad","3"],"on":["DEL","GC"]},{"run":["$DIR/say","4"],"on":["DEL","GC"]},{"run":["$DIR/bad","5"],"on":["DEL"],"netns":true}]}`)
	for verb, call := range map[string]func(context.Context, *cni.Request) error{"DEL": New().Del, "GC": New().GC} {
		if err := call(t.Context(), r); err == nil || err.Error() != "bad 1\nstuck\nbad 3" {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if err := New().Check(t.Context(), r); err == nil || err.Error() != "bad 1" {
		t.Errorf("CHECK: %v", err)
	}
	for _, line := range []string{"2 DEL\n4 DEL\n", "2 GC\n4 GC\n"} {
		if !strings.Contains(w.log(), line) {
			t.Errorf("%q is not in %q", line, w.log())
		}
	}
	if strings.Contains(w.log(), "CHECK") {
		t.Error("CHECK went on")
	}
}

// TestInPod has one command run in the pod's namespace and one on the host.
func TestInPod(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "pod")
		w := newWorld(t)
		w.command("where", `readlink /proc/self/ns/net >&3`)
		r := w.request(`{"type":"wrap","delegate":{"type":"tape"},"after":[{"run":["$DIR/where"],"netns":true},["$DIR/where"]]}`)
		r.NetNS = pod.Path
		if _, err := New().Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		host, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		var inside string
		if err := pod.NS.Do(func() (err error) { inside, err = os.Readlink("/proc/thread-self/ns/net"); return err }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(inside+"\n"+host+"\n", w.log()); diff != "" || inside == host {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestRefuses(t *testing.T) {
	tests := []struct {
		name, keys string
		code       cni.Code
		want       string
	}{
		{"no delegate", `"x":1`, cni.CodeInvalidConfig, `wrap: network "net": missing key "delegate"`},
		{"delegate of the wrong type", `"delegate":["bridge"]`, cni.CodeInvalidConfig, "delegate: not a JSON object"},
		{"delegate without type", `"delegate":{"bridge":"x"}`, cni.CodeInvalidConfig, `delegate: missing key "type"`},
		{"type patched away", `"delegate":{"type":"tape"},"patchConfig":{"type":null}`, cni.CodeInvalidConfig, `delegate: missing key "type"`},
		{"unknown delegate", `"delegate":{"type":"none"}`, cni.CodeInvalidConfig, `wrap: delegate: plugin "none"`},
		{"delegate with a path", `"delegate":{"type":"../tape"}`, cni.CodeInvalidConfig, `"../tape"`},
		{"patch", `"delegate":{"type":"tape"},"patchConfig":[]`, cni.CodeInvalidConfig, "patchConfig: not a JSON object"},
		{"patch null", `"delegate":{"type":"tape"},"patchResult":null`, cni.CodeInvalidConfig, "patchResult: not a JSON object"},
		{"timeout", `"delegate":{"type":"tape"},"timeout":"10"`, cni.CodeInvalidConfig, `timeout "10": must be a positive duration`},
		{"no time", `"delegate":{"type":"tape"},"timeout":"0s"`, cni.CodeInvalidConfig, `timeout "0s"`},
		{"empty command", `"delegate":{"type":"tape"},"after":[["/a"],[]]`, cni.CodeInvalidConfig, "after[1]: run: no command"},
		{"relative command", `"delegate":{"type":"tape"},"before":[["sh"]]`, cni.CodeInvalidConfig, `before[0]: run: "sh": must be an absolute path`},
		{"verb", `"delegate":{"type":"tape"},"after":[{"run":["/a"],"on":["add"]}]`, cni.CodeInvalidConfig, `on: "add" is none of`},
		{"netns without a pod", `"delegate":{"type":"tape"},"after":[{"run":["/a"],"on":["GC"],"netns":true}]`, cni.CodeInvalidConfig, "netns: GC is about no pod"},
		{"misspelt key", `"delegate":{"type":"tape"},"after":[{"run":["/a"],"onn":["DEL"]}]`, cni.CodeDecoding, `unknown field "onn"`},
		{"command of the wrong type", `"delegate":{"type":"tape"},"after":["/a"]`, cni.CodeDecoding, "after"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.request(`{"type":"wrap",` + tt.keys + `}`)
			_, err := New().Add(t.Context(), r)
			for _, err := range []error{err, New().Del(t.Context(), r)} {
				if err == nil || cni.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want code %d, %q", err, tt.code, tt.want)
				}
			}
			if len(w.tape.calls) > 0 {
				t.Errorf("the delegate was called: %v", w.tape.calls)
			}
		})
	}
}

// TestServed goes through the protocol: wrap executed, around a script.
func TestServed(t *testing.T) {
	w := newWorld(t)
	w.command("plug", `cat >&3; echo >&3; echo '{"code":50,"msg":"closed"}'; exit 1`)
	var out strings.Builder
	exit := wire.Serve(t.Context(), New(), wire.Call{
		Env:   []string{"CNI_COMMAND=STATUS", "CNI_PATH=" + w.dir},
		Stdin: strings.NewReader(`{"cniVersion":"1.1.0","name":"net","type":"wrap","delegate":{"type":"plug"}}`), Stdout: &out, Stderr: io.Discard,
		Plugins: func(dirs []string) cni.Finder { return wire.Path{Dirs: dirs} },
	})
	err := wire.DecodeError([]byte(out.String()), nil, io.EOF)
	if exit != 1 || cni.CodeOf(err) != cni.CodeNotAvailable || err.Error() != "closed" {
		t.Errorf("exit %d, %v", exit, err)
	}
	if diff := cmp.Diff(`{"type":"plug","name":"net","cniVersion":"1.1.0"}`+"\n", w.log()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestStoppedWithItsCaller: a command does not outlive the call.
func TestStoppedWithItsCaller(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := New().Add(ctx, w.request(`{"type":"wrap","delegate":{"type":"tape"},"before":[["/bin/sleep","1000"]]}`))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}
