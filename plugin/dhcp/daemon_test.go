package dhcp_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/dhcp"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestWithoutDaemon: DEL and GC release what there is, and find nothing where there is
// nothing; ADD and STATUS say what is missing.
func TestWithoutDaemon(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		pod := netnstest.NewPod(t, "web")
		first, second := l.request(pod, "c1", ""), l.request(netnstest.NewPod(t, "db"), "c2", "")
		third := l.request(netnstest.NewPod(t, "gone"), "c3", "")
		_, err := l.plugins["dhcp"].Add(t.Context(), alone(first))
		wantError(t, err, cni.CodeTryAgain, "ask the daemon at /run/cni/dhcp.sock: no daemon listens there")
		wantError(t, l.bridge.Status(t.Context(), first), cni.CodeNotAvailable, "no daemon listens there")
		first.Valid = []cni.Attachment{}
		if err := l.bridge.Del(t.Context(), first); err != nil {
			t.Errorf("DEL of nothing: %v", err)
		}
		if err := l.bridge.GC(t.Context(), first); err != nil {
			t.Errorf("GC of nothing: %v", err)
		}
		if _, err := os.Stat(records); err == nil {
			t.Error("DEL and GC made a folder")
		}
		stop := daemon(t)
		if err := l.bridge.Status(t.Context(), first); err != nil {
			t.Errorf("STATUS: %v", err)
		}
		l.add(first)
		l.add(second)
		l.add(third)
		stop()
		if err := l.bridge.Del(t.Context(), first); err != nil {
			t.Errorf("DEL: %v", err)
		}
		l.freed("c1/lan/eth0")
		if len(l.leased("c2/lan/eth0")) != 1 {
			t.Error("DEL released another's lease")
		}
		first.Valid = []cni.Attachment{third.Attachment}
		if err := l.bridge.GC(t.Context(), first); err != nil {
			t.Errorf("GC: %v", err)
		}
		l.freed("c2/lan/eth0")
		third.NetNS = "/run/netns/nowhere"
		third.Config.JSON = []byte(`{"name": "lan", "ipam": {"type": "dhcp", "priority": "high", "request": 7}}`)
		if err := l.plugins["dhcp"].Del(t.Context(), third); err != nil {
			t.Errorf("DEL with an invalid configuration: %v", err)
		}
		noRecords(t)
		l.freed("c3/lan/eth0")
	})
}

// TestForeignDaemon has a program like the reference's daemon at the socket.
func TestForeignDaemon(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		if err := os.MkdirAll("/run/cni", 0o755); err != nil {
			t.Fatal(err)
		}
		socket, err := net.Listen("unix", dhcp.DefaultSocket)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{}
		go server.Serve(socket)
		defer server.Close()
		r := plugintest.Request(t, `{"cniVersion": "1.1.0", "name": "lan", "type": "dhcp", "ipam": {"type": "dhcp"}}`,
			netnstest.NewPod(t, "web"), "c1", nil)
		_, err = dhcp.New().Add(t.Context(), r)
		wantError(t, err, cni.CodeTryAgain, "another program's daemon listens there")
		wantError(t, dhcp.New().Status(t.Context(), r), cni.CodeNotAvailable, "another program's daemon listens there")
		if err := dhcp.New().Del(t.Context(), r); err != nil {
			t.Errorf("DEL: %v", err)
		}
		_, err = dhcp.Listen(dhcp.DefaultSocket)
		if err == nil || !strings.Contains(err.Error(), "another program's daemon does") {
			t.Errorf("a second daemon: %v", err)
		}
	})
}

// TestCalledOff: a caller that goes away while no server answers is not waited for,
// and neither is it in the way of its own DEL.
func TestCalledOff(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		l.stop()
		daemon(t)
		r := l.request(netnstest.NewPod(t, "web"), "c1", "")
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := l.bridge.Add(ctx, r)
		wantError(t, err, cni.CodeTryAgain, "no answer: context deadline exceeded")
		if err := l.bridge.Del(t.Context(), r); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 1500*time.Millisecond {
			t.Errorf("took %s", took)
		}
		noRecords(t)
	})
}

// TestRepeatCalledOff: a lease that is held outlives an ADD that is repeated for it and
// called off, by its caller or by the daemon's end, before the server has confirmed it.
func TestRepeatCalledOff(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		stop := daemon(t)
		r := l.request(netnstest.NewPod(t, "web"), "c1", "")
		l.add(r)
		l.stop()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := l.plugins["dhcp"].Add(ctx, alone(r))
		wantError(t, err, cni.CodeTryAgain, "no answer: context deadline exceeded")
		time.Sleep(100 * time.Millisecond) // the daemon finds out that nobody waits any more
		record(t)

		ended := make(chan error, 1)
		go func() {
			_, err := l.plugins["dhcp"].Add(context.Background(), alone(r))
			ended <- err
		}()
		time.Sleep(200 * time.Millisecond) // the question is asked by then; earlier, there is less to see
		stop()
		if err := <-ended; err == nil {
			t.Error("ADD succeeds though nobody confirmed the lease")
		}
		record(t)
	})
}

// TestManyAtOnce attaches and detaches containers in parallel.
func TestManyAtOnce(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		daemon(t)
		const many = 12
		requests := make([]*cni.Request, many)
		for i := range requests {
			id := fmt.Sprintf("c%d", i)
			requests[i] = l.request(netnstest.NewPod(t, id), id, "")
		}
		each := func(do func(*cni.Request) error) {
			t.Helper()
			var group sync.WaitGroup
			for _, r := range requests {
				group.Go(func() {
					if err := do(r); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
		}
		each(func(r *cni.Request) (err error) {
			r.Prev, err = l.bridge.Add(t.Context(), r)
			return err
		})
		seen := make(map[netip.Prefix]bool)
		for _, r := range requests {
			if r.Prev != nil {
				seen[r.Prev.IPs[0].Address] = true
			}
		}
		if len(seen) != many {
			t.Errorf("%d addresses for %d containers", len(seen), many)
		}
		each(func(r *cni.Request) error { return l.bridge.Del(t.Context(), r) })
		for _, r := range requests {
			l.freed(r.ContainerID + "/lan/eth0")
		}
		noRecords(t)
	})
}
