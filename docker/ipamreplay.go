package docker

import (
	"context"
	"time"

	"github.com/seamnet/seam/state"
)

// An engine that starts asks again, with the same words as a new request, for what it
// has; and it names all that it wants. So what it has had since before it started is taken for
// asked again, as often as it has it, until it wants something that it does not name.
// That it gives the same again for longer would let two containers have one address: where
// an engine could not ask again, because the driver was not there when it started.
const replayTime = 5 * time.Minute

// A replay is what is known of the engine's start.
type replay struct {
	Start int       `json:"start"` // how many there were
	Until time.Time `json:"until"` // when asking again ends at the latest
}

// started notes that an engine has started.
func (p *IPAM) started(ctx context.Context) error {
	unlock, err := p.lock(ctx, p.dir())
	if err != nil {
		return err
	}
	defer unlock()
	now, err := p.replay()
	if err != nil {
		return err
	}
	return state.Write(p.file("engine"), replay{now.Start + 1, p.now().Add(replayTime)})
}

// replay returns what is known of the engine's start.
func (p *IPAM) replay() (replay, error) {
	r, err := state.Read[replay](p.file("engine"))
	if r == nil {
		r = &replay{}
	}
	return *r, err
}

// asksAnew notes that the engine has something new in mind. The folder's lock is not held.
func (p *IPAM) asksAnew(ctx context.Context) error {
	if now, err := p.replay(); err != nil || !p.now().Before(now.Until) {
		return err
	}
	unlock, err := p.lock(ctx, p.dir())
	if err != nil {
		return err
	}
	defer unlock()
	return p.endReplay()
}

// endReplay is asksAnew while the folder's lock is held.
func (p *IPAM) endReplay() error {
	now, err := p.replay()
	if err != nil || now.Until.IsZero() {
		return err
	}
	now.Until = time.Time{}
	return state.Write(p.file("engine"), now)
}

// uses counts who has something, and how many of them have asked for it since the engine
// started.
type uses struct {
	Count int `json:"count"`
	Asked int `json:"asked"`
	Start int `json:"start"` // of the engine, which Asked is about
}

// again counts a request as one that the engine repeats, or reports that it is none.
func (u *uses) again(now replay, at time.Time) bool {
	if u.Start != now.Start {
		u.Start, u.Asked = now.Start, 0
	}
	if u.Asked >= u.Count || !at.Before(now.Until) {
		return false
	}
	u.Asked++
	return true
}

// add counts one more.
func (u *uses) add(now replay) {
	if u.Start != now.Start {
		u.Start, u.Asked = now.Start, 0
	}
	u.Count++
	u.Asked++
}

// drop counts one less, and reports whether there is another.
func (u *uses) drop() bool {
	u.Count, u.Asked = max(u.Count-1, 0), max(u.Asked-1, 0)
	return u.Count > 0
}
