package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

var (
	// ErrNoDriver is of a driver that is not there, does not listen, or is not of the
	// kind that is asked for.
	ErrNoDriver = errors.New("no such driver")

	// ErrNoMethod is of a method that the driver does not have. Some are optional.
	ErrNoMethod = errors.New("driver has no such method")
)

// A Client is a driver behind a socket; see Find. It is a cnm.Driver with
// cnm.Connectivity and a cnm.IPAM, whichever the driver implements. Its methods may be
// called at the same time. Nothing stays open between calls.
//
// Its errors say "driver NAME: METHOD: text", the text being the driver's own if it
// answered. They are ErrNoDriver and ErrNoMethod where these say so, and
// context.DeadlineExceeded if the driver was too slow: what it did is unknown then.
type Client struct {
	// Timeout is of one call; 0: 30 s.
	Timeout time.Duration

	name    string
	address string // as found, for messages
	base    string // URL
	http    *http.Client

	activating chan struct{} // has one element while somebody activates
	kinds      []string      // that the driver implements; nil: not activated. Guarded by activating
}

func newClient(name, address string, config *tls.Config) (*Client, error) {
	network, target, base, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, target)
		},
		TLSClientConfig: config,
		// A driver that starts again between two calls closes what was kept, and one that
		// is closed while it is used would leave a call of which nobody knows the end.
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: bodyLimit,
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		name: name, address: address, base: base,
		http:       &http.Client{Transport: transport, CheckRedirect: stay},
		activating: make(chan struct{}, 1),
	}, nil
}

// Implements returns what the driver says that it is: "NetworkDriver", "IpamDriver",
// perhaps others. It asks the driver the first time.
func (c *Client) Implements(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	kinds, err := c.activate(ctx)
	if err != nil {
		return nil, fmt.Errorf("driver %s: Plugin.Activate: %w", c.name, err)
	}
	return slices.Clone(kinds), nil
}

// activate asks once, and again if that went wrong. Drivers may refuse other methods
// before it.
func (c *Client) activate(ctx context.Context) ([]string, error) {
	select {
	case c.activating <- struct{}{}:
		defer func() { <-c.activating }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.kinds != nil {
		return c.kinds, nil
	}
	var answer activation
	if err := c.post(ctx, "Plugin.Activate", nil, &answer); err != nil {
		return nil, err
	}
	c.kinds = append([]string{}, answer.Implements...)
	return c.kinds, nil
}

// call asks and decodes the answer into one. request nil: there is nothing to say.
func (c *Client) call(ctx context.Context, method string, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	kinds, err := c.activate(ctx)
	if err != nil {
		return fmt.Errorf("driver %s: Plugin.Activate: %w", c.name, err)
	}
	kind, _, _ := strings.Cut(method, ".")
	if !slices.Contains(kinds, kind) {
		return fmt.Errorf("driver %s: %s: the driver implements %q: %w", c.name, method, kinds, ErrNoDriver)
	}
	if err := c.post(ctx, method, request, answer); err != nil {
		return fmt.Errorf("driver %s: %s: %w", c.name, method, err)
	}
	return nil
}

func (c *Client) post(ctx context.Context, method string, request, answer any) error {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Accept", contentType)
	r.Header.Set("Content-Type", contentType)
	response, err := c.http.Do(r)
	if err != nil {
		return c.unreached(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit+1))
	switch {
	case err != nil:
		return fmt.Errorf("answer: %w", err)
	case len(data) > bodyLimit:
		return fmt.Errorf("answer is longer than %d bytes", bodyLimit)
	}
	return parseAnswer(response.StatusCode, data, answer)
}

// unreached says of a driver that could not be called what to do about it.
func (c *Client) unreached(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("nothing answers at %s; is the driver running? %w (%w)", c.address, ErrNoDriver, op.Err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// parseAnswer decodes the answer, unless it is an error in one of the forms that
// engines know.
func parseAnswer(status int, data []byte, answer any) error {
	var form refusalForm
	decodeErr := json.Unmarshal(data, &form)
	text := form.Err
	if text == "" {
		text = form.Error
	}
	switch {
	case status == http.StatusOK && decodeErr != nil:
		return fmt.Errorf("answer: %w", decodeErr)
	case status == http.StatusOK && text != "":
		return errors.New(text)
	case status == http.StatusOK:
		if err := json.Unmarshal(data, answer); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		return nil
	}
	if text == "" {
		text = plainText(data)
	}
	if text == "" {
		text = "status " + http.StatusText(status)
	}
	if status == http.StatusNotFound {
		return fmt.Errorf("%s: %w", text, ErrNoMethod)
	}
	return errors.New(text)
}

// plainText returns what a person can read of an answer that is no JSON.
func plainText(data []byte) string {
	const most = 1000
	text := strings.ToValidUTF8(string(data[:min(len(data), most)]), "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return -1
		}
		return r
	}, text))
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return callTimeout
}
