package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/netns/netnstest"
)

// asProgram is the variable that makes the test binary the program.
const asProgram = "SEAMD_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// daemon is the program at work.
type daemon struct {
	*testing.T
	cmd   *exec.Cmd
	log   *logbook
	begun time.Time
	ended chan error
}

// logbook is standard error, read while it is written.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs the program in the test's host, with the command and what goes before its
// arguments.
func start(t *testing.T, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{T: t, cmd: cmd, log: &logbook{}, begun: time.Now(), ended: make(chan error, 1)}
	cmd.Env = append(append(os.Environ(), cmd.Env...), asProgram+"=yes", "CNI_PATH=/nowhere")
	cmd.Stdout, cmd.Stderr = d.log, d.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, mostly
		if t.Failed() {
			t.Log(d.log)
		}
	})
	return d
}

func seamd(args ...string) *exec.Cmd { return exec.Command("/proc/self/exe", args...) }

// until repeats a question until it has no error.
func (d *daemon) until(ask func() error) {
	d.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	d.Fatal(err)
}

// stop ends the program by a signal, and wants that to be its normal end.
func (d *daemon) stop() {
	d.Helper()
	if err := d.cmd.Process.Signal(unix.SIGTERM); err != nil {
		d.Fatal(err)
	}
	select {
	case err := <-d.ended:
		if err != nil {
			d.Errorf("ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		d.Error("does not end")
	}
}

// call asks a server on a socket, as an engine does with POST.
func call(socket, method, path, body string) (status int, answer string, err error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) },
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequest(method, "http://x/"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// want asks, and fails unless all of the words are in the answer.
func (d *daemon) want(socket, method, path, body string, words ...string) {
	d.Helper()
	_, answer, err := call(socket, method, path, body)
	if err != nil {
		d.Fatal(err)
	}
	for _, word := range words {
		if !strings.Contains(answer, word) {
			d.Errorf("%s %s: no %q in\n%s", path, body, word, answer)
		}
	}
}

const (
	defaultSocket = "/run/docker/plugins/seam.sock"
	network       = "0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b"
	createNetwork = `{"NetworkID":"` + network + `","Options":{},"IPv4Data":[{"AddressSpace":"x","Pool":"10.88.0.0/24","Gateway":"10.88.0.1/24"}]}`
)

func pluginActivate() error {
	_, answer, err := call(defaultSocket, http.MethodPost, "Plugin.Activate", "")
	if err == nil && !strings.Contains(answer, "NetworkDriver") {
		err = errors.New(answer)
	}
	return err
}

func TestDocker(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		state := t.TempDir()
		args := []string{"docker", "--state-dir", state, "--listen", "unix:/run/watch.sock", "--log-level", "debug", "--log-format", "json"}
		d := start(t, seamd(args...))
		d.until(pluginActivate)
		if took := time.Since(d.begun); took > 3*time.Second {
			t.Errorf("answers after %v, want it within a second, and some for a busy machine", took)
		}
		d.until(func() error {
			status, answer, err := call("/run/watch.sock", http.MethodGet, "healthz", "")
			if err == nil && (status != http.StatusOK || answer != "ok\n") {
				err = fmt.Errorf("%d %s", status, answer)
			}
			return err
		})
		d.want(defaultSocket, http.MethodPost, "NetworkDriver.CreateNetwork", createNetwork, "{}")
		d.want(defaultSocket, http.MethodPost, "NetworkDriver.CreateEndpoint", `{"NetworkID":"unknown","EndpointID":"e"}`, `"Err":"`)
		d.want("/run/watch.sock", http.MethodGet, "metrics", "",
			`seam_docker_calls_total{method="NetworkDriver.CreateNetwork",result="ok"} 1`,
			`seam_docker_calls_total{method="NetworkDriver.CreateEndpoint",result="error"} 1`,
			`seam_docker_call_duration_seconds_bucket{method="NetworkDriver.CreateNetwork",le="0.0001"}`,
			`seam_docker_call_duration_seconds_bucket{method="NetworkDriver.CreateNetwork",le="30"} 1`,
			"seam_docker_networks 1", "seam_docker_endpoints 0", "seam_docker_pending_sandboxes 0", "seam_docker_collected_total 0",
			`seam_build_info{goversion="go`, "go_goroutines", "process_start_time_seconds")
		if !strings.Contains(d.log.String(), `"msg":"serving"`) || !strings.Contains(d.log.String(), `"method":"NetworkDriver.CreateNetwork"`) {
			t.Errorf("log:\n%s", d.log)
		}

		// The socket is taken, and so is the state, by whatever name.
		d.refuses("--name=other", "--state-dir="+state, "state of driver other")
		d.refuses("", "", "another process serves it")
		d.refuses("--name=other", "--listen=unix:/run/watch.sock", "--listen")

		d.stop()
		if _, err := os.Stat(defaultSocket); err == nil {
			t.Error("the socket is left")
		}
		d = start(t, seamd(args...))
		d.until(pluginActivate)
		d.want("/run/watch.sock", http.MethodGet, "metrics", "", "seam_docker_networks 1")
		d.want(defaultSocket, http.MethodPost, "NetworkDriver.DeleteNetwork", `{"NetworkID":"`+network+`"}`, "{}")
		d.want("/run/watch.sock", http.MethodGet, "metrics", "", "seam_docker_networks 0")
		d.stop()
	})
}

// refuses starts another one beside, which is to say why it cannot.
func (d *daemon) refuses(first, second, why string) {
	d.Helper()
	args := []string{"docker"}
	for _, arg := range []string{first, second} {
		if arg != "" {
			args = append(args, arg)
		}
	}
	cmd := seamd(args...)
	cmd.Env = append(os.Environ(), asProgram+"=yes")
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != int(exitFailed) || !strings.Contains(string(out), why) {
		d.Errorf("%q: %v\n%s\nwant exit code 1 and %q", args, err, out, why)
	}
}

// A socket that systemd made is taken, is told when the daemon is ready, and is there
// when it has gone. What came before it started is answered.
func TestActivation(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "/run/activated.sock", Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/run/notify.sock", Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer told.Close()
		early := make(chan error, 1)
		go func() {
			_, answer, err := call("/run/activated.sock", http.MethodPost, "Plugin.Activate", "")
			if err == nil && !strings.Contains(answer, "IpamDriver") {
				err = errors.New(answer)
			}
			early <- err
		}()
		file, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, program, "docker", "--state-dir", t.TempDir(), "--listen", "127.0.0.1:9476")
		cmd.Env = []string{"LISTEN_FDS=1", "NOTIFY_SOCKET=/run/notify.sock"}
		cmd.ExtraFiles = []*os.File{file} // the first of them is 3
		d := start(t, cmd)
		if err := <-early; err != nil {
			t.Error(err)
		}
		for _, want := range []string{ready, stopping} {
			got := make([]byte, 100)
			if err := told.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := told.Read(got)
			if err != nil || string(got[:n]) != want {
				t.Errorf("systemd was told %q, error %v; want %q", got[:n], err, want)
			}
			if want == ready {
				d.healthy("127.0.0.1:9476")
				d.taken("127.0.0.1:9476")
				d.stop()
			}
		}
		if _, err := os.Stat("/run/activated.sock"); err != nil {
			t.Errorf("the socket is systemd's, and gone: %v", err)
		}
	})
}

func (d *daemon) healthy(address string) {
	d.Helper()
	response, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		d.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		d.Errorf("%s: %s", response.Status, text)
	}
}

func (d *daemon) taken(address string) {
	d.Helper()
	d.refuses("--name=other", "--listen="+address, "--listen names another place")
}

// A socket that is removed, as by who cleans /run, is not healthy.
func TestHealthOfLostSocket(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		d := start(t, seamd("docker", "--state-dir", t.TempDir(), "--listen", "unix:/run/watch.sock"))
		d.until(pluginActivate)
		if err := os.Remove(defaultSocket); err != nil {
			t.Fatal(err)
		}
		status, answer, err := call("/run/watch.sock", http.MethodGet, "healthz", "")
		if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(answer, defaultSocket) {
			t.Errorf("%d %s, error %v; want 503 and the socket's name", status, answer, err)
		}
		d.stop()
	})
}

// A call on its way is finished and answered, while no more are taken.
func TestEndInACall(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		bin := t.TempDir()
		slow := "#!/bin/sh\ntouch /run/called\nsleep 0.5\necho '{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"1.0.0\"]}'\n"
		if err := os.WriteFile(filepath.Join(bin, "slow"), []byte(slow), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll("/etc/cni/net.d", 0o755); err != nil {
			t.Fatal(err)
		}
		conflist := `{"cniVersion":"1.0.0","name":"slow","plugins":[{"type":"slow"}]}`
		if err := os.WriteFile("/etc/cni/net.d/slow.conflist", []byte(conflist), 0o600); err != nil {
			t.Fatal(err)
		}
		d := start(t, seamd("docker", "--state-dir", t.TempDir(), "--bin-dir", bin))
		d.until(pluginActivate)
		answered := make(chan string, 1)
		go func() {
			body := strings.Replace(createNetwork, `"Options":{}`, `"Options":{"com.docker.network.generic":{"seam.network":"slow"}}`, 1)
			_, answer, err := call(defaultSocket, http.MethodPost, "NetworkDriver.CreateNetwork", body)
			answered <- fmt.Sprint(strings.TrimSpace(answer), err)
		}()
		d.until(func() error { _, err := os.Stat("/run/called"); return err })
		d.stop()
		if got := <-answered; got != "{}<nil>" {
			t.Errorf("answer and error: %s", got)
		}
	})
}

func TestUsage(t *testing.T) {
	tests := []struct {
		args []string
		exit exitCode
		want string
	}{
		{nil, exitDone, "Available Commands"},
		{[]string{"version"}, exitDone, "seamd  devel"},
		{[]string{"help", "exit-codes"}, exitDone, "every call was answered"},
		{[]string{"completion", "bash"}, exitDone, "complete"},
		{[]string{"__complete", "docker", "--log-level", ""}, exitDone, "debug\ninfo\n"},
		{[]string{"run"}, exitUsage, `no command "run"`},
		{[]string{"docker", "x"}, exitUsage, `no argument is wanted, but there is "x"`},
		{[]string{"docker", "--nope"}, exitUsage, "seamd docker --help lists the flags"},
		{[]string{"docker", "--name", "a/b"}, exitUsage, "--name"},
		{[]string{"docker", "--name", ".."}, exitUsage, "--name"},
		{[]string{"docker", "--socket", "here.sock"}, exitUsage, "--socket \"here.sock\": must be an absolute path"},
		{[]string{"docker", "--timeout", "0s"}, exitUsage, "--timeout"},
		{[]string{"docker", "--engine", "ssh://there"}, exitUsage, "--engine"},
		{[]string{"docker", "--log-level", "loud"}, exitUsage, "--log-level"},
		{[]string{"docker", "--log-format", "xml"}, exitUsage, "--log-format"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var out bytes.Buffer
			c := &cli{out: &out, err: &out, getenv: func(string) string { return "" }, pid: 1}
			if exit := c.execute(t.Context(), tt.args); exit != tt.exit || !strings.Contains(out.String(), tt.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", exit, tt.exit, tt.want, &out)
			}
		})
	}
}

// The folders of a driver go by its name, so that several stand beside one another.
func TestDefaults(t *testing.T) {
	for name, want := range map[string]dockerFlags{
		"seam": {socket: "/run/docker/plugins/seam.sock", stateDir: "/var/lib/seam/docker", runDir: "/run/seam/docker"},
		"blue": {socket: "/run/docker/plugins/blue.sock", stateDir: "/var/lib/seam/docker-blue", runDir: "/run/seam/docker-blue"},
	} {
		f := dockerFlags{name: name, confDir: "/c", cacheDir: "/v", timeout: 1, collectEvery: 1}
		if err := f.settle(); err != nil {
			t.Fatal(err)
		}
		if f.socket != want.socket || f.stateDir != want.stateDir || f.runDir != want.runDir {
			t.Errorf("%s: %+v, want %+v", name, f, want)
		}
	}
}

// The units start it with flags that it has, on the socket where engines look.
func TestUnits(t *testing.T) {
	begin := unitLine(t, "seamd.service", "ExecStart=/usr/local/bin/seamd ")
	c := &cli{out: io.Discard, err: io.Discard, getenv: func(string) string { return "" }}
	cmd, rest, err := c.root().Find(strings.Fields(begin))
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err != nil || cmd.Name() != "docker" {
		t.Errorf("%s: command %s, error %v", begin, cmd.Name(), err)
	}
	if got := unitLine(t, "seamd.socket", "ListenStream="); got != defaultSocket {
		t.Errorf("socket %s, want %s", got, defaultSocket)
	}
}

// unitLine returns what stands behind the beginning of a unit's line.
func unitLine(t *testing.T, unit, begin string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy", unit))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), begin); ok {
			return value
		}
	}
	t.Fatalf("%s: no line %s", unit, begin)
	return ""
}
