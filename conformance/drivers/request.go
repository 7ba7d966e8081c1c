package drivers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/seamnet/seam/conformance"
)

func requestChecks() []check {
	return []check{
		{conformance.Check{ID: "protocol/malformed", Force: conformance.Must, Source: remoteDoc + ", Errors",
			Says: "A body that is no JSON, or no object, is answered with a status of 400 or more, and the driver goes on."}, 0, checkMalformed},
		{conformance.Check{ID: "protocol/types", Force: conformance.Should, Source: remoteDoc + ", Errors",
			Says: "A body with a value of another type than the field's is answered with an error, and the driver goes on."}, 0, checkTypes},
		{conformance.Check{ID: "protocol/empty-body", Force: conformance.Must, Source: practising + "an engine that repeats a call whose connection broke may leave the body out",
			Says: "A call that needs a body and comes without one is answered with an error, and not as if it were done."}, 0, checkEmptyBody},
		{conformance.Check{ID: "protocol/huge-body", Force: conformance.Should, Source: practising + "whoever reaches the socket must not end the driver that all containers need",
			Says: "A body of 16 MB is answered or cut off, and the driver goes on."}, 0, checkHugeBody},
		{conformance.Check{ID: "protocol/slow-request", Force: conformance.Must, Source: practising + "calls come for several containers, and from several engines, at the same time",
			Says: "A request that arrives only in part does not keep the driver from answering others."}, 0, checkSlowRequest},
		{conformance.Check{ID: "protocol/broken-connection", Force: conformance.Should, Source: practising + "an engine makes a call again if its connection broke before the answer",
			Says: "A call that comes twice, as the first answer was not read, is carried out or refused, and what it is about can then be deleted and made again."}, networks, checkBrokenConnection},
		{conformance.Check{ID: "protocol/time", Force: conformance.Should, Source: practising + "an engine waits without end, even while it starts",
			Says: "Each call of an endpoint's life is answered within five seconds."}, networks, checkTime},
	}
}

// methods are those of the driver that need a body.
func (e *engine) methods() []string {
	var methods []string
	if e.is(networkKind) {
		methods = append(methods, "NetworkDriver.CreateNetwork", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join",
			"NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint", "NetworkDriver.DeleteNetwork")
	}
	if e.is(ipamKind) {
		methods = append(methods, "IpamDriver.RequestPool", "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress", "IpamDriver.ReleasePool")
	}
	return methods
}

// goesOn ends the check if the driver no longer answers.
func (e *engine) goesOn(after string) {
	for _, socket := range e.sockets() {
		if _, err := e.post(socket, "Plugin.Activate", nil); err != nil {
			e.Fatalf("after %s: %v", after, err)
		}
	}
}

func checkMalformed(e *engine) {
	for _, method := range e.methods() {
		for _, body := range []string{"{", `"text"`, "[1,2]", "\x00\xff", `{"NetworkID":"` + newID() + `",}`} {
			if a := e.raw(method, []byte(body)); a.Status < 400 {
				e.Errorf("the body %q: want a status of 400 or more; %v", body, a)
			}
		}
	}
	e.goesOn("bodies that are no JSON")
}

func checkTypes(e *engine) {
	for _, method := range e.methods() {
		field := "NetworkID"
		switch {
		case method == "IpamDriver.RequestPool":
			field = "Options"
		case strings.HasPrefix(method, ipamKind):
			field = "PoolID"
		}
		for _, value := range []string{"5", `["x"]`, `{"a":{}}`} {
			body := fmt.Sprintf(`{%q:%s}`, field, value)
			if a := e.raw(method, []byte(body)); a.refusal() == nil {
				e.Errorf("the body %s: want an error; %v", body, a)
			}
		}
	}
	e.goesOn("bodies with values of wrong types")
}

func checkEmptyBody(e *engine) {
	for _, method := range e.methods() {
		if a := e.raw(method, nil); a.refusal() == nil {
			e.Errorf("without a body: want an error; %v", a)
		}
	}
}

func checkHugeBody(e *engine) {
	body := []byte(`{"NetworkID":"` + newID() + `","PoolID":"` + newID() + `","Options":{"com.docker.network.generic":{"x":"` + strings.Repeat("a", 16<<20) + `"}}}`)
	for _, method := range e.methods() {
		if !strings.HasSuffix(method, ".Join") && !strings.HasSuffix(method, ".RequestAddress") {
			continue
		}
		a, err := e.post(e.socketOf(method), method, body)
		if errors.Is(err, context.DeadlineExceeded) {
			e.Errorf("%v", err)
		} else if err == nil && a.refusal() == nil {
			e.Errorf("want an error; %v", a)
		}
	}
	e.goesOn("a body of 16 MB")
}

func checkSlowRequest(e *engine) {
	for _, socket := range e.sockets() {
		for range 8 {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				e.Fatalf("%v", err)
			}
			e.Cleanup(func() { conn.Close() })
			if _, err := fmt.Fprintf(conn, "POST /Plugin.Activate HTTP/1.1\r\nHost: driver\r\nContent-Type: %s\r\nContent-Length: 500\r\n\r\n{\"Networ", contentType); err != nil {
				e.Fatalf("%v", err)
			}
		}
	}
	time.Sleep(50 * time.Millisecond) // until it reads them
	e.patience = 3 * time.Second
	e.goesOn("requests that came in part")
}

// say makes a call and does not wait for its answer.
func (e *engine) say(method string, request any) {
	body, err := encode(request)
	e.Must(err)
	conn, err := net.Dial("unix", e.socketOf(method))
	if err != nil {
		e.Fatalf("%v", err)
	}
	defer conn.Close()
	r, err := http.NewRequest(http.MethodPost, "http://driver/"+method, bytes.NewReader(body))
	e.Must(err)
	r.Header.Set("Content-Type", contentType)
	if err := r.Write(conn); err != nil {
		e.Fatalf("%s: %v", method, err)
	}
}

// carriedOut is how long after a call whose connection broke the engine makes it again: the
// first time after a second, in truth.
const carriedOut = 200 * time.Millisecond

// twice makes a call whose answer is not read, and again. If the second is refused, undo is
// called and the call made anew.
func (e *engine) twice(method string, request any, undo func() error) {
	e.say(method, request)
	time.Sleep(carriedOut)
	if a := e.raw(method, nil); a.refusal() == nil {
		e.Errorf("again, without its body: want an error; %v", a)
	}
	first := e.do(method, request, nil)
	if first == nil {
		return
	}
	e.Logf("the second call was refused, which an engine hands on: %v", first)
	if err := undo(); err != nil {
		e.Logf("deleting: %v", err)
	}
	if err := e.do(method, request, nil); err != nil {
		e.Fatalf("made again after it was deleted: %v", err)
	}
}

func checkBrokenConnection(e *engine) {
	n := &network{e: e, ID: newID()}
	p4, err := e.pool(false)
	if err != nil {
		e.Fatalf("%v", err)
	}
	n.Pools = []*pool{p4}
	e.cleanup(func() { _ = n.remove() })
	e.twice("NetworkDriver.CreateNetwork", n.request(), func() error {
		return e.do("NetworkDriver.DeleteNetwork", map[string]string{"NetworkID": n.ID}, nil)
	})
	p, err := n.prepare()
	if err != nil {
		e.Fatalf("%v", err)
	}
	e.twice("NetworkDriver.CreateEndpoint", p.with("Interface", p.Asked), func() error {
		return e.do("NetworkDriver.DeleteEndpoint", p.ref(), nil)
	})
	p.has.endpoint = true
	s := e.newSandbox(newID()[:12])
	e.say("NetworkDriver.Join", p.with("SandboxKey", s.Key))
	time.Sleep(carriedOut)
	if err := e.do("NetworkDriver.Join", p.with("SandboxKey", s.Key), nil); err != nil {
		e.Logf("the second Join was refused: %v", err)
		// An engine takes everything back then.
		for _, verb := range []string{"Leave", "DeleteEndpoint"} {
			if err := e.do("NetworkDriver."+verb, p.ref(), nil); err != nil {
				e.Logf("%v", err)
			}
		}
		p.has.endpoint = false
	}
	// Whatever became of it, the next container is to have its network.
	other := n.endpoint(modern)
	if err := errors.Join(other.stop(), e.do("NetworkDriver.Leave", p.ref(), nil)); err != nil {
		e.Logf("%v", err)
	}
}

func checkTime(e *engine) {
	start := time.Now()
	bounded := func(what string, err error) {
		if err != nil {
			e.Fatalf("%s: %v", what, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			e.Errorf("%s took %v", what, took)
		}
		start = time.Now()
	}
	n, err := e.tryNetwork(false)
	bounded("making a network", err)
	p, err := n.prepare()
	bounded("requesting an address", err)
	bounded("CreateEndpoint", p.create())
	bounded("Join", p.join(modern))
	bounded("Leave", p.leave())
	bounded("DeleteEndpoint", p.remove())
	bounded("removing the network", n.remove())
}
