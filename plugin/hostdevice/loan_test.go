package hostdevice_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/state"
)

// TestLockIsBounded: who cannot get at the loans in time says so, and touches nothing.
func TestLockIsBounded(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		dir := f.host.State("host-device")
		home := f.home()
		r := f.request(`"device":"ens5"`)
		gc := *r
		gc.Valid = []cni.Attachment{}
		refused := func(before string) {
			unlock, err := state.Lock(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
			for name, call := range map[string]func(context.Context) error{
				"ADD": func(ctx context.Context) error { _, err := f.plugin.Add(ctx, r); return err },
				"DEL": func(ctx context.Context) error { return f.plugin.Del(ctx, r) },
				"GC":  func(ctx context.Context) error { return f.plugin.GC(ctx, &gc) },
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				err := call(ctx)
				cancel()
				if cni.CodeOf(err) != cni.CodeTryAgain || !errors.Is(err, state.ErrLocked) || !strings.Contains(err.Error(), dir) {
					t.Errorf("%s: %v, want code %d and %s", name, err, cni.CodeTryAgain, dir)
				}
			}
			f.same("while it was locked", before)
		}
		refused(home)
		f.add(`"device":"ens5"`)
		refused(f.home())
		f.del(r)
		f.same("afterwards", home)
	})
}

// TestEarlierLoan: an attachment that is added again, for another device, without a DEL. What
// is written of the first device is not lost by it.
func TestEarlierLoan(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		before := f.home()
		r := f.request(`"device":"ens5"`)
		loan := filepath.Join(f.host.State("host-device"), plugin.Mark(r.Tag())+".json")
		ip := func(pod *netnstest.Pod, args string) { plugintest.Run(t, pod, "ip", strings.Split(args, " ")...) }
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		// again asks for the device "wire", in the namespace if it is another.
		again := func(pod *netnstest.Pod) error {
			_, err := cni.Add(context.Background(), f.plugin, plugintest.Request(t, conf(`"device":"wire"`), pod, "c1", finder))
			return err
		}
		refused := func(when string, pod *netnstest.Pod, code cni.Code, want string) {
			written, _ := os.ReadFile(loan)
			if err := again(pod); cni.CodeOf(err) != code || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want code %d and %q", when, err, code, want)
			}
			now, err := os.ReadFile(loan)
			if diff := cmp.Diff(string(written), string(now)); diff != "" || err != nil {
				t.Errorf("%s: %v, the loan (-before +after):\n%s", when, err, diff)
			}
		}

		f.add(`"device":"ens5"`)
		ip(f.pod, "link set eth0 down")
		ip(f.pod, "link set eth0 name lan")
		refused("in the pod, renamed", f.pod, cni.CodeExists, "device ens5 is lent to attachment net/c1/eth0 already, as lan in its pod")
		refused("in another namespace", netnstest.NewPod(t, "pod2"), cni.CodeExists, "already, as lan in its pod")
		f.del(r)
		f.same("after DEL", before)

		for name, step := range map[string]func(){
			"back on the host": func() {
				f.add(`"device":"ens5"`)
				ip(f.pod, "link set eth0 netns "+hostPath(t)) // as the kernel does when a pod dies
			},
			"never left": func() { f.write(loan, `{"tag":"net/c1/eth0","netns":"/gone","name":"ens5","mtu":1400,"up":true}`) },
			"never left, a card": func() {
				f.write(loan, `{"tag":"net/c1/eth0","netns":"/gone","name":"ens5","physical":true,"mtu":1400,"up":true}`)
			},
		} {
			step()
			if err := again(f.pod); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got := plugintest.Run(t, nil, "ip", "link", "show", "ens5") + plugintest.Run(t, nil, "ip", "addr", "show", "ens5")
			for _, want := range []string{"mtu 1400", "alias uplink", "198.51.100.5/24", "2001:db8::5/64"} {
				if !strings.Contains(got, want) {
					t.Errorf("%s: want %q in\n%s", name, want, got)
				}
			}
			f.del(r)
			f.same(name+", after DEL", before)
		}

		// Of a card that nobody can see, the loan is all that is known.
		f.write(loan, fmt.Sprintf(`{"tag":"net/c1/eth0","netns":%q,"name":"ens9","physical":true,"mtu":1500,"up":false}`, f.pod.Path))
		refused("out of sight", f.pod, cni.CodeTryAgain, "device ens9, lent to attachment net/c1/eth0 before, is neither on the host nor in a pod; bring it back; if it is gone for good, remove "+loan)

		// Of one whose record cannot be read, the device itself tells.
		must(os.Remove(loan))
		f.add(`"device":"ens5"`)
		f.write(loan, `{"tag":`)
		ip(f.pod, "link set eth0 name lan")
		refused("not readable", f.pod, cni.CodeExists, "device ens5 is lent to attachment net/c1/eth0 already, as lan in its pod")
		ip(f.pod, "link set lan netns "+hostPath(t))
		must(again(f.pod))
		if got := plugintest.Run(t, nil, "ip", "link", "show", "ens5"); strings.Contains(got, "altname") {
			t.Errorf("back on the host, its loan not readable:\n%s", got)
		}
	})
}

func (f *fixture) write(file, text string) {
	f.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

// TestKilledBeforeMark: of a card that never left, DEL and GC end the loan.
func TestKilledBeforeMark(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		before := f.home()
		r, _ := f.add(`"device":"ens5"`)
		f.del(r)
		gc := *r
		gc.Valid = []cni.Attachment{}
		loan := filepath.Join(f.host.State("host-device"), plugin.Mark(r.Tag())+".json")
		for name, end := range map[string]func() error{
			"DEL": func() error { return f.plugin.Del(context.Background(), r) },
			"GC":  func() error { return f.plugin.GC(context.Background(), &gc) },
		} {
			f.write(loan, fmt.Sprintf(`{"tag":"net/c1/eth0","netns":%q,"name":"ens5","physical":true,"mtu":1400,"up":true}`, f.pod.Path))
			f.write(loan+".tmp", `{"tag"`)
			if err := end(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			f.same(name, before)
		}
	})
}
