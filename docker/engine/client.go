package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultHost is where an engine listens if it was not told otherwise.
const DefaultHost = "unix:///var/run/docker.sock"

// DefaultTimeout bounds a question, whatever its context allows.
const DefaultTimeout = 5 * time.Second

// ErrNoAnswer marks every error but one: of an engine that is not there, has no time, or
// says what cannot be understood. Nothing follows from it. The other is fs.ErrNotExist: the
// engine knows of no such thing.
var ErrNoAnswer = errors.New("no answer from the Docker engine")

// A Client asks one engine. It connects when it is asked something, so that it may be
// made before the engine runs; its methods may be called concurrently.
type Client struct {
	Timeout time.Duration // of a question; 0: DefaultTimeout. Set it before the first one

	base  string // of the addresses that are asked for
	http  *http.Client
	known atomic.Pointer[string] // the version
}

// New returns a client of the engine at unix://PATH or tcp://HOST:PORT, which is what
// DOCKER_HOST has. TLS is not supported.
func New(host string) (*Client, error) {
	scheme, address, _ := strings.Cut(host, "://")
	network := scheme
	switch {
	case scheme == "unix" && filepath.IsAbs(address):
	case scheme == "tcp":
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("engine %s: %w", host, err)
		}
	default:
		return nil, fmt.Errorf("engine %q: want unix://PATH or tcp://HOST:PORT", host)
	}
	var dialer net.Dialer
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     30 * time.Second,
	}
	name := "docker" // an engine on a socket wants some
	if network == "tcp" {
		name = address
	}
	return &Client{base: "http://" + name, http: &http.Client{Transport: transport}}, nil
}

// Close lets go of connections that are not in use. The client can be used again.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// bounded returns a context that ends when the time for one question is up.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := c.Timeout
	if limit <= 0 {
		limit = DefaultTimeout
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("none within %v", limit))
}

// get reads the answer at a path of the API into reply.
func (c *Client) get(ctx context.Context, path string, query url.Values, reply any) error {
	version, err := c.version(ctx)
	if err != nil {
		return err
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	response, err := c.send(ctx, version+path)
	if err != nil {
		c.known.Store(nil)
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	default: // a version that it does not serve, perhaps
		c.known.Store(nil)
		return fmt.Errorf("%w: %s: %s", ErrNoAnswer, path, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, longest)).Decode(reply); err != nil {
		return noAnswer(ctx, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4096)) // what is read to its end can be used again
	return nil
}

// longest is the size in bytes up to which an answer is read: a container in a list takes
// about 2 kB.
const longest = 64 << 20

// version returns the first part of all paths: an engine serves its own version of the
// API, and some older ones, but these differ from engine to engine. What it said is
// remembered until a question fails, as another engine may have taken its place.
func (c *Client) version(ctx context.Context) (string, error) {
	if known := c.known.Load(); known != nil {
		return *known, nil
	}
	response, err := c.send(ctx, "/_ping")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4096))
	said := response.Header.Get("Api-Version")
	if said == "" {
		return "", fmt.Errorf("%w: %s does not say its version", ErrNoAnswer, c.base)
	}
	version := "/v" + said
	c.known.Store(&version)
	return version, nil
}

func (c *Client) send(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, noAnswer(ctx, err)
	}
	return response, nil
}

// noAnswer says why there is none: if the time was up, who bounded it.
func noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	// Not its own error: that of a socket that is missing would match fs.ErrNotExist, which
	// is an engine's answer.
	return fmt.Errorf("%w: %v", ErrNoAnswer, err)
}

// LiveRestore reports whether the engine leaves containers running when it ends.
func (c *Client) LiveRestore(ctx context.Context) (bool, error) {
	ctx, done := c.bounded(ctx)
	defer done()
	var info struct{ LiveRestoreEnabled bool }
	if err := c.get(ctx, "/info", nil, &info); err != nil {
		return false, err
	}
	return info.LiveRestoreEnabled, nil
}
