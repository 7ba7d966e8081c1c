package dhcp

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/seamnet/seam/cni"
)

// A keeper has one lease renewed. The lease is its alone until it is stopped.
type keeper struct {
	lease *lease
	stop  context.CancelFunc
	done  chan struct{}
	ended bool // by itself: there is no lease any more. Set before done is closed
}

// keep starts a keeper of the lease.
func (d *Daemon) keep(l *lease) {
	ctx, stop := context.WithCancel(d.keeping)
	k := &keeper{lease: l, stop: stop, done: make(chan struct{})}
	d.mu.Lock()
	d.keepers[l.Tag()] = k
	d.mu.Unlock()
	d.work.Go(func() {
		defer close(k.done)
		defer stop()
		err := d.maintain(ctx, l)
		if ctx.Err() != nil {
			return
		}
		k.ended = true
		if err := d.lose(l, err); err != nil {
			d.Log.Warn("forget", "lease", l, "err", err)
		}
		d.mu.Lock()
		if d.keepers[l.Tag()] == k {
			delete(d.keepers, l.Tag())
		}
		d.mu.Unlock()
	})
}

// stop ends the keeper of the attachment and returns the lease, nil if there is none.
func (d *Daemon) stop(tag cni.Tag) *lease {
	d.mu.Lock()
	k := d.keepers[tag]
	delete(d.keepers, tag)
	d.mu.Unlock()
	if k == nil {
		return nil
	}
	k.stop()
	<-k.done
	if k.ended {
		return nil
	}
	return k.lease
}

// maintain has the lease renewed in time, until ctx or the lease ends. The error says
// why the lease ended.
func (d *Daemon) maintain(ctx context.Context, l *lease) error {
	renew, _, _ := l.times()
	pauses := backoff{max: d.ResendMax}
	for sleep(ctx, time.Until(renew)) {
		err := d.client().extend(ctx, l, d.Timeout)
		if err != nil && ctx.Err() != nil {
			break
		}
		_, _, end := l.times()
		switch {
		case err == nil:
			renew, _, _ = l.times()
			pauses = backoff{max: d.ResendMax}
			d.Log.Info("renewed", "lease", l, "until", end)
			if err := d.book.save(l); err != nil {
				d.Log.Warn("write down", "lease", l, "err", err)
			}
		case d.over(err) || !time.Now().Before(end):
			return err
		default:
			renew = time.Now().Add(min(pauses.next(), time.Until(end)))
			d.Log.Warn("renew", "lease", l, "err", err, "again", renew, "until", end)
		}
	}
	return context.Cause(ctx)
}

// over reports whether an error of asking for more time ends the lease at once.
func (d *Daemon) over(err error) bool {
	return errors.Is(err, errLost) || errors.Is(err, fs.ErrNotExist)
}

// lose forgets a lease that ended against its holder's will. The link is set down, as
// its address may be another's from now on.
func (d *Daemon) lose(l *lease, why error) error {
	if errors.Is(why, fs.ErrNotExist) {
		d.Log.Info("ended with its link", "lease", l, "err", why)
		return d.book.remove(l.Tag())
	}
	d.Log.Error("ended: link is set down", "lease", l, "link", l.IfName, "netns", l.NetNS, "err", why)
	return errors.Join(d.client().setDown(l), d.book.remove(l.Tag()))
}

// sleep reports whether the time went by before ctx ended.
func sleep(ctx context.Context, t time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(t):
		return true
	}
}

// A backoff yields the pauses between attempts, give or take a second: a few short
// ones, then growing ones (RFC 2131, section 4.1).
type backoff struct {
	max   time.Duration
	count int
}

const (
	shortPauses = 4
	shortPause  = 2 * time.Second
	firstPause  = 4 * time.Second
)

func (b *backoff) next() time.Duration {
	pause := shortPause
	if b.count >= shortPauses {
		pause = min(firstPause<<min(b.count-shortPauses, 16), b.max)
	}
	b.count++
	return pause + rand.N(2*time.Second) - time.Second
}
