package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/seamnet/seam/netns/scratch"
)

// A remote is a host as the process sees it that gives the orders.
type remote struct {
	Host
	first   Reply // of its making
	cmd     *exec.Cmd
	orders  io.WriteCloser
	encode  *json.Encoder
	replies *json.Decoder
}

// startHost starts this program again as a host and waits until it is ready.
func startHost(ctx context.Context, h Host) (*remote, error) {
	conf, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	r := &remote{Host: h, cmd: exec.CommandContext(ctx, "/proc/self/exe")}
	r.cmd.Args[0] = os.Args[0]
	r.cmd.Env = append(os.Environ(), insideVariable+"="+string(conf))
	r.cmd.Stderr = os.Stderr
	scratch.Isolate(r.cmd)
	if r.orders, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.encode, r.replies = json.NewEncoder(r.orders), json.NewDecoder(out)
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start host: %w", err)
	}
	if r.first, err = r.reply(); err != nil {
		r.stop()
		return nil, fmt.Errorf("host of %s, %s: %w", h.Contender, h.Chain, err)
	}
	r.Present = r.first.Present
	return r, nil
}

func (r *remote) reply() (Reply, error) {
	var reply Reply
	if err := r.replies.Decode(&reply); err != nil {
		return reply, fmt.Errorf("no answer: %w", err)
	}
	if reply.Error != "" {
		return reply, errors.New(reply.Error)
	}
	return reply, nil
}

func (r *remote) order(do string, count int) (Reply, error) {
	if err := r.encode.Encode(order{do, count}); err != nil {
		return Reply{}, err
	}
	return r.reply()
}

// stop ends the process, and with it its namespaces and all that is in them.
func (r *remote) stop() {
	r.orders.Close()
	_ = r.cmd.Wait() // what it had to say came as a reply
}
