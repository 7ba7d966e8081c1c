package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/scratch"
)

// A Host is a contender's own: the network and mount namespaces of a process that
// serves orders.
type Host struct {
	Contender string
	Chain     string
	Present   int // attachments that stay while others are measured
	Width     int // how many at a time
	BinDir    string
	Rates     Rates

	Prefill time.Duration // no more of them are made after this time
	Call    string        // ADD or DEL: make one call, for strace, and end
}

// insideVariable holds, for a process that is to be a host, which.
const insideVariable = "SEAM_BENCH_HOST"

// An order is what a host is asked to do.
type order struct {
	Do    string // one of those below
	Count int    // how many pods
}

const (
	doAlone    = "alone"    // attach and detach one after another
	doTogether = "together" // all at once
	doPrograms = "programs" // count what is executed
	doCompare  = "compare"  // the floor's state with Seam's
	doStart    = "start"    // execute a program that does nothing
	doStream   = "stream"   // send data, for Count seconds
)

// A Reply is the answer to an order, and the first one tells that the host is ready.
type Reply struct {
	Error    string              `json:",omitempty"`
	Add, Del []Cost              `json:",omitempty"`
	Notes    []note              `json:",omitempty"`
	Programs map[string][]string `json:",omitempty"` // by verb; nil: nothing could count them
	State    string              `json:",omitempty"`
	Speeds   map[string]float64  `json:",omitempty"`
	Present  int                 `json:",omitempty"`
}

// inside is what a host has.
type inside struct {
	Host
	contender contender
	parts     *parts
	model     *pod   // attached throughout: what all share is there because of it
	pods      []*pod // to be attached, and detached again
}

// asHost serves orders until there are none, if this process is to be a host, and
// reports whether it was.
func asHost(in io.Reader, out io.Writer) bool {
	conf, ok := os.LookupEnv(insideVariable)
	if !ok {
		return false
	}
	reply := json.NewEncoder(out)
	if err := serve(conf, json.NewDecoder(in), reply); err != nil {
		reply.Encode(Reply{Error: err.Error()})
	}
	return true
}

func serve(conf string, orders *json.Decoder, replies *json.Encoder) error {
	ctx := context.Background()
	h := &inside{parts: newParts()}
	if err := json.Unmarshal([]byte(conf), &h.Host); err != nil {
		return err
	}
	if h.Call != "" {
		return h.call(ctx)
	}
	if err := furnish(); err != nil {
		return err
	}
	if err := h.prepare(ctx); err != nil {
		return err
	}
	if err := replies.Encode(Reply{Present: h.Present, Notes: h.parts.fetch()}); err != nil {
		return err
	}
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r, err := h.carryOut(ctx, o)
		if err != nil {
			return fmt.Errorf("%s, %s, %d present: %s: %w", h.Contender, h.Chain, h.Present, o.Do, err)
		}
		if err := replies.Encode(r); err != nil {
			return err
		}
	}
}

// furnish keeps what is done here from the machine's own files.
func furnish() error {
	if err := scratch.Enter("/run", "/var/lib/cni"); err != nil {
		return err
	}
	return quiet()
}

// prepare makes the namespaces, and attaches the model and those that are to be
// present.
func (h *inside) prepare(ctx context.Context) (err error) {
	if err := h.uplink(); err != nil {
		return err
	}
	if h.model, err = newPod(modelNumber); err != nil {
		return err
	}
	first := h.Contender
	if first == floorName {
		first = inProcess
	}
	if h.contender, err = h.newContender(first); err != nil {
		return err
	}
	watch := h.parts.watch("ADD")
	if err := h.contender.add(ctx, h.model); err != nil {
		return err
	}
	h.parts.fetch()
	watch.lap(firstEver)
	if h.Contender == floorName {
		if h.contender, err = newFloor(h.Host, h.model, h.parts); err != nil {
			return err
		}
	}
	if err := h.fill(ctx); err != nil {
		return err
	}
	if h.pods, err = newPods(firstMeasured, h.Width); err != nil {
		return err
	}
	return h.warmUp(ctx)
}

// uplink makes the link that macvlans stand on.
func (h *inside) uplink() error {
	if h.Chain != onMacvlan {
		return nil
	}
	links, err := link.Open()
	if err != nil {
		return err
	}
	defer links.Close()
	const far = "beyond"
	if err := links.AddVeth(link.Veth{Name: masterName, PeerName: far}); err != nil {
		return err
	}
	for _, name := range []string{masterName, far} {
		if err := links.Set(link.Link{Name: name}, link.Change{Up: true}); err != nil {
			return err
		}
	}
	return nil
}

// firstEver names what the model took.
const firstEver = "the first attachment of a host"

func (h *inside) newContender(name string) (contender, error) {
	if name == inProcess {
		return newLinkedIn(h.Host, h.parts)
	}
	return newExecution(h.Host)
}

// fill attaches those that are to be present, or as many as there is time for.
func (h *inside) fill(ctx context.Context) error {
	const workers, chunk = 4, 20
	present := 0
	for start := time.Now(); present < h.Present && time.Since(start) < h.Prefill; {
		pods, err := newPods(firstPresent+present, min(chunk, h.Present-present))
		if err != nil {
			return err
		}
		if err := spread(ctx, pods, min(workers, h.Width), h.contender.add); err != nil {
			return fmt.Errorf("attachment %d of those present: %w", present, err)
		}
		present += len(pods)
	}
	h.Present = present
	return nil
}

func (h *inside) warmUp(ctx context.Context) error {
	for _, alone := range []bool{true, false} {
		if _, _, err := round(ctx, h.contender, h.pods, alone); err != nil {
			return err
		}
	}
	first := Reply{Notes: h.parts.fetch()}
	for _, n := range first.Notes {
		if n.Part == firstEver {
			h.parts.note(n.Verb, n.Part, n.Took)
		}
	}
	return nil
}

func (h *inside) carryOut(ctx context.Context, o order) (r Reply, err error) {
	pods := h.pods[:min(o.Count, len(h.pods))]
	switch o.Do {
	case doAlone, doTogether:
		r.Add, r.Del, err = round(ctx, h.contender, pods, o.Do == doAlone)
		r.Notes = h.parts.fetch()
		if o.Do == doTogether {
			r.Notes = nil // of who waits for whom they tell nothing
		}
	case doStart:
		r.Add, err = startPrograms(ctx, h.BinDir, o.Count)
	case doPrograms:
		r.Programs, err = h.programs(ctx, h.pods[0])
	case doStream:
		r.Speeds, err = h.streams(ctx, o.Count)
	case doCompare:
		r.State, err = h.compare(ctx, h.pods[0])
	}
	return r, err
}
