package trail

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/seamnet/seam/nft"
)

// settle is how long the last events and answers may take to be told.
const settle = 20 * time.Millisecond

// watch sends the packet and follows it. Where the kernel cannot trace, nothing is sent.
func (w *walk) watch(ctx context.Context) {
	w.dropTraces()
	send, packet, stop, err := w.prepare()
	if err != nil {
		w.note(err)
		return
	}
	defer stop()
	w.packet = packet
	events, err := w.traced(func() {
		w.way.Outcome, w.way.Detail = send(ctx, w.q.Wait)
		time.Sleep(settle)
	})
	if err != nil {
		w.note(errors.Join(errors.New("no probe was sent"), err))
		return
	}
	w.way.Probed, w.way.Packet = true, w.packetText()
	w.followAll(events)
}

// dropTraces removes what a process that was killed has left.
func (w *walk) dropTraces() {
	_, err := nft.DropTraces()
	w.note(err)
}

// A sender sends the packet, and tells what became of it.
type sender func(ctx context.Context, wait time.Duration) (Outcome, string)

// prepare opens what the packet is sent with; its port is known then.
func (w *walk) prepare() (sender, nft.Packet, func(), error) {
	if w.q.Origin == FromOutside {
		return w.prepareArrival()
	}
	ns := w.q.End.NS
	if w.q.Origin == FromHost {
		ns = nil
	}
	p, err := newProbe(ns, w.packet)
	if err != nil {
		return nil, w.packet, nil, err
	}
	return p.send, p.packet, p.close, nil
}

// tracedEvents are what happened on the host and in the container.
type tracedEvents struct{ host, pod []nft.Event }

// traced traces the packet while send runs. In the container that is of use only where
// somebody has rules there, and its failure is none.
func (w *walk) traced(send func()) (e tracedEvents, err error) {
	host, err := nft.OpenTrace(w.packet)
	if err != nil {
		return e, err
	}
	var pod *nft.Trace
	if err := w.q.End.NS.Do(func() (err error) {
		w.dropTraces()
		pod, err = nft.OpenTrace(w.packet)
		return err
	}); err != nil {
		pod = nil
		w.note(err)
	}
	w.note(e.gather(send, host, pod))
	errs := []error{host.Close()}
	if pod != nil {
		errs = append(errs, pod.Close())
	}
	w.note(errors.Join(errs...))
	return e, nil
}

// gather reads events while send runs: where others trace much, they are too many to be kept
// until it ends.
func (e *tracedEvents) gather(send func(), host, pod *nft.Trace) error {
	const often = 5 * time.Millisecond
	done := make(chan struct{})
	go func() {
		defer close(done)
		send()
	}()
	errs := make(map[string]error) // the same one comes again and again
	listen := func(t *nft.Trace, to *[]nft.Event) {
		more, err := t.Events()
		*to = append(*to, more...)
		if err != nil {
			errs[err.Error()] = err
		}
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(often):
		}
		listen(host, &e.host)
		if pod != nil {
			listen(pod, &e.pod)
		}
	}
	return errors.Join(slices.Collect(maps.Values(errs))...)
}

func (w *walk) followAll(e tracedEvents) {
	if w.q.Origin == FromContainer {
		w.followInside(e.pod)
		if w.reached == Container || w.way.Dropped {
			return
		}
		at := w.follow(OnHost, e.host)
		w.judge(at)
		return
	}
	at := w.follow(OnHost, e.host)
	if w.q.Origin == FromOutside {
		w.outcomeOfArrival()
	}
	w.judge(at)
	if !w.way.Dropped && w.toEnd() {
		w.follow(Container, e.pod)
	}
}

// followInside goes through the sender's own rules, which come before the host's links.
func (w *walk) followInside(events []nft.Event) {
	first := slices.IndexFunc(w.way.Steps, func(s Step) bool { return s.Where != Container })
	if first < 0 {
		first = len(w.way.Steps)
	}
	behind := slices.Clone(w.way.Steps[first:])
	w.way.Steps = w.way.Steps[:first]
	w.follow(Container, events)
	if !w.way.Dropped {
		w.way.Steps = append(w.way.Steps, behind...)
	}
}

// toEnd reports whether the packet is now for the container that is asked about.
func (w *walk) toEnd() bool {
	return slices.Contains(w.q.End.Addresses, w.packet.To.Addr())
}
