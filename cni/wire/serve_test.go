package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
)

// A tape is a plugin that keeps what it was asked and answers as it is told.
type tape struct {
	calls  []string
	last   *cni.Request
	result *cni.Result
	add    func(ctx context.Context) error
	err    error // of all but Add
	dead   bool  // the context of the last call had ended
}

func (p *tape) note(ctx context.Context, verb string, r *cni.Request) {
	p.calls, p.last, p.dead = append(p.calls, verb), r, ctx.Err() != nil
}

func (p *tape) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	p.note(ctx, "ADD", r)
	if p.add != nil {
		return p.result, p.add(ctx)
	}
	return p.result, nil
}
func (p *tape) Check(ctx context.Context, r *cni.Request) error {
	p.note(ctx, "CHECK", r)
	return p.err
}
func (p *tape) Del(ctx context.Context, r *cni.Request) error { p.note(ctx, "DEL", r); return p.err }
func (p *tape) GC(ctx context.Context, r *cni.Request) error  { p.note(ctx, "GC", r); return p.err }
func (p *tape) Status(ctx context.Context, r *cni.Request) error {
	p.note(ctx, "STATUS", r)
	return p.err
}

func onePod() *cni.Result {
	return &cni.Result{IPs: []cni.IP{{Address: netip.MustParsePrefix("10.0.0.2/24")}}}
}

// call runs Serve with the environment "COMMAND KEY=VALUE …", where what is not
// given has a good value and "KEY=" is unset.
func call(t *testing.T, p cni.Plugin, env, stdin string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	exit = Serve(context.Background(), p, Call{
		Env: environment(env), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &log,
		Plugins: func(dirs []string) cni.Finder { return Path{Dirs: dirs} }, About: "CNI plugin tape",
	})
	return exit, out.String(), log.String()
}

func environment(s string) []string {
	fields := strings.Fields(s)
	return append([]string{"CNI_COMMAND=" + fields[0], "HOME=/", "CNI_CONTAINERID=pod", "CNI_NETNS=/no/such/ns",
		"CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin:/x", "CNI_ARGS=IgnoreUnknown=1;K=V"}, fields[1:]...)
}

func TestServeValidates(t *testing.T) {
	const good = `{"cniVersion":"1.1.0","name":"net","type":"tape"}`
	tests := []struct {
		name, env, stdin string
		code             cni.Code
		version          string // of the error object
		want             string // in the message or details
	}{
		// The order of the specification's section 1.3 in the digest.
		{"all that is missing", "ADD CNI_CONTAINERID= CNI_NETNS= CNI_IFNAME= CNI_PATH=", good, 4, "1.1.0", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"},
		{"missing before stdin", "CHECK CNI_NETNS=", "x", 4, "1.1.0", "CNI_NETNS"},
		{"DEL needs no namespace", "DEL CNI_NETNS= CNI_PATH=", good, 4, "1.1.0", "environment of DEL: CNI_PATH"},
		{"GC needs the path", "GC CNI_CONTAINERID=/ CNI_PATH=", good, 4, "1.1.0", "environment of GC: CNI_PATH"},
		{"STATUS needs the path", "STATUS CNI_PATH=", good, 4, "1.1.0", "CNI_PATH"},
		{"bad before missing", "ADD CNI_CONTAINERID=../x CNI_NETNS=", good, 4, "1.1.0", `container ID "../x"`},
		{"bad interface", "DEL CNI_IFNAME=a/b", good, 4, "1.1.0", `"a/b"`},
		{"bad args", "ADD CNI_ARGS=a", good, 4, "1.1.0", `CNI_ARGS: "a"`},
		{"stdin empty", "ADD", "", 6, "1.1.0", "empty"},
		{"stdin null", "ADD", "null", 6, "1.1.0", "not a JSON object"},
		{"stdin broken", "ADD", "{\n", 6, "1.1.0", "line 2, column 1: unexpected end"},
		{"stdin two values", "ADD", good + good, 6, "1.1.0", "after top-level value"},
		{"name missing", "ADD", `{"cniVersion":"0.4.0"}`, 7, "0.4.0", "missing network name"},
		{"name bad", "ADD", `{"cniVersion":"0.4.0","name":"../a"}`, 7, "0.4.0", `"../a"`},
		{"name no string", "ADD", `{"cniVersion":"0.4.0","name":7}`, 6, "0.4.0", `key "name": 7 where a string is wanted`},
		{"name before version", "ADD", `{"cniVersion":4}`, 7, "1.1.0", "missing network name"},
		{"version no string", "ADD", `{"cniVersion":4,"name":"net"}`, 6, "1.1.0", `key "cniVersion": 4`},
		{"CHECK too old", "CHECK", `{"cniVersion":"0.3.1","name":"net"}`, 1, "0.3.1", "CHECK is not allowed by CNI version \"0.3.1\""},
		{"GC too old", "GC", `{"cniVersion":"1.0.0","name":"net"}`, 1, "1.0.0", "GC is not allowed"},
		{"STATUS without version", "STATUS", `{"name":"net"}`, 1, "0.1.0", "STATUS is not allowed"},
		{"CHECK unreadable version", "CHECK", `{"cniVersion":"new","name":"net"}`, 6, "new", `"new"`},
		{"ADD unreadable version", "ADD", `{"cniVersion":"new","name":"net"}`, 1, "new", `"new"`},
		{"unknown version", "ADD", `{"cniVersion":"1.2.0","name":"net"}`, 1, "1.2.0", `asked for "1.2.0", supported are 0.1.0, 0.2.0`},
		{"unknown version, CHECK", "CHECK", `{"cniVersion":"1.2.0","name":"net"}`, 1, "1.2.0", `"1.2.0"`},
		{"type no string", "ADD", `{"name":"net","type":[]}`, 6, "0.1.0", `key "type"`},
		{"prevResult broken", "ADD", `{"cniVersion":"1.0.0","name":"net","prevResult":{"ips":1}}`, 6, "1.0.0", "prevResult: result: key"},
		{"prevResult of no known version", "CHECK", `{"cniVersion":"1.0.0","name":"net","prevResult":{"cniVersion":"3.0.0"}}`, 1, "1.0.0", "prevResult"},
		{"valid attachments broken", "GC", `{"cniVersion":"1.1.0","name":"net","cni.dev/attachments":{}}`, 6, "1.1.0", `"cni.dev/attachments"`},
		{"unknown command last", "add", good, 4, "1.1.0", "unknown CNI_COMMAND: add"},
		{"unknown command after name", "ADD2", `{}`, 7, "0.1.0", "missing network name"},
		{"own namespace, ADD", "ADD CNI_NETNS=/proc/self/ns/net", good, 8, "1.1.0", "/proc/self/ns/net: is the namespace that the plugin itself runs in"},
		{"own namespace, DEL", "DEL CNI_NETNS=/proc/self/ns/net CNI_NETNS_OVERRIDE=no", good, 8, "1.1.0", "/proc/self/ns/net"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &tape{}
			exit, stdout, _ := call(t, p, tt.env, tt.stdin)
			var got struct {
				CNIVersion   string
				Code         cni.Code
				Msg, Details string
			}
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatalf("stdout is not one JSON value: %v\n%s", err, stdout)
			}
			if exit != 1 || got.Code != tt.code || got.CNIVersion != tt.version || !strings.Contains(got.Msg+"; "+got.Details, tt.want) {
				t.Errorf("exit %d, %+v\nwant code %d, version %s, %q", exit, got, tt.code, tt.version, tt.want)
			}
			if len(p.calls) > 0 {
				t.Errorf("the plugin was called: %v", p.calls)
			}
		})
	}
}

func TestServeCalls(t *testing.T) {
	const config = `{"cniVersion":"1.1.0","name":"net","type":"tape","n":12345678901234567890}`
	pod := cni.Attachment{Network: "net", ContainerID: "pod", IfName: "eth0"}
	args := cni.Args{{Key: "IgnoreUnknown", Value: "1"}, {Key: "K", Value: "V"}}
	full := cni.Request{Attachment: pod, NetNS: "/no/such/ns", Args: args}
	with := func(r cni.Request, change func(*cni.Request)) cni.Request { change(&r); return r }
	network := cni.Request{Attachment: cni.Attachment{Network: "net"}}
	tests := []struct {
		name, env, stdin string
		want             cni.Request
		json             string // of the configuration, if not config
	}{
		{name: "ADD", env: "ADD", stdin: config, want: full},
		{name: "prevResult of its own version", env: "CHECK", stdin: strings.Replace(config, `}`, `,"prevResult":{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}}`, 1),
			want: with(full, func(r *cni.Request) { r.Prev = onePod() })},
		{name: "prevResult of the config's version", env: "ADD", stdin: strings.Replace(config, `}`, `,"prevResult":{"ips":[{"address":"10.0.0.2/24"}]}}`, 1),
			want: with(full, func(r *cni.Request) { r.Prev = onePod() })},
		{name: "prevResult null", env: "ADD", stdin: strings.Replace(config, `}`, `,"prevResult":null}`, 1), want: full},
		{name: "DEL without anything", env: "DEL CNI_NETNS= CNI_ARGS=", stdin: config, want: cni.Request{Attachment: pod}},
		{name: "DEL with what it cannot read", env: "DEL CNI_ARGS=x", stdin: strings.Replace(config, `}`, `,"prevResult":{"ips":0}}`, 1),
			want: cni.Request{Attachment: pod, NetNS: "/no/such/ns"}},
		{name: "GC not told", env: "GC", stdin: config, want: network},
		{name: "GC null", env: "GC", stdin: strings.Replace(config, `}`, `,"cni.dev/valid-attachments":null}`, 1), want: network},
		{name: "GC nothing valid", env: "GC", stdin: strings.Replace(config, `}`, `,"cni.dev/valid-attachments":[]}`, 1),
			want: with(network, func(r *cni.Request) { r.Valid = []cni.Attachment{} })},
		{name: "GC by the old key", env: "GC", stdin: strings.Replace(config, `}`, `,"cni.dev/attachments":[{"containerID":"pod","ifname":"eth0"}]}`, 1),
			want: with(network, func(r *cni.Request) { r.Valid = []cni.Attachment{pod} })},
		{name: "STATUS", env: "STATUS CNI_CONTAINERID= CNI_IFNAME=/", stdin: config, want: network},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &tape{result: onePod()}
			exit, stdout, _ := call(t, p, tt.env, tt.stdin)
			verb, _, _ := strings.Cut(tt.env, " ")
			if diff := cmp.Diff([]string{verb}, p.calls); diff != "" || exit != 0 {
				t.Fatalf("exit %d, %s, calls (-want +got)\n%s", exit, stdout, diff)
			}
			if verb != "ADD" && stdout != "" {
				t.Errorf("%s printed %s", verb, stdout)
			}
			tt.want.Config = cni.Config{Name: "net", Version: "1.1.0", Type: "tape", JSON: json.RawMessage(config)}
			tt.want.Plugins = Path{Dirs: []string{"/opt/cni/bin", "/x"}}
			if diff := cmp.Diff(&tt.want, p.last, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestServeResultHasTheRequestsVersion(t *testing.T) {
	for version, want := range map[string]string{
		`"cniVersion":"1.0.0",`: "{\n    \"cniVersion\": \"1.0.0\",\n    \"ips\": [\n        {\n            \"address\": \"10.0.0.2/24\"\n        }\n    ]\n}\n",
		`"cniVersion":"0.3.0",`: "{\n    \"cniVersion\": \"0.3.0\",\n    \"ips\": [\n        {\n            \"version\": \"4\",\n            \"address\": \"10.0.0.2/24\"\n        }\n    ]\n}\n",
		``:                      "{\n    \"cniVersion\": \"0.1.0\",\n    \"ip4\": {\n        \"ip\": \"10.0.0.2/24\"\n    }\n}\n",
	} {
		exit, stdout, _ := call(t, &tape{result: onePod()}, "ADD", `{`+version+`"name":"net"}`)
		if diff := cmp.Diff(want, stdout); diff != "" || exit != 0 {
			t.Errorf("%s: exit %d (-want +got)\n%s", version, exit, diff)
		}
	}
}

func TestServeRollsBack(t *testing.T) {
	refused := cni.Errorf(cni.CodeExists, "there already")
	tests := []struct {
		name   string
		plugin *tape
		config string
		calls  []string
		code   cni.Code
		want   string
	}{
		{"failure", &tape{add: func(context.Context) error { return io.EOF }}, "", []string{"ADD", "DEL"}, cni.CodeInternal, "EOF"},
		{"an error object", &tape{add: func(context.Context) error { return cni.Errorf(11, "later") }}, "", []string{"ADD", "DEL"}, 11, "later"},
		{"refusal", &tape{add: func(context.Context) error { return refused }}, "", []string{"ADD"}, cni.CodeExists, "there already"},
		{"panic", &tape{add: func(context.Context) error { panic("at the disco") }}, "", []string{"ADD", "DEL"}, cni.CodeInternal, "at the disco"},
		{"no form for the result", &tape{result: &cni.Result{}}, `"cniVersion":"0.2.0",`, []string{"ADD", "DEL"}, cni.CodeInternal, "without an address"},
		{"roll-back fails too", &tape{add: func(context.Context) error { return io.EOF }, err: errors.New("stuck")}, "", []string{"ADD", "DEL"}, cni.CodeInternal, "EOF; roll back: stuck"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			exit, stdout, stderr := call(t, tt.plugin, "ADD", `{`+tt.config+`"name":"net"}`)
			if diff := cmp.Diff(tt.calls, tt.plugin.calls); diff != "" || exit != 1 {
				t.Errorf("exit %d, calls (-want +got)\n%s", exit, diff)
			}
			err := DecodeError([]byte(stdout), nil, io.EOF)
			if cni.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want code %d, %q", err, tt.code, tt.want)
			}
			if traced := strings.Contains(stderr, "goroutine"); traced != (tt.name == "panic") || strings.Contains(stdout, "goroutine") {
				t.Errorf("trace on stderr: %v\n%s\n%s", traced, stderr, stdout)
			}
		})
	}
}

func TestServePanicElsewhere(t *testing.T) {
	for _, verb := range []string{"CHECK", "DEL", "GC", "STATUS"} {
		exit, stdout, _ := call(t, panicking{}, verb, `{"cniVersion":"1.1.0","name":"net"}`)
		if err := DecodeError([]byte(stdout), nil, io.EOF); exit != 1 || !strings.Contains(err.Error(), "panic in the plugin: runtime error: invalid memory address") {
			t.Errorf("%s: exit %d, %v", verb, exit, err)
		}
	}
}

// Every call of it goes through a nil interface.
type panicking struct{ cni.Plugin }

func TestServeRollsBackAtTheEndOfItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := &tape{add: func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}}
	var out bytes.Buffer
	exit := Serve(ctx, p, Call{
		Env: environment("ADD"), Stdin: strings.NewReader(`{"name":"net"}`), Stdout: &out, Stderr: io.Discard,
		Plugins: func([]string) cni.Finder { return Path{} },
	})
	if diff := cmp.Diff([]string{"ADD", "DEL"}, p.calls); diff != "" || exit != 1 || p.dead {
		t.Errorf("exit %d, roll-back with a dead context: %v, calls (-want +got)\n%s", exit, p.dead, diff)
	}
}

// TestServeRollsBackWhenNobodyListens has a caller that closed its end of stdout.
func TestServeRollsBackWhenNobodyListens(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	p := &tape{result: onePod()}
	var log bytes.Buffer
	exit := Serve(t.Context(), p, Call{
		Env: environment("ADD"), Stdin: strings.NewReader(`{"name":"net"}`), Stdout: w, Stderr: &log,
		Plugins: func([]string) cni.Finder { return Path{} },
	})
	if diff := cmp.Diff([]string{"ADD", "DEL"}, p.calls); diff != "" || exit != 1 || !strings.Contains(log.String(), "broken pipe") {
		t.Errorf("exit %d, stderr %s, calls (-want +got)\n%s", exit, log.String(), diff)
	}
}

func TestServeStdinFails(t *testing.T) {
	var out bytes.Buffer
	exit := Serve(t.Context(), &tape{}, Call{Env: environment("ADD"), Stdin: failing{}, Stdout: &out, Stderr: io.Discard})
	if err := DecodeError(out.Bytes(), nil, io.EOF); exit != 1 || cni.CodeOf(err) != cni.CodeIO {
		t.Errorf("exit %d, %v", exit, err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestServeWithoutCommand(t *testing.T) {
	exit, stdout, stderr := call(t, &tape{}, "x CNI_COMMAND=", "")
	want := "CNI plugin tape\nCNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
	if diff := cmp.Diff(want, stderr); diff != "" || exit != 0 || stdout != "" {
		t.Errorf("exit %d, stdout %q, stderr (-want +got)\n%s", exit, stdout, diff)
	}
}

func TestServeVersion(t *testing.T) {
	var out bytes.Buffer
	c := Call{Env: []string{"CNI_COMMAND=VERSION"}, Stdin: strings.NewReader(`{"cniVersion":"0.3.1"}`), Stdout: &out}
	if exit := Serve(t.Context(), &tape{}, c); exit != 0 || !strings.HasPrefix(out.String(), `{"cniVersion":"0.3.1","supp`) {
		t.Errorf("exit %d, %s", exit, out.String())
	}
	out.Reset()
	c.Stdin = failing{}
	if exit := Serve(t.Context(), &tape{}, c); exit != 0 || !strings.HasPrefix(out.String(), `{"cniVersion":"1.1.0","supp`) {
		t.Errorf("without stdin: exit %d, %s", exit, out.String())
	}
}

// TestServeVersionAtATerminal: nobody is made to type an input.
func TestServeVersionAtATerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("needs a terminal: %v", err)
	}
	done := make(chan int, 1)
	var out bytes.Buffer
	go func() {
		done <- Serve(t.Context(), &tape{}, Call{Env: []string{"CNI_COMMAND=VERSION"}, Stdin: terminal, Stdout: &out})
	}()
	select {
	case exit := <-done:
		if exit != 0 || !strings.Contains(out.String(), "supportedVersions") {
			t.Errorf("exit %d, %s", exit, out.String())
		}
	case <-time.After(10 * time.Second):
		t.Error("waits for input")
	}
	terminal.Close()
}

// TestServeNamespaces needs namespaces that are not the plugin's own.
func TestServeNamespaces(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		// The first thread may be left in the pod's namespace, so "self" would not do.
		pod := netnstest.NewPod(t, "pod").Path
		for _, env := range []string{
			"ADD CNI_NETNS=" + pod,
			"DEL CNI_NETNS=" + pod,
			"ADD CNI_NETNS=/proc/thread-self/ns/net CNI_NETNS_OVERRIDE=1",
			"DEL CNI_NETNS=/proc/thread-self/ns/net CNI_NETNS_OVERRIDE=True",
			"CHECK CNI_NETNS=/proc/thread-self/ns/net",
		} {
			if exit, stdout, _ := call(t, &tape{}, env, `{"cniVersion":"1.1.0","name":"net"}`); exit != 0 {
				t.Errorf("%s: %s", env, stdout)
			}
		}
	})
}

func FuzzServe(f *testing.F) {
	f.Add("ADD", []byte(`{"cniVersion":"1.0.0","name":"net","prevResult":{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}}`))
	f.Add("GC", []byte(`{"cniVersion":"1.1.0","name":"net","cni.dev/valid-attachments":[{"containerID":"a","ifname":"b"}]}`))
	f.Fuzz(func(t *testing.T, verb string, stdin []byte) {
		var out bytes.Buffer
		p := &tape{result: onePod()}
		exit := Serve(t.Context(), p, Call{
			Env: append(environment("ADD"), "CNI_COMMAND="+verb), Stdin: bytes.NewReader(stdin), Stdout: &out, Stderr: io.Discard,
			Plugins: func(dirs []string) cni.Finder { return Path{Dirs: dirs} },
		})
		if out.Len() > 0 && !json.Valid(out.Bytes()) {
			t.Errorf("stdout: %q", out.Bytes())
		}
		if (exit == 0) != (len(p.calls) > 0 || verb == "VERSION" || verb == "") {
			t.Errorf("exit %d, calls %v, stdout %s", exit, p.calls, out.Bytes())
		}
	})
}

func BenchmarkServe(b *testing.B) {
	env := append(os.Environ(), environment("ADD")...)
	config := `{"cniVersion":"1.0.0","name":"net","type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/16"}]],"routes":[{"dst":"0.0.0.0/0"}]}}`
	b.ReportAllocs()
	for b.Loop() {
		exit := Serve(b.Context(), &tape{result: onePod()}, Call{
			Env: env, Stdin: strings.NewReader(config), Stdout: io.Discard, Stderr: io.Discard,
			Plugins: func(dirs []string) cni.Finder { return Path{Dirs: dirs} },
		})
		if exit != 0 {
			b.Fatal(exit)
		}
	}
}
