package hostdevice_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// hostPath returns a path by which ip finds the host's namespace.
func hostPath(t *testing.T) string {
	t.Helper()
	ns, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
}

// A moment is when a kill -9 came, as the steps that lead to what it leaves.
type moment struct {
	name  string
	inPod bool // the device is in the pod
	lent  bool // it was
	steps []func()
}

// TestKilled: wherever a kill -9 came, and whoever comes next, the device is as it was.
func TestKilled(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		mark := "seam-" + f.request(`"device":"ens5"`).Tag().Hash(24)
		loan := filepath.Join(f.host.State("host-device"), mark+".json")
		inside := func(args string) func() {
			return func() { plugintest.Run(t, f.pod, "ip", strings.Fields(args)...) }
		}
		var written []byte
		read := func() { written, _ = os.ReadFile(loan) }
		write := func() {
			if err := os.WriteFile(loan, written, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		name := func() { plugintest.Run(t, nil, "ip", "link", "property", "add", "dev", "ens5", "altname", mark) }
		toHost := "netns " + hostPath(t)
		f.add(`"device":"ens5"`)
		read()
		f.del(f.request(`"device":"ens5"`))
		for _, m := range []moment{
			{"ADD, loan written", false, false, []func(){write}},
			{"ADD, device named", false, false, []func(){write, name}},
			{"ADD, moved", true, true, []func(){inside("link set eth0 down")}},
			{"DEL, renamed", true, true, []func(){inside("link set eth0 down"), inside("link set eth0 name ens5")}},
			{"DEL, moved", false, true, []func(){inside("link set eth0 down"), inside("link set eth0 name ens5"), inside("link set ens5 " + toHost)}},
			// What the kernel does with a physical device when its namespace ends.
			{"pod died", false, true, []func(){inside("link set eth0 " + toHost)}},
		} {
			f.killed(m)
		}
	})
}

// killed lets DEL, GC and the ADD of another container be who comes next.
func (f *fixture) killed(m moment) {
	before := f.home()
	r := f.request(`"device":"ens5"`)
	next := map[string]func(){
		"DEL": func() { f.del(r) },
		"GC": func() {
			gc := *r
			gc.Valid = []cni.Attachment{}
			if err := f.plugin.GC(context.Background(), &gc); err != nil {
				f.Errorf("%s: gc: %v", m.name, err)
			}
		},
		"another's ADD": func() {
			other := plugintest.Request(f, conf(`"device":"ens5"`), f.pod, "c2", finder)
			if _, err := f.plugin.Add(context.Background(), other); err != nil {
				f.Errorf("%s: another's add: %v", m.name, err)
			}
			f.del(r) // comes late, and finds what is not its own any more
			plugintest.Run(f, f.pod, "ip", "link", "show", "eth0")
			f.del(other)
		},
	}
	if m.inPod {
		delete(next, "another's ADD") // it is refused
	}
	for name, do := range next {
		if m.lent {
			f.add(`"device":"ens5"`)
		}
		for _, step := range m.steps {
			step()
		}
		do()
		f.same(m.name+", then "+name, before)
	}
}

// TestLoanLost: of a device whose loan is lost, its name is known by its alias.
func TestLoanLost(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		for _, where := range []string{"pod", "host"} {
			r, _ := f.add(`"device":"ens5"`)
			if err := os.RemoveAll(f.host.State("host-device")); err != nil {
				t.Fatal(err)
			}
			if where == "host" {
				plugintest.Run(t, f.pod, "ip", "link", "set", "eth0", "netns", hostPath(t))
			}
			f.del(r)
			got := plugintest.Run(t, nil, "ip", "link", "show", "ens5")
			if strings.Contains(got, "alias") || strings.Contains(got, "altname") {
				t.Errorf("from the %s: %s", where, got)
			}
		}
	})
}

// TestRunningAgain: what a host did with a device that the reference plugin brought back
// stays; a loan that nobody ended does not take it down.
func TestRunningAgain(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r, _ := f.add(`"device":"ens5"`)
		for _, args := range []string{"link set eth0 down", "link set eth0 name ens5 alias ", "link set ens5 netns " + hostPath(t)} {
			plugintest.Run(t, f.pod, "ip", strings.Split(args, " ")...)
		}
		plugintest.Run(t, nil, "ip", "link", "set", "ens5", "up", "mtu", "1350")
		f.del(r)
		got := plugintest.Run(t, nil, "ip", "link", "show", "ens5")
		if !strings.Contains(got, "mtu 1350") || !strings.Contains(got, ",UP") || strings.Contains(got, "altname") {
			t.Errorf("want it up, with MTU 1350 and no other name:\n%s", got)
		}
	})
}

// TestTwoAtOnce: of those who ask for one device at the same time, one gets it.
func TestTwoAtOnce(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		before := f.home()
		type outcome struct {
			r   *cni.Request
			err error
		}
		outcomes, begin := make(chan outcome), make(chan bool)
		const askers = 16
		for i := range askers {
			r := plugintest.Request(t, conf(`"device":"ens5"`), netnstest.NewPod(t, fmt.Sprint("pod-", i)), fmt.Sprint("c-", i), finder)
			go func() {
				<-begin
				_, err := cni.Add(context.Background(), f.plugin, r)
				outcomes <- outcome{r, err}
			}()
		}
		close(begin)
		var got []*cni.Request
		for range askers {
			if o := <-outcomes; o.err == nil {
				got = append(got, o.r)
			} else if cni.CodeOf(o.err) != cni.CodeTryAgain {
				t.Error(o.err)
			}
		}
		if len(got) != 1 {
			t.Fatalf("%d got it", len(got))
		}
		f.del(got[0])
		f.same("after DEL", before)
	})
}
