package plugins

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/conformance"
)

// ofSpeed is why times are told: no specification speaks of them, and none fails a check.
const ofSpeed = "practice: a pod waits for its network"

func speedChecks() []check {
	told := func(name, says string, run func(h *host)) check {
		return check{conformance.Check{ID: "speed/" + name, Force: conformance.Open, Source: ofSpeed, Says: says}, nil, run}
	}
	return []check{
		told("cycle", "How long ADD, CHECK and DEL take, one after the other.", checkCycle),
		told("answers", "How long VERSION and STATUS take.", checkAnswers),
		told("crowd", "How long ADD and DEL take, sixteen at a time.", checkCrowdSpeed),
		told("growth", "How ADD and DEL grow with the number of attachments that are there.", checkGrowth),
		told("programs", "Which programs ADD and DEL execute.", checkPrograms),
	}
}

const (
	warmCycles = 5  // whose times do not count
	cycles     = 50 // fewer of a plugin that is slow
	speedLimit = 20 * time.Second
)

// onTrialAlone returns the IPAM plugin if that is what is on trial: it is called without
// the plugin that would call it.
func (h *host) onTrialAlone() (member, bool) {
	for _, m := range h.network.Subjects {
		if m.Role == IPAM {
			return m, true
		}
	}
	return member{}, false
}

// timed has all plugins of the chain do something for the attachment, and returns how long
// those on trial took.
func (a *attachment) timed(verb string) (took time.Duration, err error) {
	members := slices.Clone(a.h.network.Members)
	if m, ok := a.h.onTrialAlone(); ok {
		members = []member{m}
	}
	if verb == "DEL" {
		slices.Reverse(members)
	}
	for _, m := range members {
		answer := a.h.run(m, a.call(verb, m, a.Raw))
		if m.Trial {
			took += answer.Took
		}
		if err := answer.err(); err != nil {
			return took, fmt.Errorf("%s of %s: %w", verb, m.Type, err)
		}
		if verb == "ADD" {
			a.Raw = json.RawMessage(answer.Stdout)
		}
	}
	return took, nil
}

// A stopwatch collects times by what they are of.
type stopwatch struct {
	h     *host
	mu    sync.Mutex
	order []string
	times map[string][]time.Duration
}

func (h *host) stopwatch() *stopwatch {
	return &stopwatch{h: h, times: make(map[string][]time.Duration)}
}

// add adds a time, also to the report.
func (s *stopwatch) add(series string, took time.Duration) {
	s.h.Time(series, took)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times[series] == nil {
		s.order = append(s.order, series)
	}
	s.times[series] = append(s.times[series], took)
}

// note tells each distribution.
func (s *stopwatch) note() {
	for _, series := range s.order {
		all := slices.Sorted(slices.Values(s.times[series]))
		s.h.Logf("%s: %d times, p50 %s, p90 %s, p99 %s", series, len(all), millis(quantile(all, 0.5)), millis(quantile(all, 0.9)), millis(quantile(all, 0.99)))
	}
}

// median returns the middle of a series, 0 without any.
func (s *stopwatch) median(series string) time.Duration {
	return quantile(slices.Sorted(slices.Values(s.times[series])), 0.5)
}

// quantile returns the least of sorted times that q of all do not pass.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

// cycle attaches and detaches a new pod, which stays, as the kernel's work to end it would
// be measured, too; watch is nil where the times do not count.
func (h *host) cycle(watch *stopwatch, suffix string, verbs ...string) {
	a := h.equipped(h.pod())
	for _, verb := range verbs {
		took, err := a.timed(verb)
		if err != nil {
			h.Fatalf("%v", err)
		}
		if watch != nil {
			watch.add(verb+suffix, took)
		}
	}
}

func checkCycle(h *host) {
	verbs := []string{"ADD", "DEL"}
	if h.checks() {
		verbs = []string{"ADD", "CHECK", "DEL"}
	}
	begun, watch := time.Now(), h.stopwatch()
	for n := range warmCycles + cycles {
		if n > warmCycles && time.Since(begun) > speedLimit {
			break
		}
		counted := watch
		if n < warmCycles && time.Since(begun) < speedLimit/4 {
			counted = nil
		}
		h.cycle(counted, "", verbs...)
	}
	watch.note()
}

// checks reports whether CHECK can be called and passes.
func (h *host) checks() bool {
	if ok, err := wire.AtLeast(h.network.Version, "0.4.0"); err != nil || !ok {
		return false
	}
	a := h.equipped(h.pod())
	if _, err := a.timed("ADD"); err != nil {
		h.Fatalf("%v", err)
	}
	_, checked := a.timed("CHECK")
	if checked != nil {
		h.Logf("without CHECK: %v", checked)
	}
	if _, err := a.timed("DEL"); err != nil {
		h.Fatalf("%v", err)
	}
	return checked == nil
}

// checkAnswers asks without an attachment.
func checkAnswers(h *host) {
	begun, watch := time.Now(), h.stopwatch()
	for _, verb := range []string{"VERSION", "STATUS"} {
		if ok, err := wire.AtLeast(h.network.Version, "1.1.0"); verb == "STATUS" && (err != nil || !ok) {
			continue
		}
		for n := range cycles {
			if time.Since(begun) > speedLimit {
				break
			}
			for _, m := range h.network.Subjects {
				conf, err := wire.Compose(m.Conf.Bytes(), h.network.Name, h.network.Version, nil)
				h.Must(err)
				answer := h.run(m, call{Verb: verb, Path: h.path(), Stdin: conf.JSON})
				if err := answer.err(); err != nil && n == 0 {
					h.Logf("%s of %s: %v", verb, m.Type, err)
				}
				watch.add(verb+" of "+m.Type, answer.Took)
			}
		}
	}
	watch.note()
}
