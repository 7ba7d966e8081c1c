package runtimes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/seamnet/seam/netns/netnstest"
)

// A place is where a test opens sockets: nil is the node.
type place = *netnstest.Pod

// ask asks the web server at host:port who it is, and by whom it was asked.
func ask(from place, address string) (string, error) {
	var answer []byte
	err := within(from, func() error {
		conn, err := net.DialTimeout("tcp", address, 2*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := io.WriteString(conn, "GET /cgi-bin/whoami HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		answer, err = io.ReadAll(conn)
		return err
	})
	_, body, found := bytes.Cut(answer, []byte("\r\n\r\n"))
	if err == nil && !found {
		err = fmt.Errorf("ask %s: no answer of a web server: %q", address, answer)
	}
	return string(body), err
}

// answers fails unless the server at host:port says soon what is wanted.
func (n *node) answers(from place, address, want string) {
	n.Helper()
	n.eventually(func() error {
		got, err := ask(from, address)
		if err == nil && got != want {
			err = fmt.Errorf("ask %s: %q, want %q", address, got, want)
		}
		return err
	})
}

// closed fails if someone answers at host:port.
func (n *node) closed(from place, address string) {
	n.Helper()
	if got, err := ask(from, address); err == nil {
		n.Errorf("ask %s: %q, want nobody to answer", address, got)
	}
}

// listenOutside starts a web server on the neighbour's port 80 that answers as
// containers' do.
func (n *node) listenOutside() {
	n.Helper()
	n.listen(n.outside, outsideAddr+":80", "outside")
}

// listen starts a web server that answers as those of containers do.
func (n *node) listen(where place, address, name string) {
	n.Helper()
	var listener net.Listener
	n.must(within(where, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s asked by %s", name, from)
	})}
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	n.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			n.Error(err)
		}
	})
}

func within(where place, do func() error) error {
	if where == nil {
		return do()
	}
	return where.NS.Do(do)
}

// url is what a container asks.
func url(address string) string { return "http://" + address + "/cgi-bin/whoami" }
