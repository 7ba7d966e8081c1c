package dhcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/seamnet/seam/cni"
)

// Defaults of a Daemon's times: the reference's.
const (
	DefaultTimeout       = 10 * time.Second
	DefaultResendMax     = 62 * time.Second
	DefaultResendTimeout = 208 * time.Second
)

// A Daemon leases addresses for the plugin and keeps the leases. All but Prefix and
// Broadcast must be set before Serve.
type Daemon struct {
	Prefix        string        // before each namespace's path: where the host's root is mounted
	Broadcast     bool          // have servers broadcast their answers
	Timeout       time.Duration // for the answer to one message
	ResendMax     time.Duration // longest pause before asking again
	ResendTimeout time.Duration // after which leasing an address is given up
	Log           *slog.Logger

	book    *book
	keeping context.Context // ends with Serve
	work    sync.WaitGroup

	mu      sync.Mutex
	busy    map[cni.Tag]chan struct{} // closed when the attachment's turn ends
	keepers map[cni.Tag]*keeper
}

// Serve answers what is asked at l, which is bound to a path, and keeps the leases on
// record beside it, until ctx ends. It closes l. The leases stay: the next Serve goes
// on with them.
func (d *Daemon) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	socket := l.Addr().String()
	if !filepath.IsAbs(socket) {
		return fmt.Errorf("listen at %q: the leases are kept beside the socket, so it must have an absolute path", socket)
	}
	if _, err := os.Stat(d.Prefix + "/"); err != nil {
		return fmt.Errorf("host's root: %w", err)
	}
	var err error
	if d.book, err = openBook(bookOf(socket)); err != nil {
		return err
	}
	defer d.book.close()
	d.book.prefix = d.Prefix
	ctx, stop := context.WithCancel(ctx)
	d.keeping = ctx
	d.busy, d.keepers = make(map[cni.Tag]chan struct{}), make(map[cni.Tag]*keeper)
	defer d.work.Wait()
	defer stop()
	d.resume()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	d.Log.Info("ready", "socket", socket, "leases", len(d.keepers))
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		d.work.Go(func() { d.serve(conn) })
	}
}

// resume goes on with the leases on record. One that was only asked for is given back:
// who wanted it got no answer.
func (d *Daemon) resume() {
	leases, err := d.book.list()
	if err != nil {
		d.Log.Warn("leases on record", "err", err)
	}
	for _, l := range leases {
		if l.granted() {
			d.keep(l)
			continue
		}
		if err := d.end(l); err != nil {
			d.Log.Warn("give back", "lease", l, "err", err)
		}
	}
}

// questionTime bounds how long a caller may take to say what it wants, and to take
// the answer.
const questionTime = 5 * time.Second

func (d *Daemon) serve(conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(d.keeping)
	defer cancel()
	conn.SetDeadline(time.Now().Add(questionTime))
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	var q question
	a := answer{From: protocol}
	if err := json.NewDecoder(io.LimitReader(conn, longestMessage)).Decode(&q); err != nil {
		a.Error = cni.Errorf(cni.CodeDecoding, "Seam's DHCP daemon: not a question of its plugin: %w", err)
	} else {
		conn.SetDeadline(time.Time{})
		gone := make(chan struct{})
		go func() { // ends with the deadline that follows, at the latest
			defer close(gone)
			_, _ = io.Copy(io.Discard, conn)
			cancel()
		}()
		t, err := d.answer(ctx, q)
		a.Terms, a.Error = t, asError(err)
		conn.SetReadDeadline(time.Unix(1, 0))
		<-gone
	}
	conn.SetWriteDeadline(time.Now().Add(questionTime))
	if err := json.NewEncoder(conn).Encode(a); err != nil {
		d.Log.Warn("answer", "question", q.Do, "err", err)
	}
}

// asError keeps the code of an error that has one.
func asError(err error) *cni.Error {
	if err == nil {
		return nil
	}
	e := cni.Errorf(cni.CodeOf(err), "%w", err)
	if inner, ok := errors.AsType[*cni.Error](err); ok && inner.Details != "" {
		return inner
	}
	return e
}

func (d *Daemon) answer(ctx context.Context, q question) (*terms, error) {
	switch q.Do {
	case status:
		return nil, nil
	case add:
		return d.add(ctx, q)
	case check:
		return d.check(ctx, q)
	case del:
		return nil, d.del(ctx, q.Attachment)
	case gc:
		return nil, d.gc(ctx, q)
	}
	return nil, cni.Errorf(cni.CodeDecoding, "no question %q", q.Do)
}

// turn waits until nobody else works on the attachment. Done ends the turn.
func (d *Daemon) turn(ctx context.Context, tag cni.Tag) (done func(), err error) {
	mine := make(chan struct{})
	for {
		d.mu.Lock()
		other, taken := d.busy[tag]
		if !taken {
			d.busy[tag] = mine
		}
		d.mu.Unlock()
		if !taken {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return func() {
		d.mu.Lock()
		delete(d.busy, tag)
		d.mu.Unlock()
		close(mine)
	}, nil
}

func (d *Daemon) client() client { return client{d.Prefix, d.Broadcast, d.Timeout} }

// add leases an address. An attachment that has one keeps it, as with the reference,
// if it is the same link that asks.
func (d *Daemon) add(ctx context.Context, q question) (*terms, error) {
	done, err := d.turn(ctx, q.Tag())
	if err != nil {
		return nil, err
	}
	defer done()
	if old := d.stop(q.Tag()); old != nil {
		old.Options = q.Options
		if old.NetNS == q.NetNS {
			err := d.confirm(ctx, old)
			if err == nil {
				return d.hold(old)
			}
			if ctx.Err() != nil { // called off: nothing is known against the lease
				d.keep(old)
				return nil, err
			}
		}
		if err := d.end(old); err != nil {
			return nil, err
		}
	}
	l := &lease{Attachment: q.Attachment, NetNS: q.NetNS, Options: q.Options}
	if err = d.acquire(ctx, l); err == nil {
		err = ctx.Err() // who asked may be gone meanwhile
	}
	if err == nil {
		_, err = l.terms()
	}
	if err != nil {
		return nil, errors.Join(err, d.end(l))
	}
	return d.hold(l)
}

// acquire asks until a server grants an address or ResendTimeout is over.
func (d *Daemon) acquire(ctx context.Context, l *lease) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d.ResendTimeout, errNoAnswer)
	defer cancel()
	pauses := backoff{max: d.ResendMax}
	for {
		err := d.client().acquire(ctx, l, netip.Addr{}, func() error { return d.book.save(l) })
		if err == nil || ignoreMissing(err) == nil {
			return err
		}
		pause := pauses.next()
		d.Log.Warn("lease", "for", l.Tag(), "err", err, "again", pause)
		if !sleep(ctx, pause) {
			return fmt.Errorf("given up after %s: %w", d.ResendTimeout, err)
		}
	}
}

// hold writes the lease down and keeps it.
func (d *Daemon) hold(l *lease) (*terms, error) {
	t, err := l.terms()
	if err == nil {
		err = d.book.save(l)
	}
	d.keep(l)
	return t, err
}

// checkTime bounds the wait for a server when a lease is checked: that one is silent
// does not end the lease.
const checkTime = 2 * time.Second

// confirm asks for more time at once. That no server answers is no error.
func (d *Daemon) confirm(ctx context.Context, l *lease) error {
	err := d.client().extend(ctx, l, min(checkTime, d.Timeout))
	if _, _, end := l.times(); errors.Is(err, errNoAnswer) && time.Now().Before(end) {
		d.Log.Warn("renew", "lease", l, "err", err)
		return nil
	}
	return err
}

func (d *Daemon) check(ctx context.Context, q question) (*terms, error) {
	done, err := d.turn(ctx, q.Tag())
	if err != nil {
		return nil, err
	}
	defer done()
	l := d.stop(q.Tag())
	if l == nil {
		return d.adopt(ctx, q)
	}
	switch err := d.confirm(ctx, l); {
	case d.over(err):
		return nil, errors.Join(err, d.lose(l, err))
	case err != nil:
		d.keep(l)
		return nil, err
	}
	return d.hold(l)
}

// adopt leases anew what the pod's address is by the result.
func (d *Daemon) adopt(ctx context.Context, q question) (*terms, error) {
	if len(q.Addresses) == 0 {
		return nil, errors.New("no lease is held, and the result has no IPv4 address")
	}
	want := q.Addresses[0].Addr()
	l := &lease{Attachment: q.Attachment, NetNS: q.NetNS, Options: q.Options}
	err := d.client().acquire(ctx, l, want, func() error { return d.book.save(l) })
	if err == nil {
		_, err = l.terms()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("no lease is held, and %s cannot be leased again: %w", want, err), d.end(l))
	}
	d.Log.Info("taken up", "lease", l)
	return d.hold(l)
}

// del releases the attachment's lease. That it has none is no error.
func (d *Daemon) del(ctx context.Context, a cni.Attachment) error {
	done, err := d.turn(ctx, a.Tag())
	if err != nil {
		return err
	}
	defer done()
	if l := d.stop(a.Tag()); l != nil {
		return d.end(l)
	}
	return d.book.remove(a.Tag())
}

func (d *Daemon) gc(ctx context.Context, q question) error {
	var stale []cni.Attachment
	d.mu.Lock()
	for _, k := range d.keepers {
		if q.stale(k.lease.Attachment) {
			stale = append(stale, k.lease.Attachment)
		}
	}
	d.mu.Unlock()
	var errs []error
	for _, a := range stale {
		errs = append(errs, d.del(ctx, a))
	}
	return errors.Join(errs...)
}

// end gives the lease back, if its link is there still to do that over, and forgets it.
func (d *Daemon) end(l *lease) error {
	if err := d.client().release(l); err != nil {
		d.Log.Info("forgotten, not released", "lease", l, "err", err)
	} else {
		d.Log.Info("released", "lease", l)
	}
	return d.book.remove(l.Tag())
}
