package hostdevice

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
)

// arrival bounds the wait for a device whose namespace has ended: the kernel clears up
// namespaces in the background.
const arrival = time.Second

// Return brings back what was lent to the attachment, by this plugin or the reference's.
func (p *Config) Return(ctx context.Context, h *plugin.Host, r *cni.Request) error {
	links, err := h.Links()
	if err != nil {
		return err
	}
	b := bookOf(h)
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	w := homecoming{book: b, host: links, sys: p.sys, mark: plugin.Mark(r.Tag()), patience: arrival}
	w.loan, err = b.read(w.mark)
	if err != nil && !errors.Is(err, state.ErrUnreadable) { // of that one, the device itself tells its name
		return err
	}
	return w.run(ctx, r.NetNS, r.IfName)
}

// Retain brings back what is lent to attachments of the network that are not valid.
func (p *Config) Retain(ctx context.Context, h *plugin.Host, network string, valid []cni.Tag) error {
	links, err := h.Links()
	if err != nil {
		return err
	}
	b := bookOf(h)
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	loans, err := b.list()
	errs := []error{err, state.Sweep(b.dir)}
	for _, n := range loans {
		if n.Tag.In(network) && !slices.Contains(valid, n.Tag) {
			w := homecoming{book: b, host: links, sys: p.sys, mark: n.mark(), loan: n}
			errs = append(errs, w.run(ctx, "", ""))
		}
	}
	return errors.Join(errs...)
}

// A homecoming is the way back of one device.
type homecoming struct {
	book     *book
	host     *link.Handle
	sys      sysfs
	mark     string
	loan     *loan         // nil: nothing is written of it
	patience time.Duration // for its arrival, if its namespace has ended
}

// run looks for the device in the pod, where it was lent to, and on the host, where it
// is if the pod has ended. A virtual device that is nowhere has ended with the pod;
// of a physical one the loan is kept, as it may only be out of sight, unless it never left.
func (w *homecoming) run(ctx context.Context, pod, ifname string) error {
	lent := ""
	if w.loan != nil {
		lent = w.loan.NetNS
	}
	for _, path := range slices.Compact([]string{pod, lent}) {
		opened, found, err := w.fromPath(path, ifname)
		if err != nil || found {
			return err
		}
		if opened {
			w.patience = 0
		}
		ifname = "" // it is the name in the first
	}
	l, err := w.arrived(ctx)
	switch {
	case err == nil:
		return w.book.settle(w.host, l, w.mark)
	case !link.Missing(err):
		return err
	case w.loan != nil && w.loan.Physical && !w.loan.atHome(w.host, w.sys):
		return nil
	}
	return w.book.remove(w.mark)
}

// arrived returns the device on the host.
func (w *homecoming) arrived(ctx context.Context) (link.Link, error) {
	if w.loan != nil && w.loan.Physical {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.patience)
		defer cancel()
	} else {
		w.patience = 0
	}
	for {
		l, err := w.host.ByName(w.mark)
		if !link.Missing(err) || w.patience == 0 {
			return l, err
		}
		select {
		case <-ctx.Done():
			return l, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// fromPath is from for a namespace that may be gone.
func (w *homecoming) fromPath(path, ifname string) (opened, found bool, err error) {
	opened, err = inside(path, func(pod *link.Handle) (err error) {
		found, err = w.from(pod, ifname)
		return err
	})
	return opened, found, err
}

// inside calls do with the links of the namespace, if that is there still.
func inside(path string, do func(pod *link.Handle) error) (opened bool, err error) {
	if path == "" {
		return false, nil
	}
	ns, err := netns.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer ns.Close()
	pod, err := link.In(ns)
	if err != nil {
		return false, err
	}
	defer pod.Close()
	return true, do(pod)
}

// from brings the device back if it is in the pod, whatever it is called there. One that
// the reference plugin lent is told by its name and alias.
func (w *homecoming) from(pod *link.Handle, ifname string) (found bool, err error) {
	l, err := pod.ByName(w.mark)
	if err == nil {
		return true, w.bring(pod, l)
	}
	if !link.Missing(err) || ifname == "" || w.loan != nil {
		return false, ignoreMissing(err)
	}
	l, err = pod.ByName(ifname)
	if err != nil || !isName(l.Alias) {
		return false, ignoreMissing(err)
	}
	names, err := pod.AltNames(l)
	if err != nil || slices.ContainsFunc(names, plugin.IsMark) { // lent to another attachment
		return false, ignoreMissing(err)
	}
	return true, w.move(pod, l, link.Move{Name: l.Alias})
}

// bring moves the device to the host and makes it as it was.
func (w *homecoming) bring(pod *link.Handle, l link.Link) error {
	name := l.Alias
	if w.loan != nil {
		name = w.loan.Name
	}
	if !isName(name) {
		return fmt.Errorf("return %s: its alias %q, which should be its name on the host, cannot be one: ip link set %s alias NAME, in the pod", l.Name, name, l.Name)
	}
	// The alias stays until it is settled: it says that this is still to be done.
	if err := w.move(pod, l, link.Move{Name: name, Alias: name}); err != nil {
		return err
	}
	l, err := w.host.ByName(name)
	if err != nil {
		return err
	}
	return w.book.settle(w.host, l, w.mark)
}

// move renames the device before it moves, so that nobody on the host, where another
// link may have the name that it has in the pod, sees it under that.
func (w *homecoming) move(pod *link.Handle, l link.Link, m link.Move) error {
	m.To = w.host
	if l.Up {
		if err := pod.Set(l, link.Change{Down: true}); err != nil {
			return err
		}
	}
	renamed := pod.Rename(l, m.Name)
	if renamed != nil && !errors.Is(renamed, fs.ErrExist) {
		return renamed
	}
	err := pod.Move(l, m)
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("return %s to the host: another link there is called %s: rename that, and repeat: %w", l.Name, m.Name, err)
	}
	if renamed == nil {
		err = errors.Join(err, pod.Rename(l, l.Name)) // so that it is found again
	}
	return err
}

// settleStrays settles the loans that match whose devices are on the host.
func (b *book) settleStrays(host *link.Handle, match func(*loan) bool) error {
	loans, _ := b.list()
	for _, n := range loans {
		if !match(n) {
			continue
		}
		l, err := host.ByName(n.mark())
		if err == nil {
			err = b.settle(host, l, n.mark())
		}
		if !link.Missing(err) && err != nil {
			return err
		}
	}
	return nil
}

// settle makes a device that is back on the host as it was, and ends the loan. If it
// has another alias than what is lent has, then it never left, or the reference plugin
// brought it back, and the host may have set it up anew: it is only unmarked.
func (b *book) settle(host *link.Handle, l link.Link, mark string) error {
	n, err := b.read(mark)
	if err != nil && !errors.Is(err, state.ErrUnreadable) {
		return err
	}
	if n == nil {
		n = &loan{Name: l.Alias, MTU: l.MTU, Up: l.Up, MAC: l.MAC.String()}
	}
	if l.Alias == n.Name && isName(n.Name) {
		if err := n.restore(host, l); err != nil {
			return fmt.Errorf("restore device %s: %w", n.Name, err)
		}
	}
	if err := host.DeleteAltName(l, mark); err != nil {
		return err
	}
	return b.remove(mark)
}

// restore makes the device what it was, its alias last.
func (n *loan) restore(host *link.Handle, l link.Link) error {
	if l.Up {
		if err := host.Set(l, link.Change{Down: true}); err != nil {
			return err
		}
		l.Up = false
	}
	if l.Name != n.Name {
		if err := host.Rename(l, n.Name); err != nil {
			return err
		}
		l.Name = n.Name
	}
	if err := host.Set(l, n.change(l)); err != nil {
		return err
	}
	for _, a := range n.Addresses {
		err := host.RestoreAddr(l, a)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if n.Alias == "" {
		return host.ClearAlias(l)
	}
	return host.Set(l, link.Change{Alias: n.Alias})
}

// isName reports whether an alias can be the name of a device that was lent: that of
// what Seam made cannot.
func isName(alias string) bool {
	return alias != "" && cni.CheckIfName(alias) == nil && !strings.HasPrefix(alias, plugin.Alias(""))
}

func ignoreMissing(err error) error {
	if link.Missing(err) {
		return nil
	}
	return err
}
