package wire

import (
	"context"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cnm"
)

// A fake is a driver that does what hear says. What hear returns is the verb's value.
type fake struct {
	hear func(ctx context.Context, verb string, asked any) (any, error)
}

// A ref is what the verbs of two arguments are asked.
type ref struct{ Network, Endpoint any }

func say[T any](ctx context.Context, f *fake, verb string, asked any) (T, error) {
	v, err := f.hear(ctx, verb, asked)
	t, _ := v.(T)
	return t, err
}

func (f *fake) Capabilities(ctx context.Context) (cnm.Capabilities, error) {
	return say[cnm.Capabilities](ctx, f, "Capabilities", nil)
}

func (f *fake) CreateNetwork(ctx context.Context, n *cnm.Network) error {
	_, err := f.hear(ctx, "CreateNetwork", n)
	return err
}

func (f *fake) DeleteNetwork(ctx context.Context, id cnm.NetworkID) error {
	_, err := f.hear(ctx, "DeleteNetwork", id)
	return err
}

func (f *fake) CreateEndpoint(ctx context.Context, e *cnm.Endpoint) (*cnm.Interface, error) {
	return say[*cnm.Interface](ctx, f, "CreateEndpoint", e)
}

func (f *fake) DeleteEndpoint(ctx context.Context, n cnm.NetworkID, id cnm.EndpointID) error {
	_, err := f.hear(ctx, "DeleteEndpoint", ref{n, id})
	return err
}

func (f *fake) Join(ctx context.Context, j *cnm.Join) (*cnm.Joined, error) {
	return say[*cnm.Joined](ctx, f, "Join", j)
}

func (f *fake) Leave(ctx context.Context, n cnm.NetworkID, id cnm.EndpointID) error {
	_, err := f.hear(ctx, "Leave", ref{n, id})
	return err
}

func (f *fake) EndpointInfo(ctx context.Context, n cnm.NetworkID, id cnm.EndpointID) (map[string]any, error) {
	return say[map[string]any](ctx, f, "EndpointInfo", ref{n, id})
}

func (f *fake) IPAMCapabilities(ctx context.Context) (cnm.IPAMCapabilities, error) {
	return say[cnm.IPAMCapabilities](ctx, f, "IPAMCapabilities", nil)
}

func (f *fake) RequestPool(ctx context.Context, r *cnm.PoolRequest) (*cnm.Pool, error) {
	return say[*cnm.Pool](ctx, f, "RequestPool", r)
}

func (f *fake) ReleasePool(ctx context.Context, id cnm.PoolID) error {
	_, err := f.hear(ctx, "ReleasePool", id)
	return err
}

func (f *fake) RequestAddress(ctx context.Context, r *cnm.AddressRequest) (netip.Prefix, error) {
	return say[netip.Prefix](ctx, f, "RequestAddress", r)
}

func (f *fake) ReleaseAddress(ctx context.Context, pool cnm.PoolID, addr netip.Addr) error {
	_, err := f.hear(ctx, "ReleaseAddress", ref{pool, addr})
	return err
}

// A fakeGateway is a fake that is told of the default route.
type fakeGateway struct{ *fake }

func (f fakeGateway) Program(ctx context.Context, j *cnm.Join) error {
	_, err := f.hear(ctx, "Program", j)
	return err
}

func (f fakeGateway) Revoke(ctx context.Context, n cnm.NetworkID, id cnm.EndpointID) error {
	_, err := f.hear(ctx, "Revoke", ref{n, id})
	return err
}

// hearing returns a fake that does what hear says, as all that a driver can be.
func hearing(hear func(ctx context.Context, verb string, asked any) (any, error)) fakeGateway {
	return fakeGateway{&fake{hear}}
}

// serving serves s in a folder of its own until the test ends and returns the folder.
// The driver's name is "fake".
func serving(t *testing.T, s *Server) Dirs {
	t.Helper()
	dirs := Dirs{Sockets: t.TempDir()}
	l, err := Listen(filepath.Join(dirs.Sockets, "fake.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve does not end")
		}
	})
	return dirs
}

// find returns a Client for "fake".
func find(t *testing.T, dirs Dirs) *Client {
	t.Helper()
	c, err := Find("fake", dirs)
	if err != nil {
		t.Fatal(err)
	}
	c.Timeout = 10 * time.Second
	return c
}

// byValue has cmp take addresses for what they are.
func byValue() cmp.Options {
	return cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
}
