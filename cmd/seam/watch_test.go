package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// A watchBench is a host with networks, on which a test looks.
type watchBench struct {
	*cli
	conf string
}

func newWatchBench(t *testing.T, networks ...string) *watchBench {
	t.Helper()
	host := plugin.NewHost(plugin.DefaultDirs)
	t.Cleanup(func() { host.Close() })
	c := &cli{err: os.Stderr, getenv: func(string) string { return "" }, host: host, builtins: all.Registry(host), self: self}
	c.flags = flags{confDir: t.TempDir(), cacheDirs: []string{seam.DefaultCacheDir}, timeout: time.Minute}
	for i, n := range networks {
		if err := os.WriteFile(fmt.Sprintf("%s/%d.conflist", c.flags.confDir, i), []byte(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &watchBench{c, c.flags.confDir}
}

// attach attaches a new pod to a network in process.
func (b *watchBench) attach(t *testing.T, network, id string) *netnstest.Pod {
	t.Helper()
	n, err := seam.Load(b.conf, network)
	if err != nil {
		t.Fatal(err)
	}
	pod := netnstest.NewPod(t, id)
	if _, err := b.runtime().Attach(t.Context(), n, seam.Container{ID: id, IfName: "eth0", NetNS: pod.Path}); err != nil {
		t.Fatal(err)
	}
	return pod
}

const (
	blue = `{"cniVersion": "1.1.0", "name": "blue", "plugins": [{"type": "bridge", "bridge": "blue0", "isGateway": true,
		"ipam": {"type": "host-local", "subnet": "10.5.0.0/16"}}]}`
	near = `{"cniVersion": "1.1.0", "name": "near", "plugins": [{"type": "macvlan", "master": "up0",
		"ipam": {"type": "host-local", "subnet": "10.6.0.0/24"}}]}`
)

// inside runs a program in the pod, or on the host if that is nil.
func inside(t *testing.T, pod *netnstest.Pod, name string, args ...string) {
	t.Helper()
	do := func(f func() error) error { return f() }
	if pod != nil {
		do = pod.NS.Do
	}
	err := do(func() error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFrameCounts: a veth's counters and a macvlan's are the container's, in the right
// direction; rates are of the time between; a link that is gone is missing.
func TestFrameCounts(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		inside(t, nil, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "out0")
		inside(t, nil, "ip", "link", "set", "up0", "up")
		inside(t, nil, "ip", "link", "set", "out0", "up")
		b := newWatchBench(t, blue, near)
		talker, near := b.attach(t, "blue", "talker"), b.attach(t, "near", "near")
		b.attach(t, "blue", "silent")
		m := meter{least: time.Millisecond}
		before := b.look(t, &m, byTraffic)
		const count, size = 50, 1000
		send(t, talker, "10.5.0.1:9", count, size)
		inside(t, near, "sh", "-c", "ping -q -c 1 -W 1 10.6.0.99 || true")
		after := b.look(t, &m, byTraffic)
		first, was := after.Attachments[0], find(t, before, "talker")
		if first.ContainerID != "talker" || was.PerSecond != nil {
			t.Errorf("the first of all is %s, and at first it had the rate %+v", first.ContainerID, was.PerSecond)
		}
		sent, seconds := first.Total.SentBytes-was.Total.SentBytes, after.Time.Sub(before.Time).Seconds()
		if sent < count*size || sent > count*(size+100) {
			t.Errorf("sent %d bytes in %d datagrams of %d", sent, count, size)
		}
		if got := first.Total.ReceivedBytes; got > count*size/2 {
			t.Errorf("received %d bytes of someone who is silent", got)
		}
		if got := float64(first.PerSecond.SentBytes) * seconds / float64(sent); got < 0.99 || got > 1.01 {
			t.Errorf("the rate is %v of what was sent", got)
		}
		if n := find(t, after, "near"); n.Total.SentPackets == 0 {
			t.Errorf("a macvlan's counters: %+v", n.Total)
		}
		if got := after.Networks[0].Total.SentBytes; got < sent {
			t.Errorf("the network has sent %d bytes, one of its containers %d", got, sent)
		}
		inside(t, talker, "ip", "link", "del", "eth0")
		if got := find(t, b.look(t, &m, byName), "talker").State; got != missing {
			t.Errorf("state without a link: %s", got)
		}
	})
}

// send sends datagrams from the pod to where nobody listens.
func send(t *testing.T, from *netnstest.Pod, to string, count, size int) {
	t.Helper()
	var c net.Conn
	err := from.NS.Do(func() (err error) {
		c, err = net.Dial("udp", to)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range count {
		for range 2 { // the first may be told that the last was refused, and is not sent then
			if _, err := c.Write(make([]byte, size)); err == nil {
				break
			}
		}
	}
}

func (b *watchBench) look(t testing.TB, m *meter, order sorting) *frame {
	t.Helper()
	f, err := b.frame(nil, m, order)
	if err != nil || len(f.Problems) > 0 {
		t.Fatal(err, f.Problems)
	}
	return f
}

func find(t *testing.T, f *frame, id string) watched {
	t.Helper()
	for _, w := range f.Attachments {
		if w.ContainerID == id {
			return w
		}
	}
	t.Fatalf("no %s in %+v", id, f)
	return watched{}
}

// TestWatchWakes: what is attached shows at once, long before the interval is over.
func TestWatchWakes(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		b := newWatchBench(t, blue)
		cmd := exec.Command("/proc/self/exe", "ls", "--watch", "--json", "--interval", "1h", "--conf-dir", b.conf)
		cmd.Args[0] = "seam"
		frames, stop := watching(t, cmd)
		defer stop()
		if n := len(next(t, frames).Attachments); n != 0 {
			t.Errorf("%d attachments at first", n)
		}
		b.attach(t, "blue", "c1") // its cache folder is not there before
		b.attach(t, "blue", "c2")
		for {
			if f := next(t, frames); len(f.Attachments) == 2 {
				break
			}
		}
	})
}

// watching starts the command, which is this program under another name, and returns its
// frames.
func watching(t *testing.T, cmd *exec.Cmd) (frames <-chan *frame, stop func()) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = os.Stderr
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	c := make(chan *frame, 100)
	go func() {
		defer close(c)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var f frame
			if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
				t.Error(err)
			}
			c <- &f
		}
	}()
	return c, func() {
		_ = cmd.Process.Signal(os.Interrupt)
		for range c {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after an interrupt: %v", err)
		}
	}
}

func next(t *testing.T, frames <-chan *frame) *frame {
	t.Helper()
	select {
	case f, ok := <-frames:
		if ok {
			return f
		}
		t.Fatal("no more frames")
	case <-time.After(5 * time.Second):
		t.Fatal("no frame for 5 s")
	}
	return nil
}

// TestMeter: rates are of the time since the last look that was long enough ago.
func TestMeter(t *testing.T) {
	start := time.Unix(1000, 0)
	m := meter{least: time.Second}
	at := func(after time.Duration, bytes uint64) *traffic {
		m.begin(start.Add(after))
		return m.perSecond(cni.Tag("a/b/c"), traffic{SentBytes: bytes})
	}
	for i, step := range []struct {
		after time.Duration
		bytes uint64
		want  *traffic
	}{
		{0, 1000, nil},
		{500 * time.Millisecond, 2000, nil},
		{2 * time.Second, 5000, &traffic{SentBytes: 2000}},
		{2100 * time.Millisecond, 9000, &traffic{SentBytes: 2000}},
		{4 * time.Second, 5000, &traffic{}},
		{6 * time.Second, 100, &traffic{}}, // another link
		{8 * time.Second, 300, &traffic{SentBytes: 100}},
	} {
		if diff := cmp.Diff(step.want, at(step.after, step.bytes)); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
	m.begin(start.Add(10 * time.Second))
	if got := at(12*time.Second, 900); got != nil {
		t.Errorf("of an attachment that was away: %+v", got)
	}
}

// TestFrameSpeed prints what a frame of 500 attachments costs. It asserts nothing:
// SEAM_SPEED=1 go test -v -run FrameSpeed.
func TestFrameSpeed(t *testing.T) {
	if os.Getenv("SEAM_SPEED") == "" {
		t.Skip("prints times: set SEAM_SPEED=1")
	}
	netnstest.Host(t, func(t *testing.T) {
		b := newWatchBench(t, blue)
		for i := range 500 {
			b.attach(t, "blue", fmt.Sprintf("c%d", i))
		}
		m, p := meter{}, picture{width: 200, height: 600}
		for _, test := range []struct {
			name string
			do   func(testing.TB)
		}{
			{"frame", func(t testing.TB) { p.draw(b.look(t, &m, byTraffic)) }},
			{"its list alone", func(t testing.TB) {
				if _, _, err := b.list(nil); err != nil {
					t.Fatal(err)
				}
			}},
			{"its counters alone", func(t testing.TB) {
				if _, err := b.hostCounters(); err != nil {
					t.Fatal(err)
				}
			}},
			{"a picture of all, as SVG", func(t testing.TB) {
				topology, err := b.topology(nil)
				if err != nil {
					t.Fatal(err)
				}
				topology.SVG()
			}},
		} {
			t.Log(test.name, testing.Benchmark(func(bench *testing.B) {
				for bench.Loop() {
					test.do(bench)
				}
			}))
		}
	})
}
