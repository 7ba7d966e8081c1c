package plugins

import (
	"fmt"
	"sync"
	"time"
)

// rounds is how often a crowd comes and goes.
const rounds = 3

func checkCrowdSpeed(h *host) {
	h.warm()
	begun, watch := time.Now(), h.stopwatch()
	for n := range rounds {
		if n > 0 && time.Since(begun) > speedLimit {
			break
		}
		all := h.crowd(crowd)
		for _, verb := range []string{"ADD", "DEL"} {
			start := time.Now()
			h.together(all, func(a *attachment) error {
				took, err := a.timed(verb)
				watch.add(fmt.Sprintf("%s, %d at a time", verb, crowd), took)
				return err
			})
			watch.add(fmt.Sprintf("%s of all %d", verb, crowd), time.Since(start))
		}
	}
	watch.note()
}

const (
	growthWarm   = 2
	growthCycles = 15 // attachments that are measured beside those that are there
	growthLeast  = 4  // of them, however slow they are
)

func checkGrowth(h *host) {
	h.warm()
	watch, present := h.stopwatch(), 0
	var counts []int
	for _, count := range []int{0, 50, 200} {
		added := h.addMany(count-present, speedLimit/2)
		present += added
		if count > 0 && added == 0 {
			break
		}
		counts = append(counts, present)
		h.cyclesBeside(present, watch)
		if present < count { // there was no time, or no address, for more
			break
		}
	}
	watch.note()
	for _, verb := range []string{"ADD", "DEL"} {
		for _, count := range counts[1:] {
			if alone := watch.median(verb + beside(0)); alone > 0 {
				h.Logf("%s beside %d: %.2f times that beside none", verb, count, float64(watch.median(verb+beside(count)))/float64(alone))
			}
		}
	}
}

// cyclesBeside measures ADD and DEL while so many attachments are there.
func (h *host) cyclesBeside(present int, watch *stopwatch) {
	begun := time.Now()
	for n := range growthWarm + growthCycles {
		counted := watch
		if n < growthWarm {
			counted = nil
		}
		if n >= growthWarm+growthLeast && time.Since(begun) > speedLimit/3 {
			break
		}
		h.cycle(counted, beside(present), "ADD", "DEL")
	}
}

func beside(count int) string { return fmt.Sprintf(" beside %d", count) }

// addMany attaches so many pods, which stay, or fewer: until an ADD fails, which is told,
// or the time is over. It returns how many stay; there is room for one more.
func (h *host) addMany(count int, limit time.Duration) int {
	const atATime = 4
	begun, done := time.Now(), 0
	for done < count && time.Since(begun) < limit {
		all := h.crowd(min(atATime, count-done))
		made, err := h.addSome(all)
		done += len(made)
		if err != nil {
			h.Logf("no more attachments: %v", err)
			if len(made) > 0 {
				_, err := made[0].timed("DEL")
				h.Must(err)
				done--
			}
			break
		}
	}
	return done
}

// addSome attaches pods at a time, and undoes what fails, of which it returns one error.
func (h *host) addSome(all []*attachment) (made []*attachment, failed error) {
	var group sync.WaitGroup
	var mu sync.Mutex
	for _, a := range all {
		group.Go(func() {
			_, err := a.timed("ADD")
			if err != nil {
				_, _ = a.timed("DEL") // it may have made nothing
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			} else {
				made = append(made, a)
			}
		})
	}
	group.Wait()
	return made, failed
}
