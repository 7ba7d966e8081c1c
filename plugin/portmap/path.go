package portmap

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
	"golang.org/x/sys/unix"
)

// A path is what must be set on the host's links towards the pod, so that a hairpin
// passes them.
type path struct {
	links *link.Handle

	// localnet lets 127.0.0.1 be a source on that link. Seam's firewall keeps the
	// host's 127.0.0.1 closed to the pods at the same time.
	localnet link.Sysctl

	// port must send frames back where they came from: with br_netfilter, a
	// translated packet is not routed by the host but bridged, and the bridge would
	// drop the one that a pod sent to itself.
	port link.Link
}

// findPath looks from the hairpins' addresses; without a hairpin nothing is needed.
func findPath(h *plugin.Host, r *cni.Request, elements []nft.Element) (p path, err error) {
	p.links, err = h.Links()
	if err != nil {
		return p, err
	}
	for _, e := range elements {
		pin, ok := e.(nft.Hairpin)
		if !ok {
			continue
		}
		toPod, err := p.links.LinkTo(pin.To)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
			continue // the host does not reach the pod, and so no hairpin does
		}
		if err != nil {
			return p, err
		}
		if pin.To.Is4() {
			p.localnet = link.Sysctl("ipv4/conf/" + toPod.Name + "/route_localnet")
		}
		if p.port.Index == 0 && filtersBridged(pin.To.Is4()) {
			if p.port, err = hostPort(p.links, r.Prev, toPod); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// filtersBridged reports whether br_netfilter shows bridged packets to the firewall.
func filtersBridged(v4 bool) bool {
	s := link.Sysctl("bridge/bridge-nf-call-ip6tables")
	if v4 {
		s = "bridge/bridge-nf-call-iptables"
	}
	value, err := s.Get()
	return err == nil && value != "0"
}

// hostPort returns the host's interface of the result that is a port of bridge, the
// zero Link if there is none.
func hostPort(links *link.Handle, result *cni.Result, bridge link.Link) (link.Link, error) {
	for _, i := range result.Interfaces {
		if i.Sandbox != "" || i.Name == bridge.Name {
			continue
		}
		l, err := links.ByName(i.Name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return link.Link{}, err
		}
		if err == nil && l.Master == bridge.Index {
			return l, nil
		}
	}
	return link.Link{}, nil
}

func (p path) open() error {
	var errs []error
	if p.localnet != "" {
		errs = append(errs, p.localnet.Set("1"))
	}
	if p.port.Index != 0 {
		errs = append(errs, p.links.SetHairpin(p.port))
	}
	return errors.Join(errs...)
}

func (p path) check() error {
	var errs []error
	if p.localnet != "" {
		value, err := p.localnet.Get()
		if err == nil && value != "1" {
			err = fmt.Errorf("sysctl %s is %s, not 1: the host's 127.0.0.1 does not reach the pod", p.localnet, value)
		}
		errs = append(errs, err)
	}
	if p.port.Index != 0 {
		hairpin, _, err := p.links.Port(p.port)
		if err == nil && !hairpin {
			err = fmt.Errorf("bridge port %s: hairpin mode is off: the pod does not reach its own host ports", p.port.Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
