package firewall

import (
	"context"
	"errors"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
)

// nftables is the back end that executes nothing: the link's forwarding is admitted
// where a policy drops it, and the walls are elements of Seam's own tables.
type nftables struct {
	host  *plugin.Host
	books books
}

func (n *nftables) put(_ context.Context, rec *record) error {
	table, err := n.host.Table()
	if err != nil {
		return err
	}
	if rec.Forwards != "" {
		if err := table.AdmitForward(rec.Forwards); err != nil {
			return err
		}
	}
	if rec.Walls != NFTables {
		return nil
	}
	elements, err := n.isolation(rec)
	if err == nil && len(elements) > 0 {
		err = table.Put(nft.Owner{Tag: rec.Tag, Plugin: pluginType}, elements...)
	}
	if err != nil {
		return err
	}
	if _, err := n.books.join(n.wall(rec), rec.Tag); err != nil {
		return err
	}
	return n.setWall(table, rec)
}

// isolation is what keeps the pod from its neighbours on the bridge.
func (n *nftables) isolation(rec *record) ([]nft.Element, error) {
	if rec.Policy != Isolated {
		return nil, nil
	}
	if rec.Port != "" {
		return []nft.Element{nft.Isolation{Link: rec.Port}}, nil
	}
	links, err := n.host.Links()
	if err != nil {
		return nil, err
	}
	l, err := links.ByName(rec.Bridge)
	if err == nil && l.Kind == "bridge" {
		err = cni.Errorf(cni.CodeInvalidConfig, "firewall: ingressPolicy isolated: prevResult does not name the pod's port of bridge %s", rec.Bridge).
			WithDetails("put it after bridge, which lists bridge, port and interface")
	}
	return nil, err
}

func (n *nftables) wall(rec *record) wall { return rec.wall(string(NFTables)) }

// wallOf is the wall that the bridge is to have by the books: the stricter one.
func (n *nftables) wallOf(rec *record) []nft.Element {
	switch w := n.wall(rec); {
	case n.books.stands(w.under(Isolated)):
		return []nft.Element{nft.Wall{Link: rec.Bridge, Shut: true}}
	case n.books.stands(w.under(SameBridge)):
		return []nft.Element{nft.Wall{Link: rec.Bridge}}
	}
	return nil
}

func (n *nftables) setWall(table *nft.Table, rec *record) error {
	return table.Put(nft.WallOwner(rec.Bridge, pluginType), n.wallOf(rec)...)
}

func (n *nftables) check(_ context.Context, rec *record) error {
	table, err := n.host.Table()
	if err != nil {
		return err
	}
	var errs []error
	if rec.Forwards != "" {
		errs = append(errs, table.CheckForward(rec.Forwards))
	}
	if rec.Walls != NFTables {
		return errors.Join(errs...)
	}
	elements, err := n.isolation(rec)
	errs = append(errs, err)
	if len(elements) > 0 {
		errs = append(errs, table.Check(nft.Owner{Tag: rec.Tag, Plugin: pluginType}, elements...))
	}
	wall := n.wallOf(rec)
	if len(wall) == 0 {
		wall = []nft.Element{nft.Wall{Link: rec.Bridge, Shut: rec.Policy == Isolated}}
	}
	return errors.Join(append(errs, table.Check(nft.WallOwner(rec.Bridge, pluginType), wall...))...)
}

func (n *nftables) drop(_ context.Context, rec *record) error {
	table, err := n.host.Table()
	if err != nil {
		return err
	}
	var errs []error
	if rec.Forwards != "" && !rec.Shared { // a bridge's goes with the bridge
		errs = append(errs, table.RevokeForward(rec.Forwards))
	}
	if rec.Walls != NFTables {
		return errors.Join(errs...)
	}
	errs = append(errs, table.Drop(nft.Owner{Tag: rec.Tag, Plugin: pluginType}, nil))
	if _, err = n.books.leave(n.wall(rec), rec.Tag); err == nil {
		err = n.setWall(table, rec)
	}
	return errors.Join(append(errs, err)...)
}

func (n *nftables) available(context.Context) error {
	table, err := n.host.Table()
	if err != nil {
		return err
	}
	return table.Available()
}
