package cnm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// The verbs that take part in an attachment, in their order.
var (
	making   = []string{"RequestPool", "RequestAddress gateway", "CreateNetwork", "RequestAddress", "CreateEndpoint", "Join", "Program"}
	removing = []string{"Revoke", "Leave", "DeleteEndpoint", "ReleaseAddress"}
)

// fixed is own with a subnet of which it is known what was asked for.
const fixed = own + `,"subnet":"10.1.0.0/24"`

// at returns a hook that calls do at the verb, once.
func at(verb string, do func() error) func(string) error {
	var came atomic.Bool
	return func(v string) error {
		if v != verb || came.Swap(true) {
			return nil
		}
		return do()
	}
}

// collected runs GC, which may tell once what the driver refused, and fails the test if
// anything is left.
func (f *fixture) collected(when string, r *cni.Request) {
	f.Helper()
	if err := f.gc(r); err != nil && !strings.Contains(err.Error(), "the next time this is passed over") {
		f.Errorf("%s: GC: %v", when, err)
	} else if err != nil {
		if err := f.gc(r); err != nil {
			f.Errorf("%s: GC again: %v", when, err)
		}
	}
	if there, err := f.Inside.ByName("eth0"); err == nil {
		f.Errorf("%s: left in the pod: %+v", when, there)
		_ = f.Inside.Delete("eth0")
	}
	f.nothing(when)
}

// TestRefused: whatever a driver refuses, the ADD tells it, and its roll-back leaves nothing.
func TestRefused(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.Request(f.conf(fixed))
		for _, verb := range making {
			f.driver.Before = at(verb, func() error { return errors.New("out of bricks") })
			f.Refuses(verb, r, cni.CodeInternal, "driver bricks: ", "out of bricks")
			if has := strings.Join(f.driver.Has(), ","); strings.Contains(has, "endpoint") || strings.Contains(has, "joined") {
				t.Errorf("%s: the driver has %q", verb, has)
			}
			f.collected(verb, r)
		}
		f.driver.Before = nil
	})
}

// TestRefusedRemoval: what a driver does not remove is told once; a pod can end.
func TestRefusedRemoval(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		for verb, told := range map[string]bool{"Revoke": false, "Leave": false, "DeleteEndpoint": true, "ReleaseAddress": true} {
			t.Run(verb, func(t *testing.T) {
				f := setup(t)
				r := f.Request(f.conf(fixed))
				f.Attach(f, r)
				f.driver.Before = func(v string) error {
					if v == verb {
						return errors.New("not now")
					}
					return nil
				}
				err := f.Del(t.Context(), r)
				if told {
					plugintest.WantError(t, "DEL", err, cni.CodeInternal, "endpoint of net/c1/eth0: driver bricks: ", "not now; the next time this is passed over")
				} else if err != nil {
					t.Errorf("DEL: %v", err)
				}
				plugintest.Must(t, f.Del(t.Context(), r))
				if e := f.driver.Endpoint(); e != nil {
					plugintest.Must(t, f.Host.Delete("do"+string(e.ID[:8])))
				}
				f.driver.Forget()
				f.driver.Before = nil
				if err := f.gc(r); err == nil || !strings.Contains(err.Error(), `network "net": driver bricks: `) {
					t.Errorf("GC of what the driver forgot: %v", err)
				}
				plugintest.Must(t, f.gc(r))
				if files, _ := os.ReadDir(f.host.Dirs.Drivers); len(files) > 0 {
					t.Errorf("left: %v", files)
				}
			})
		}
	})
}

// TestGone: without the driver DEL and GC fail and say what to do; with it, they go on.
func TestGone(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.Request(f.conf(own))
		f.Attach(f, r)
		f.driver.Stop()
		for range 2 {
			plugintest.WantError(t, "DEL", f.Del(t.Context(), r), cni.CodeTryAgain, "driver bricks: no socket", "start the driver", "repeat this when the driver answers", f.host.Dirs.Drivers)
			plugintest.WantError(t, "GC", f.gc(r), cni.CodeTryAgain, "driver bricks: no socket")
		}
		f.driver.Serve(t)
		f.Detach(f, r)
		f.driver.Stop()
		plugintest.WantError(t, "GC", f.gc(r), cni.CodeTryAgain, `network "net": driver bricks: no socket`)
		f.driver.Serve(t)
		plugintest.Must(t, f.gc(r))
		f.nothing("after GC")
	})
}

// TestSlow: a driver that takes longer than the caller has time is not waited for.
func TestSlow(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.Request(f.conf(own))
		goOn, over := make(chan bool), make(chan bool)
		f.driver.Before = at("CreateEndpoint", func() error { <-goOn; return nil })
		f.driver.After = at("CreateEndpoint", func() error { close(over); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := f.Add(ctx, r); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "CreateEndpoint") {
			t.Errorf("ADD: %v", err)
		}
		close(goOn)
		<-over
		f.Detach(f, r)
		f.collected("slow", r)
	})
}

// TestBroken: a connection that breaks, before the driver heard what it was asked or after it
// did that, leaves nothing either.
func TestBroken(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		p := &proxy{socket: filepath.Join(f.driver.Dir, "bricks.sock")}
		f.driver.Dir = t.TempDir()
		p.serve(t, filepath.Join(f.driver.Dir, "bricks.sock"))
		r := f.Request(f.conf(fixed))
		for _, verb := range []string{"RequestPool", "RequestAddress", "CreateNetwork", "CreateEndpoint", "Join", "ProgramExternalConnectivity"} {
			for _, heard := range []bool{false, true} {
				p.breakAt(verb, heard)
				if _, err := cni.Add(t.Context(), f, r); err == nil {
					t.Errorf("%s: no error", verb)
				}
				f.collected(fmt.Sprintf("%s, heard %t", verb, heard), r)
			}
		}
		for _, verb := range []string{"RevokeExternalConnectivity", "Leave", "DeleteEndpoint", "ReleaseAddress"} {
			for _, heard := range []bool{false, true} {
				f.Attach(f, r)
				p.breakAt(verb, heard)
				plugintest.WantError(t, verb, f.Del(t.Context(), r), cni.CodeTryAgain, "driver bricks: ")
				r.Prev = nil
				f.collected(fmt.Sprintf("%s, heard %t", verb, heard), r)
			}
		}
	})
}

// A proxy stands between the plugin and the driver.
type proxy struct {
	socket string
	verb   atomic.Pointer[string] // whose next connection breaks; nil: none
	heard  atomic.Bool            // after the driver answered
}

func (p *proxy) breakAt(verb string, heard bool) {
	p.heard.Store(heard)
	p.verb.Store(&verb)
}

func (p *proxy) serve(t *testing.T, path string) {
	l, err := net.Listen("unix", path)
	plugintest.Must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(c)
		}
	}()
}

func (p *proxy) pass(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("unix", p.socket)
	if err != nil {
		return
	}
	defer up.Close()
	request := make([]byte, 1<<16)
	n, err := c.Read(request)
	if err != nil {
		return
	}
	verb := p.verb.Load()
	breaks := verb != nil && strings.Contains(string(request[:n]), "."+*verb+" ") && p.verb.CompareAndSwap(verb, nil)
	if breaks && !p.heard.Load() {
		return
	}
	_, _ = up.Write(request[:n])
	if breaks {
		_, _ = io.Copy(io.Discard, up)
		return
	}
	go io.Copy(up, c)
	_, _ = io.Copy(c, up)
}
