package engine

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"

	"github.com/seamnet/seam/cnm"
)

// A Container is what an engine says of one.
type Container struct {
	ID       string
	Name     string // what people call it; without the "/" of the API
	Labels   map[string]string
	Networks map[cnm.NetworkID]string // those that it is on by now, and their names
	Wanted   int                      // how many it is to be on: when it starts it joins one after another
	Running  bool                     // it has started, and joins a further one
}

type containerForm struct {
	ID              string `json:"Id"`
	Names           []string
	Labels          map[string]string
	State           string
	NetworkSettings struct {
		Networks map[string]struct{ NetworkID string }
	}
}

// Container returns the container that an endpoint is of. That is known from Join on; where
// the engine knows no such endpoint, or no container of its, the error matches
// fs.ErrNotExist.
func (c *Client) Container(ctx context.Context, network cnm.NetworkID, endpoint cnm.EndpointID) (*Container, error) {
	ctx, done := c.bounded(ctx)
	defer done()
	n, err := c.network(ctx, string(network))
	if err != nil {
		return nil, err
	}
	id, e, ok := n.endpoint(endpoint)
	if !ok {
		return nil, fmt.Errorf("network %s: endpoint %s: %w", network, endpoint, fs.ErrNotExist)
	}
	list, err := c.containers(ctx, id, e.Name)
	if err != nil {
		return nil, err
	}
	for _, form := range list {
		if form.ID == id || id == "" && slices.Contains(form.Names, "/"+e.Name) {
			c := form.container(e.Name)
			c.Networks[network] = n.Name // which engines before 28 do not list until the container runs
			return c, nil
		}
	}
	return nil, fmt.Errorf("container %s of endpoint %s: %w", e.Name, endpoint, fs.ErrNotExist)
}

// containers lists those that may be the one with that ID or, if it is empty, that name.
func (c *Client) containers(ctx context.Context, id, name string) ([]containerForm, error) {
	query := filters("name", "^/"+regexp.QuoteMeta(name)+"$")
	if id != "" {
		query = filters("id", id)
	}
	query.Set("all", "1")
	var list []containerForm
	if err := c.get(ctx, "/containers/json", query, &list); err != nil {
		return nil, fmt.Errorf("container %s: %w", name, err)
	}
	return list, nil
}

func (f *containerForm) container(name string) *Container {
	on := make(map[cnm.NetworkID]string)
	for name, n := range f.NetworkSettings.Networks {
		if n.NetworkID != "" {
			on[cnm.NetworkID(n.NetworkID)] = name
		}
	}
	return &Container{
		ID: f.ID, Name: name, Labels: f.Labels, Networks: on, Wanted: len(f.NetworkSettings.Networks),
		Running: f.State == "running" || f.State == "paused",
	}
}
