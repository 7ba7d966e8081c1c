package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam/link"
)

// Data says how the data path is measured.
type Data struct {
	Chains  []string // from pod to pod
	Rates   []Rates  // what pods of a kubelet's chain are limited to
	Rounds  int
	Seconds int // of each stream
}

// A Stream is one way that data takes.
type Stream struct {
	Contender string
	Chain     string
	Way       string  // one of those below
	Asked     float64 // bits per second; 0: as much as there is
}

// The ways of a stream.
const (
	podToPod = "from pod to pod"
	hostIn   = "from the host to the pod"
	hostOut  = "from the pod to the host"
)

// measureData lets iperf3 send: what plugins made is then on the path of each packet.
func (p Plan) measureData(ctx context.Context, f *Figures) error {
	if _, err := exec.LookPath("iperf3"); errors.Is(err, exec.ErrNotFound) {
		p.say("no iperf3: the data path is not measured")
		return nil
	}
	for _, chain := range p.Data.Chains {
		if err := p.measureStreams(ctx, f, chain, Rates{In: 1e9, Out: 1e9}); err != nil {
			return err
		}
	}
	for _, r := range p.Data.Rates {
		if err := p.measureStreams(ctx, f, kubelet, r); err != nil {
			return err
		}
	}
	return nil
}

// measureStreams compares the contenders that make a kernel state of their own, in turns.
func (p Plan) measureStreams(ctx context.Context, f *Figures, chain string, rates Rates) error {
	var hosts []*remote
	defer func() {
		for _, h := range hosts {
			h.stop()
		}
	}()
	for _, contender := range []string{reference, executed} {
		if contender == reference && p.Reference == "" {
			continue
		}
		h, err := startHost(ctx, Host{Contender: contender, Chain: chain, Width: 2, BinDir: p.binDir(contender), Rates: rates})
		if err != nil {
			return err
		}
		hosts = append(hosts, h)
	}
	for n := range p.Data.Rounds {
		p.say("data path, %s: round %d of %d", chain, n+1, p.Data.Rounds)
		for _, h := range hosts {
			r, err := h.order(doStream, p.Data.Seconds)
			if err != nil {
				return err
			}
			for way, speed := range r.Speeds {
				s := Stream{Contender: h.Contender, Chain: chain, Way: way}
				switch way {
				case hostIn:
					s.Asked = float64(rates.In)
				case hostOut:
					s.Asked = float64(rates.Out)
				}
				f.Speeds[s] = append(f.Speeds[s], speed)
			}
		}
	}
	return nil
}

// streams measures, in bits per second by way, what pods of this host get.
func (h *inside) streams(ctx context.Context, seconds int) (speeds map[string]float64, err error) {
	pods := h.pods[:2]
	if _, err := oneByOne(ctx, pods, h.contender.add); err != nil {
		return nil, err
	}
	defer func() {
		_, delErr := oneByOne(ctx, pods, h.contender.del)
		err = errors.Join(err, delErr)
	}()
	speeds = make(map[string]float64)
	if h.Chain != kubelet {
		speeds[podToPod], err = stream(ctx, pods[0], pods[1], seconds)
		return speeds, err
	}
	if speeds[hostIn], err = stream(ctx, nil, pods[1], seconds); err == nil {
		speeds[hostOut], err = stream(ctx, nil, pods[1], seconds, "--reverse")
	}
	return speeds, err
}

// stream sends from one pod to the other by TCP; without a sender, from the host.
func stream(ctx context.Context, from, to *pod, seconds int, options ...string) (float64, error) {
	addr, err := to.hasAddr()
	if err != nil {
		return 0, err
	}
	server := exec.CommandContext(ctx, "iperf3", "--server", "--one-off", "--bind", addr)
	if err := to.ns.Do(server.Start); err != nil {
		return 0, err
	}
	defer func() {
		_ = server.Process.Kill() // it has ended by itself, unless something went wrong
		_ = server.Wait()
	}()
	inside := func(f func() error) error { return f() }
	if from != nil {
		inside = from.ns.Do
	}
	args := append([]string{"--client", addr, "--time", fmt.Sprint(seconds), "--omit", "1", "--json"}, options...)
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		client := exec.CommandContext(ctx, "iperf3", args...)
		var out bytes.Buffer
		client.Stdout = &out
		err := inside(client.Run)
		if err == nil { // which it also is when no server answers
			var speed float64
			if speed, err = received(out.Bytes()); err == nil {
				return speed, nil
			}
		}
		if time.Since(start) > 5*time.Second { // until the server listens, and the port forwards
			return 0, fmt.Errorf("iperf3: %w: %s", err, out.Bytes())
		}
	}
}

func received(report []byte) (float64, error) {
	var r struct {
		End struct {
			Received struct {
				Speed float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	err := json.Unmarshal(report, &r)
	if err == nil && r.End.Received.Speed == 0 {
		err = fmt.Errorf("nothing was received: %s", report)
	}
	return r.End.Received.Speed, err
}

// hasAddr returns the address that the pod was given.
func (p *pod) hasAddr() (string, error) {
	links, err := link.In(p.ns)
	if err != nil {
		return "", err
	}
	defer links.Close()
	l, err := links.ByName(podIfName)
	if err != nil {
		return "", err
	}
	addrs, err := links.Addrs(l)
	if err != nil {
		return "", err
	}
	for _, a := range addrs {
		if a.Prefix.Addr().Is4() {
			return a.Prefix.Addr().String(), nil
		}
	}
	return "", fmt.Errorf("pod %s: has no address", p.path)
}

// writeData tells how fast data passes.
func (f *Figures) writeData(b *strings.Builder) {
	if len(f.Speeds) == 0 {
		return
	}
	fmt.Fprintf(b, "## The data path\n\nTCP by iperf3, one stream of %d s after one that does not count; medians of %d turns.\n\n", f.Plan.Data.Seconds, f.Plan.Data.Rounds)
	fmt.Fprintf(b, "| chain | | asked | %s | %s | Seam / reference | Seam / asked |\n|---|---|--:|--:|--:|--:|--:|\n", reference, "Seam")
	var streams []Stream
	for s := range f.Speeds {
		if s.Contender == executed {
			streams = append(streams, s)
		}
	}
	slices.SortFunc(streams, func(a, b Stream) int {
		return strings.Compare(fmt.Sprintf("%s %012.0f %s", a.Chain, a.Asked, a.Way), fmt.Sprintf("%s %012.0f %s", b.Chain, b.Asked, b.Way))
	})
	for _, s := range streams {
		peer := s
		peer.Contender = reference
		theirs, ours := f.speed(peer), f.speed(s)
		asked, ofAsked := "all there is", ""
		if s.Asked > 0 {
			asked, ofAsked = bits(s.Asked), fmt.Sprintf("%.2f", ours/s.Asked)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", s.Chain, s.Way, asked, bits(theirs), bits(ours), fraction(ours, theirs), ofAsked)
	}
	b.WriteString("\n")
}

// speed is the median of a stream's.
func (f *Figures) speed(s Stream) float64 {
	speeds := slices.Sorted(slices.Values(f.Speeds[s]))
	if len(speeds) == 0 {
		return 0
	}
	return speeds[len(speeds)/2]
}

// bits writes bits per second.
func bits(speed float64) string {
	switch {
	case speed == 0:
		return notMeasured
	case speed >= 1e9:
		return fmt.Sprintf("%.2f Gbit/s", speed/1e9)
	}
	return fmt.Sprintf("%.1f Mbit/s", speed/1e6)
}
