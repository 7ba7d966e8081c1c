package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/seamnet/seam/conformance"
)

// ofKill is why it matters what a killed plugin leaves.
const ofKill = "practice: a runtime's time-out, a node without memory or a restart kill plugins at any moment"

func killChecks() []check {
	return []check{
		{conformance.Check{ID: "leaks/killed-add", Force: conformance.Should, Source: ofKill,
			Says: "DEL after ADD was killed succeeds, nothing is left, and the same ADD works again."}, nil,
			func(h *host) { killing{verb: "ADD", again: true}.check(h) }},
		{conformance.Check{ID: "leaks/killed-add-pod-gone", Force: conformance.Should, Source: ofKill,
			Says: "DEL after ADD was killed and the namespace is gone succeeds, and nothing is left on the host."}, nil,
			func(h *host) { killing{verb: "ADD", podGone: true}.check(h) }},
		{conformance.Check{ID: "leaks/killed-del", Force: conformance.Should, Source: ofKill,
			Says: "DEL after DEL was killed succeeds, and nothing is left."}, nil,
			func(h *host) { killing{verb: "DEL"}.check(h) }},
	}
}

const (
	kills     = 20               // how often a plugin is killed in a check
	killSeed  = 1                // of the moments, which are the same each time, as parts of the duration
	killLimit = 12 * time.Second // after that no more are tried: some plugins take seconds
)

// A killing is how a check kills plugins.
type killing struct {
	verb    string
	podGone bool // the namespace ends before DEL
	again   bool // and then ADD must work
}

// victims are the plugins on trial that can be killed; none skips the check.
func (h *host) victims() []member {
	victims := slices.DeleteFunc(slices.Clone(h.network.Subjects), func(m member) bool { return m.program.file == "" })
	if len(victims) == 0 {
		h.Skipf("what runs in process cannot be killed")
	}
	return victims
}

func (k killing) check(h *host) {
	victims := h.victims()
	durations := k.measure(h, victims)
	h.attachEquipped().detach() // what is made once is there
	before := h.footprint()
	random := rand.New(rand.NewPCG(killSeed, killSeed))
	var all []*attachment
	killed, begun := 0, time.Now()
	for n := range kills {
		if time.Since(begun) > killLimit || h.Failed() {
			break
		}
		// Spread over the duration, in an order that a lack of time does not cut short.
		part := (float64(n*7%kills) + random.Float64()) / kills
		victim := n % len(victims)
		try := k
		try.again = k.again && n%2 == 1 // else what the next ADD would clean up is not seen
		a, was := try.once(h, victims[victim], time.Duration(part*float64(durations[victim])))
		if was {
			killed++
		}
		all = append(all, a)
		h.restoreSpare()
	}
	h.Logf("%d of %d calls were killed, at moments with seed %d within %v", killed, len(all), killSeed, durations)
	h.compare(comparison{what: "after " + k.verb + " was killed, and DEL", before: before, of: all, gone: !k.podGone})
	if !h.Failed() {
		a := h.attachEquipped()
		a.detach()
	}
}

// measure returns how long the call of each victim takes.
func (k killing) measure(h *host, victims []member) []time.Duration {
	durations := make([]time.Duration, len(victims))
	for i, m := range victims {
		var all []time.Duration
		for range 3 {
			a := h.equipped(h.pod())
			took := h.carry(a, m, k.verb, func(c call) time.Duration { return h.run(m, c).Took })
			all = append(all, took)
			a.detach()
			h.remove(a.Pod)
			h.restoreSpare()
		}
		slices.Sort(all)
		durations[i] = all[1]
	}
	return durations
}

// carry brings an attachment to where the victim's call comes next, and has that made.
func (h *host) carry(a *attachment, victim member, verb string, do func(call) time.Duration) time.Duration {
	alone := victim.Role == IPAM // which its caller, in process, would call
	switch {
	case verb == "ADD" && alone:
		return do(a.call("ADD", victim, nil))
	case verb == "ADD":
		if err := a.addUntil(victim.Before); err != nil {
			h.Fatalf("%v", err)
		}
		return do(a.call("ADD", victim, a.Raw))
	}
	if err := a.add(); err != nil {
		h.Fatalf("%v", err)
	}
	if !alone {
		for _, m := range slices.Backward(h.network.Members[victim.Before+1:]) {
			h.run(m, a.call("DEL", m, a.Raw))
		}
	}
	return do(a.call("DEL", victim, a.Raw))
}

// once kills one call, and cleans up as a runtime does.
func (k killing) once(h *host, victim member, after time.Duration) (a *attachment, killed bool) {
	a = h.equipped(h.pod())
	var printed []byte
	h.carry(a, victim, k.verb, func(c call) time.Duration {
		printed, killed = h.kill(victim, c, after)
		return after
	})
	if k.verb == "ADD" {
		a.Raw = nil
		if !killed && victim.Role != IPAM && json.Valid(printed) { // it was faster, and the runtime has its result
			a.Raw = printed
		}
	}
	if k.podGone {
		h.remove(a.Pod)
	}
	if err := a.del(); err != nil {
		h.Errorf("%s of %s killed after %v: %v", k.verb, victim.Type, after, err)
	}
	if k.again && !h.Failed() {
		if err := a.add(); err != nil {
			h.Errorf("%s of %s killed after %v, then DEL, then once more: %v", k.verb, victim.Type, after, err)
		}
		a.detach()
	}
	return a, killed
}

// kill starts a plugin and kills it, with all that it has started, unless it ends before.
// It returns what was printed.
func (h *host) kill(m member, c call, after time.Duration) (printed []byte, killed bool) {
	cmd := m.program.command(h.Context(), c)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	h.Must(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
		return stdout.Bytes(), false
	case <-time.After(after):
	}
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	exit, ok := errors.AsType[*exec.ExitError](<-ended)
	return stdout.Bytes(), err == nil && ok && !exit.Exited()
}
