package span

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrTLS says that Post was to speak TLS, which programs that must start fast do not link.
var ErrTLS = errors.New("https is spoken by seamd only: name a collector on this node, http://HOST:PORT")

// Post sends the body of an export request (OTLP specification, "OTLP/HTTP") and reads the
// answer's status, until ctx ends. It is tried once.
func (s *Settings) Post(ctx context.Context, body []byte) error {
	if err := s.post(ctx, body); err != nil {
		return fmt.Errorf("collector %s: %w", s.Endpoint.Redacted(), err)
	}
	return nil
}

func (s *Settings) post(ctx context.Context, body []byte) error {
	if s.Endpoint.Scheme != "http" {
		return ErrTLS
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", hostPort(s.Endpoint))
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // ends reads and writes
	defer stop()
	_, err = conn.Write(append(s.head(len(body)), body...))
	// Who refuses may answer, and close, before all is written.
	if answer := readStatus(bufio.NewReader(conn)); err == nil || !errors.Is(answer, errNoAnswer) {
		err = answer
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// head returns the request up to its body.
func (s *Settings) head(length int) []byte {
	var b strings.Builder
	b.WriteString("POST " + s.Endpoint.RequestURI() + " HTTP/1.1\r\nHost: " + s.Endpoint.Host + "\r\nUser-Agent: seam\r\n")
	b.WriteString("Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(length) + "\r\nConnection: close\r\n")
	for _, h := range s.Headers {
		b.WriteString(h.Name + ": " + h.Value + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

var errNoAnswer = errors.New("no answer")

// readStatus returns an error unless the answer says that the request was taken.
func readStatus(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	protocol, status, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	if !strings.HasPrefix(protocol, "HTTP/1.") {
		return fmt.Errorf("answer: %.40q is no HTTP", line)
	}
	if !strings.HasPrefix(status, "2") {
		return fmt.Errorf("answer: %.80s", status)
	}
	return nil
}
