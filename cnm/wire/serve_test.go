package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seamnet/seam/cnm"
)

// TestSlowDrivers: an engine gets its answer, whether the driver heeds its context or
// not, and the driver that does is heard itself.
func TestSlowDrivers(t *testing.T) {
	release := make(chan struct{})
	for _, test := range []struct {
		name string
		hear func(ctx context.Context, verb string, asked any) (any, error)
		want string
	}{
		{"heeds", func(ctx context.Context, _ string, _ any) (any, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("waited for a lease: %w", ctx.Err())
		}, "waited for a lease: context deadline exceeded"},
		{"does not heed", func(context.Context, string, any) (any, error) {
			<-release
			return nil, nil
		}, "not done after 200ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &Server{Driver: hearing(test.hear), Timeout: 200 * time.Millisecond}
			start := time.Now()
			_, got := post(s, "NetworkDriver.DeleteNetwork", `{"NetworkID":"n"}`)
			if !strings.Contains(got, test.want) {
				t.Errorf("%s, want %q", got, test.want)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	close(release)
}

// TestPeerGoesAway: the call goes on to its end.
func TestPeerGoesAway(t *testing.T) {
	begun, proceed, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s := &Server{Driver: hearing(func(ctx context.Context, _ string, _ any) (any, error) {
		close(begun)
		<-proceed
		ended <- ctx.Err()
		return nil, nil
	})}
	dirs := serving(t, s)
	c, err := net.Dial("unix", filepath.Join(dirs.Sockets, "fake.sock"))
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"NetworkID":"n"}`
	fmt.Fprintf(c, "POST /NetworkDriver.DeleteNetwork HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	<-begun
	c.Close()
	time.Sleep(50 * time.Millisecond) // for the server to notice
	close(proceed)
	if err := <-ended; err != nil {
		t.Errorf("the call's context: %v", err)
	}
}

// TestHalfARequest: a connection that says nothing more does not stay.
func TestHalfARequest(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a request may")
	}
	t.Parallel()
	dirs := serving(t, &Server{Driver: hearing(func(context.Context, string, any) (any, error) {
		t.Error("half a request reached the driver")
		return nil, nil
	})})
	c, err := net.Dial("unix", filepath.Join(dirs.Sockets, "fake.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /NetworkDriver.DeleteNetwork HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	c.SetReadDeadline(time.Now().Add(2 * transferTimeout))
	answer, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(answer), "400 Bad Request") {
		t.Errorf("%v %s", err, answer)
	}
}

// TestServeEnds: calls on their way are answered, then no more.
func TestServeEnds(t *testing.T) {
	begun, proceed := make(chan struct{}), make(chan struct{})
	s := &Server{Driver: hearing(func(context.Context, string, any) (any, error) {
		close(begun)
		<-proceed
		return cnm.Capabilities{Scope: cnm.ScopeGlobal}, nil
	})}
	path := filepath.Join(t.TempDir(), "fake.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	client := find(t, Dirs{Sockets: filepath.Dir(path)})
	type outcome struct {
		c   cnm.Capabilities
		err error
	}
	answered := make(chan outcome, 1)
	go func() {
		c, err := client.Capabilities(t.Context())
		answered <- outcome{c, err}
	}()
	<-begun
	end()
	select {
	case err := <-served:
		t.Fatalf("Serve ended before the call: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(proceed)
	if got := <-answered; got.err != nil || got.c.Scope != cnm.ScopeGlobal {
		t.Errorf("the call on its way: %v %v", got.c, got.err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := client.DeleteNetwork(t.Context(), "n"); !errors.Is(err, ErrNoDriver) {
		t.Errorf("a call after the end: %v, want %v", err, ErrNoDriver)
	}
}

func TestServeOnBrokenListener(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "fake.sock"))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := (&Server{}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want %v", err, net.ErrClosed)
	}
}

func TestCallsAtTheSameTime(t *testing.T) {
	const many = 50
	var running atomic.Int32
	all := make(chan struct{})
	s := &Server{Driver: hearing(func(_ context.Context, _ string, asked any) (any, error) {
		if n := running.Add(1); n == many {
			close(all)
		}
		select {
		case <-all:
		case <-time.After(5 * time.Second):
			return nil, errors.New("waited for the others in vain")
		}
		e := asked.(*cnm.Endpoint)
		var n byte
		fmt.Sscanf(string(e.ID), "e%d", &n)
		return &cnm.Interface{MAC: net.HardwareAddr{2, 0, 0, 0, 0, n}}, nil
	})}
	client := find(t, serving(t, s))
	var calls sync.WaitGroup
	for i := range many {
		calls.Go(func() {
			id := cnm.EndpointID(fmt.Sprintf("e%d", i))
			got, err := client.CreateEndpoint(t.Context(), &cnm.Endpoint{Network: "n", ID: id})
			if err != nil || int(got.MAC[5]) != i {
				t.Errorf("%s: %v %v", id, got, err)
			}
		})
	}
	calls.Wait()
}

// TestIdleConnectionStays: an engine keeps its connection, and may use it any time.
func TestIdleConnectionStays(t *testing.T) {
	if testing.Short() {
		t.Skip("waits longer than a request may take")
	}
	t.Parallel()
	dirs := serving(t, &Server{})
	c, err := net.Dial("unix", filepath.Join(dirs.Sockets, "fake.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for i := range 2 {
		time.Sleep(time.Duration(i) * (transferTimeout + time.Second))
		fmt.Fprint(c, "POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
	}
}
