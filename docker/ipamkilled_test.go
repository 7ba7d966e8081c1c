package docker

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/state"
)

// The variable that makes the test binary a driver that is killed: in "add" or "del" of
// host-local.
const ipamVictim = "SEAM_TEST_IPAM_VICTIM"

// An ipamKiller is host-local that is killed when it has leased an address, or before it
// frees one.
type ipamKiller struct {
	cni.Plugin
	verb string
}

func (k ipamKiller) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	result, err := k.Plugin.Add(ctx, r)
	if k.verb == "add" {
		return nil, errors.Join(err, syscall.Kill(os.Getpid(), syscall.SIGKILL))
	}
	return result, err
}

func (k ipamKiller) Del(ctx context.Context, r *cni.Request) error {
	if k.verb == "del" {
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return k.Plugin.Del(ctx, r)
}

const smallPool = cnm.PoolID("seam:small|10.2.0.0/29")

// TestIPAMVictim is no test but the process that TestIPAMKilled kills.
func TestIPAMVictim(t *testing.T) {
	verb := os.Getenv(ipamVictim)
	if verb == "" {
		t.Skip("runs as a part of TestIPAMKilled")
	}
	p := testIPAM(t, func(r cni.Registry) { r["host-local"] = ipamKiller{r["host-local"], verb} })
	_, err := p.RequestAddress(t.Context(), &cnm.AddressRequest{Pool: smallPool, Address: addrOf("10.2.0.4")})
	t.Fatal(errors.Join(err, p.ReleaseAddress(t.Context(), smallPool, addrOf("10.2.0.4"))))
}

// An engine repeats a call that was cut short: it is served as if it were the first.
func TestIPAMKilled(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		for _, verb := range []string{"add", "del"} {
			t.Run(verb, func(t *testing.T) {
				writeIPAMNetworks(t)
				cmd := exec.Command("/proc/self/exe", "-test.run=^TestIPAMVictim$")
				cmd.Env = append(os.Environ(), ipamVictim+"="+verb)
				out, err := cmd.CombinedOutput()
				if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
					t.Fatalf("victim was not killed: %v\n%s", err, out)
				}
				if len(podLeases(t, "small")) == 0 {
					t.Fatal("nothing to undo")
				}
				p := testIPAM(t)
				if err := p.Restore(t.Context()); err != nil {
					t.Error(err)
				}
				wantNothing(t, p)
				if left := podLeases(t, "small"); len(left) > 0 {
					t.Errorf("leased still: %v", left)
				}
				if verb == "add" {
					mustAddress(t, p, smallPool, "10.2.0.4")
				}
				mustRelease(t, p, smallPool, "10.2.0.4")
			})
		}
	})
}

// What was killed when all but the answer was done is undone, as nobody heard of it; but
// not what such a call has mended.
func TestIPAMKilledBeforeTheAnswer(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		mustAddress(t, p, smallPool, "10.2.0.3")
		mustAddress(t, p, smallPool, "10.2.0.4")
		for a, since := range map[string]time.Duration{"10.2.0.3": 0, "10.2.0.4": time.Second} {
			l, err := state.Read[lease](p.addressFile("small", addrOf(a)))
			if err != nil || l == nil {
				t.Fatal(l, err)
			}
			if _, err := p.begin(pending{ID: l.ID, Book: "small", Since: l.Since.Add(since)}); err != nil {
				t.Fatal(err)
			}
		}
		p = testIPAM(t)
		if err := p.Restore(t.Context()); err != nil {
			t.Error(err)
		}
		if left := podLeases(t, "small"); len(left) != 1 || left[0] != "10.2.0.4" {
			t.Errorf("leased are %v, want what was mended", left)
		}
		mustRelease(t, p, smallPool, "10.2.0.4")
		wantNothing(t, p)
	})
}
