package drivers

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// mostPatience is what a call has. Engines wait without end.
	mostPatience = 20 * time.Second

	contentType = "application/vnd.docker.plugins.v1.2+json"
)

// newID returns an identifier as engines make them.
func newID() string {
	var id [32]byte
	rand.Read(id[:]) // which never fails
	return hex.EncodeToString(id[:])
}

// An answer is what a driver answered to one call.
type answer struct {
	Method string
	Status int
	Type   string // Content-Type
	Body   []byte
	Took   time.Duration
}

func (a *answer) String() string {
	return fmt.Sprintf("%s: status %d: %.400s", a.Method, a.Status, bytes.TrimSpace(a.Body))
}

// refusal returns what went wrong, as engines read it: nil if the answer is a success.
func (a *answer) refusal() error {
	var form struct{ Err, Error string }
	readable := json.Unmarshal(a.Body, &form) == nil
	text := form.Err
	if text == "" || strings.HasPrefix(a.Method, ipamKind) && a.Status == http.StatusOK {
		text = form.Error
	}
	switch {
	case a.Status == http.StatusOK && !readable:
		return fmt.Errorf("%v: is no JSON object", a)
	case a.Status == http.StatusOK && text == "":
		return nil
	case text == "":
		return errors.New(a.String())
	}
	return fmt.Errorf("%s: status %d: %s", a.Method, a.Status, text)
}

// socketOf returns where the method is called.
func (e *engine) socketOf(method string) string {
	sockets := e.sockets()
	if strings.HasPrefix(method, ipamKind) {
		return sockets[len(sockets)-1]
	}
	return sockets[0]
}

// do calls the method, which is to succeed, and decodes the answer into v, unless that is
// nil. The error says of which method it is.
func (e *engine) do(method string, request, v any) error {
	return e.ask(e.socketOf(method), method, request, v)
}

func (e *engine) ask(socket, method string, request, v any) error {
	body, err := encode(request)
	if err != nil {
		return err
	}
	a, err := e.post(socket, method, body)
	if err != nil {
		return err
	}
	if err := a.refusal(); err != nil {
		return err
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(a.Body, v); err != nil {
		return fmt.Errorf("%v: %w", a, err)
	}
	return nil
}

// call calls the method, and ends the check if there is no answer at all.
func (e *engine) call(method string, request any) *answer {
	body, err := encode(request)
	e.Must(err)
	return e.raw(method, body)
}

// raw is call with any body.
func (e *engine) raw(method string, body []byte) *answer {
	a, err := e.post(e.socketOf(method), method, body)
	if err != nil {
		e.Fatalf("%v", err)
	}
	return a
}

// encode returns nothing for nil, as engines do.
func encode(request any) ([]byte, error) {
	if request == nil {
		return nil, nil
	}
	return json.Marshal(request)
}

// post makes one call over a connection of its own. The error is of no answer.
func (e *engine) post(socket, method string, body []byte) (*answer, error) {
	client := clientOf(socket, false)
	defer client.CloseIdleConnections()
	return e.postBy(client, method, body)
}

// clientOf returns a client that keeps its connection, or has a new one for each call.
func clientOf(socket string, keeps bool) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: !keeps, DisableCompression: true, MaxConnsPerHost: 1,
	}}
}

func (e *engine) postBy(client *http.Client, method string, body []byte) (*answer, error) {
	ctx := e.Context()
	if ctx.Err() != nil { // what was made is to be removed all the same
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.patience, fmt.Errorf("no answer for %v", e.patience))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://driver/"+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", contentType)
	r.Header.Set("Content-Type", contentType)
	start := time.Now()
	response, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, errors.Join(context.Cause(ctx), err, e.dead()))
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: answer: %w", method, errors.Join(context.Cause(ctx), err, e.dead()))
	}
	return &answer{Method: method, Status: response.StatusCode, Type: response.Header.Get("Content-Type"), Body: data, Took: time.Since(start)}, nil
}
