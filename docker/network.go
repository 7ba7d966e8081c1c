package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/state"
)

// A network is one of Docker's: which chain its endpoints get.
type network struct {
	Asked   cnm.Network `json:"asked"`
	Created time.Time   `json:"created"`

	// Conflist is the chain of a network that has no file among the host's: given with
	// the options, or made of them. Empty: the file of the network that they name.
	Conflist []byte `json:"conflist,omitempty"`

	// Bridge is the bridge that goes with the network, because it was made for it.
	Bridge string `json:"bridge,omitempty"`

	// Guest is what was done to the bridge of a network that others are on.
	Guest *guest `json:"guest,omitempty"`

	// Seen says that the engine has told of the network. One that it never told of may be
	// another engine's, and is not this driver's to call stale.
	Seen bool `json:"seen,omitempty"`
}

func (n *network) id() string { return string(n.Asked.ID) }

// options are what the network was created with.
func (n *network) options() (*options, error) { return parseOptions(n.Asked.Options) }

// CreateNetwork makes the network: it finds, takes or makes the chain, and sees that it
// could run. Nothing of it is in the kernel before the first endpoint.
func (d *Driver) CreateNetwork(ctx context.Context, asked *cnm.Network) error {
	d.refused.took()
	release, err := d.networks.hold(ctx, string(asked.ID))
	if err != nil {
		return err
	}
	defer release()
	if have := d.networks.get(string(asked.ID)); have != nil && reflect.DeepEqual(have.Asked, *asked) {
		return nil // asked again, as after a connection that broke
	}
	n, chain, err := d.compose(asked)
	if err != nil {
		return err
	}
	if err := d.conf.Runtime.Validate(ctx, chain); err != nil {
		return err
	}
	if err := d.networks.put(n.id(), n); err != nil {
		return err
	}
	return state.Sync(d.networks.file(n.id()))
}

// compose returns the network and its chain.
func (d *Driver) compose(asked *cnm.Network) (*network, *seam.Network, error) {
	o, err := parseOptions(asked.Options)
	if err != nil {
		return nil, nil, err
	}
	n := &network{Asked: *asked, Created: time.Now()}
	switch {
	case o.Network != "":
	case len(o.Conflist) > 0:
		n.Conflist = o.Conflist
	default:
		if n.Conflist, err = generate(asked, o); err != nil {
			return nil, nil, err
		}
		if n.Bridge, err = d.ownBridge(n.Conflist); err != nil {
			return nil, nil, err
		}
	}
	chain, err := d.chain(n)
	if err != nil {
		return nil, nil, err
	}
	if _, _, err := o.Defaults.Express(chain); err != nil {
		return nil, nil, explain(err)
	}
	return n, chain, nil
}

// isGenerated reports whether the chain is made of options.
func (n *network) isGenerated() bool {
	return len(n.Conflist) > 0 && n.Asked.Options[optionConflist] == ""
}

// ownBridge returns the bridge that a chain will make, which goes with the network; empty
// if it makes none, or has found one.
func (d *Driver) ownBridge(conflist []byte) (string, error) {
	name := bridgeOf(conflist)
	if name == "" {
		return "", nil
	}
	switch _, err := d.host.ByName(name); {
	case errors.Is(err, fs.ErrNotExist):
		return name, nil
	default:
		return "", err
	}
}

// chain returns the CNI network of a Docker network as it is now: files may change.
func (d *Driver) chain(n *network) (*seam.Network, error) {
	if len(n.Conflist) > 0 {
		chain, err := seam.Parse(n.Conflist, "")
		if err == nil {
			chain.File = "the options of the Docker network (-o)"
		}
		return chain, err
	}
	name := n.Asked.Options[optionNetwork]
	chain, err := seam.Load(d.conf.ConfDir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: -o %s names a network of %s (seam ls lists them)", err, optionNetwork, filepath.Clean(d.conf.ConfDir))
	}
	return chain, err
}

// DeleteNetwork removes the network and what is left of it: endpoints that the engine has
// forgotten, and the bridge that was made for it.
func (d *Driver) DeleteNetwork(ctx context.Context, id cnm.NetworkID) error {
	// First, as who joins an endpoint may want the network.
	var errs []error
	for _, e := range d.endpoints.all() {
		if e.Asked.Network == id {
			errs = append(errs, d.DeleteEndpoint(ctx, id, e.Asked.ID))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err // the network stays known: who collects tries again
	}
	release, err := d.networks.hold(ctx, string(id))
	if err != nil {
		return err
	}
	defer release()
	n := d.networks.get(string(id))
	if n == nil {
		return nil
	}
	if n.Guest != nil {
		if err := d.farewell(n.Guest); err != nil {
			return err
		}
	}
	if err := d.clear(ctx, n); err != nil {
		return err
	}
	return d.networks.remove(string(id))
}

// clear removes what plugins keep for a network that is Docker's alone.
func (d *Driver) clear(ctx context.Context, n *network) error {
	if len(n.Conflist) == 0 {
		return nil // others use the chain, too
	}
	chain, err := d.chain(n)
	if err != nil {
		return err
	}
	if n.Bridge != "" {
		if err := d.host.Delete(n.Bridge); err != nil && !link.Missing(err) {
			return err
		}
	}
	return d.conf.Runtime.CollectDead(ctx, chain) // what lets the bridge's traffic pass goes after it
}

// known returns the network, or says that it is not.
func (d *Driver) known(id cnm.NetworkID) (*network, error) {
	if n := d.networks.get(string(id)); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("network %s is unknown to driver %s: %s holds nothing of it; remove the network and create it again",
		short(string(id)), d.conf.Name, d.networks.dir)
}

// short is how Docker shortens an ID for people.
func short(id string) string { return id[:min(12, len(id))] }
