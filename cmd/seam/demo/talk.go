package demo

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// patience bounds each connection: what does not answer by then is broken.
const patience = 3 * time.Second

// A server tells everyone who connects its name and whom it sees.
type server struct {
	listener net.Listener
	done     sync.WaitGroup
}

// serve starts a server at a port of the pod, on all its addresses.
func (p *pod) serve(port int) error {
	return p.ns.Do(func() error {
		s, err := serveHere(p.name, port)
		if err == nil {
			p.servers = append(p.servers, s)
		}
		return err
	})
}

// serveHere starts a server in the calling thread's namespace.
func serveHere(name string, port int) (*server, error) {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return nil, err
	}
	s := &server{listener: l}
	s.done.Go(func() { s.run(name) })
	return s, nil
}

func (s *server) run(name string) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		_ = conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(conn, "%s %s\n", name, peer)
		conn.Close()
	}
}

func (s *server) close() {
	s.listener.Close()
	s.done.Wait()
}

// A reply is who answered, and whom it saw asking.
type reply struct {
	name string
	saw  netip.Addr
}

// ask connects to an address and returns the reply; from is the pod that asks, nil
// the host.
func ask(from *pod, to netip.AddrPort) (r reply, err error) {
	question := func() error {
		conn, err := net.DialTimeout("tcp", to.String(), patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		text, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return err
		}
		name, saw, _ := strings.Cut(strings.TrimSpace(text), " ")
		r.name = name
		r.saw, err = netip.ParseAddr(saw)
		return err
	}
	if from == nil {
		return r, question()
	}
	return r, from.ns.Do(question)
}

// expect asks, and checks who answers.
func expect(from *pod, to netip.AddrPort, name string) (reply, error) {
	r, err := ask(from, to)
	who := "the host"
	if from != nil {
		who = from.name
	}
	if err != nil {
		return r, fmt.Errorf("%s to %s at %s: %w", who, name, to, err)
	}
	if r.name != name {
		return r, fmt.Errorf("%s to %s at %s: %s answered", who, name, to, r.name)
	}
	return r, nil
}
