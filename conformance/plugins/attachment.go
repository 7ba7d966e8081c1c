package plugins

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// An attachment is one interface of a pod, as the suite, which is the runtime, has it.
type attachment struct {
	h            *host
	Pod          *pod
	ID, IfName   string
	Args         string
	Capabilities map[string]any // those that plugins declare reach them
	Version      string         // default: the network's

	Raw    json.RawMessage // the result as the last plugin printed it; nil: none yet
	Result *cni.Result     // the same, read
}

// attachment returns one that is not yet made, eth0 of the pod.
func (h *host) attachment(p *pod) *attachment {
	a := &attachment{h: h, Pod: p, ID: "conformance-" + p.Name, IfName: "eth0", Version: h.network.Version}
	if h.network.Members[0].Type == "loopback" {
		a.IfName = "lo"
	}
	return a
}

// attach makes eth0 of the pod, or ends the check.
func (h *host) attach(p *pod) *attachment {
	a := h.attachment(p)
	if err := a.add(); err != nil {
		h.Fatalf("%v", err)
	}
	return a
}

// input returns what the member reads from stdin. Prev may be nil.
func (a *attachment) input(m member, prev json.RawMessage) []byte {
	conf, err := wire.Compose(m.Conf.Bytes(), a.h.network.Name, a.Version, a.encoded())
	a.h.Must(err)
	o, err := wire.ParseObject(conf.JSON)
	a.h.Must(err)
	if prev != nil {
		o.Set("prevResult", prev)
	}
	return o.Bytes()
}

func (a *attachment) encoded() map[string]json.RawMessage {
	encoded := make(map[string]json.RawMessage)
	for name, value := range a.Capabilities {
		raw, err := json.Marshal(value)
		a.h.Must(err)
		encoded[name] = raw
	}
	return encoded
}

// call returns the call of a member, to be run or changed before.
func (a *attachment) call(verb string, m member, prev json.RawMessage) call {
	return call{Verb: verb, ContainerID: a.ID, NetNS: a.Pod.Path, IfName: a.IfName, Args: a.Args, Path: a.h.path(), Stdin: a.input(m, prev)}
}

// run calls a member. That it cannot be started ends the check.
func (h *host) run(m member, c call) answer {
	answer, err := m.program.run(h.Context(), c)
	if err != nil {
		h.Brokenf("%s %s: %v", m.Type, c.Verb, err)
	}
	if answer.Hung != nil { // it would again, and cost as much
		h.Fatalf("%s %s: %v", m.Type, c.Verb, answer)
	}
	return answer
}

// add runs the chain's ADD and keeps the result. It undoes nothing.
func (a *attachment) add() error { return a.addUntil(len(a.h.network.Members)) }

// addUntil runs ADD of the first plugins of the chain only.
func (a *attachment) addUntil(end int) error {
	for _, m := range a.h.network.Members[:end] {
		answer := a.h.run(m, a.call("ADD", m, a.Raw))
		if err := answer.err(); err != nil {
			return fmt.Errorf("ADD of %s: %w", m.Type, err)
		}
		result, err := wire.DecodeResult([]byte(answer.Stdout), a.Version)
		if err != nil {
			return fmt.Errorf("ADD of %s: result: %w; it printed %.600s", m.Type, err, answer.Stdout)
		}
		a.Raw, a.Result = json.RawMessage(answer.Stdout), result
	}
	return nil
}

// del runs the chain's DEL, last to first, and returns the first error after all are done.
func (a *attachment) del() error {
	var first error
	for _, m := range slices.Backward(a.h.network.Members) {
		answer := a.h.run(m, a.call("DEL", m, a.Raw))
		if err := answer.err(); err != nil && first == nil {
			first = fmt.Errorf("DEL of %s: %w", m.Type, err)
		}
	}
	return first
}

// detach is del; an error is told.
func (a *attachment) detach() {
	if err := a.del(); err != nil {
		a.h.Errorf("%v", err)
	}
}

// check runs the chain's CHECK and returns the first error.
func (a *attachment) check() error {
	for _, m := range a.h.network.Members {
		answer := a.h.run(m, a.call("CHECK", m, a.Raw))
		if err := answer.err(); err != nil {
			return fmt.Errorf("CHECK of %s: %w", m.Type, err)
		}
	}
	return nil
}
