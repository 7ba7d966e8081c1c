package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/link"
)

// A frame is a host at one moment.
type frame struct {
	Time        time.Time        `json:"time"`
	Networks    []watchedNetwork `json:"networks"`
	Attachments []watched        `json:"attachments"`
	Problems    []string         `json:"problems,omitempty"` // what could not be read
}

// A watchedNetwork is a network with the traffic of its attachments.
type watchedNetwork struct {
	networkLine
	measured
}

// A watched is an attachment with its traffic, from the container's point of view.
type watched struct {
	attachment
	State string `json:"state"` // attached, missing (its link), not known, reserved or stale
	measured
}

// A measured is what has passed, and what passes.
type measured struct {
	Total     traffic  `json:"total"`
	PerSecond *traffic `json:"perSecond,omitempty"` // absent: not looked twice yet
}

// A sorting is an order of attachments.
type sorting string

const (
	byName    sorting = "name"    // network, container, interface: as ls has it
	byTraffic sorting = "traffic" // most bytes a second first, then most in all
	byAge     sorting = "age"     // the newest first
)

func sortings() []sorting { return []sorting{byName, byTraffic, byAge} }

// frame looks at the host. Of what cannot be read the frame says so; the error is that
// there is no such network.
func (c *cli) frame(args []string, m *meter, order sorting) (*frame, error) {
	f := &frame{Time: time.Now(), Networks: []watchedNetwork{}, Attachments: []watched{}}
	l, records, err := c.list(args)
	f.problem(err)
	host, err := c.hostCounters()
	f.problem(err)
	byFile := make(map[string]*seam.Record, len(records))
	for i := range records {
		byFile[records[i].File] = &records[i]
	}
	m.begin(f.Time)
	for _, a := range withoutUsed(l.Attachments) {
		w := watched{attachment: a, State: stateOf(a)}
		if w.State == attached {
			w.measure(byFile[a.File], host, m)
		}
		f.Attachments = append(f.Attachments, w)
	}
	for _, n := range l.Networks {
		f.Networks = append(f.Networks, watchedNetwork{n, sum(f.Attachments, n.Name)})
	}
	order.sort(f.Attachments)
	return f, c.known(args, l)
}

func (f *frame) problem(err error) {
	if err != nil {
		f.Problems = append(f.Problems, oneLine(err.Error()))
	}
}

// hostCounters returns the host's links by name.
func (c *cli) hostCounters() (map[string]link.Counted, error) {
	links, err := c.host.Links()
	if err != nil {
		return nil, err
	}
	all, err := links.ListCounted()
	byName := make(map[string]link.Counted, len(all))
	for _, l := range all {
		byName[l.Name] = l
	}
	return byName, err
}

// measure fills in an attachment's traffic.
func (w *watched) measure(r *seam.Record, host map[string]link.Counted, m *meter) {
	counters, err := countersOf(r, host)
	switch {
	case link.Missing(err):
		w.State = missing
	case err != nil:
		w.State = unknown
	default:
		w.Total = trafficOf(counters)
		w.PerSecond = m.perSecond(r.Tag(), w.Total)
	}
}

// countersOf returns the counters of the container's interface. Those of a veth are read at
// its host end, as all of those come in one answer; for others the container's namespace is
// opened, and closed at once: a frame must keep none alive.
func countersOf(r *seam.Record, host map[string]link.Counted) (link.Counters, error) {
	if r.Result != nil {
		for _, i := range r.Result.Interfaces {
			if l, ok := host[i.Name]; ok && i.Sandbox == "" && l.Kind == "veth" {
				return l.Reversed(), nil
			}
		}
	}
	pod, err := openPod(r.NetNS)
	if err != nil {
		return link.Counters{}, err
	}
	defer pod.Close()
	l, err := pod.ByName(r.IfName)
	if err != nil {
		return link.Counters{}, err
	}
	return pod.Counters(l)
}

// sum adds up a network's traffic.
func sum(all []watched, network string) measured {
	var s measured
	for _, w := range all {
		if w.Network != network {
			continue
		}
		s.Total = s.Total.plus(w.Total)
		if w.PerSecond != nil {
			if s.PerSecond == nil {
				s.PerSecond = new(traffic)
			}
			*s.PerSecond = s.PerSecond.plus(*w.PerSecond)
		}
	}
	return s
}

// sort orders attachments that are in the order of names.
func (s sorting) sort(all []watched) {
	switch s {
	case byTraffic:
		slices.SortStableFunc(all, func(a, b watched) int {
			return cmp.Or(cmp.Compare(b.speed(), a.speed()), cmp.Compare(b.Total.bytes(), a.Total.bytes()))
		})
	case byAge:
		slices.SortStableFunc(all, func(a, b watched) int { return b.born().Compare(a.born()) })
	}
}

func (m measured) speed() uint64 {
	if m.PerSecond == nil {
		return 0
	}
	return m.PerSecond.bytes()
}

// born is the beginning of time where it is not known.
func (w watched) born() time.Time {
	if w.Created == nil {
		return time.Time{}
	}
	return *w.Created
}
