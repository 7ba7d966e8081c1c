package bridge_test

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/plugintest"
)

func TestZZ(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		rounds, _ := strconv.Atoi(os.Getenv("ROUNDS"))
		together, _ := strconv.Atoi(os.Getenv("TOGETHER"))
		host := plugintest.Host(t)
		s := &succession{T: t, Plugin: bridge.New(host)}
		stays := netnstest.NewPod(t, "stays")
		s.neighbours = []*netns.Namespace{nil, stays.NS}
		if _, err := s.Add(t.Context(), s.request(stays, 2)); err != nil {
			t.Fatal(err)
		}
		for i := range together {
			s.pods = append(s.pods, netnstest.NewPod(t, fmt.Sprintf("%d-of-%d", i+1, together)))
		}
		bad, total := 0, 0
		hs, ps := sniff(t, nil), sniff(t, s.pods[0].NS)
		for round := range rounds {
			hs.drain()
			ps.drain()
			var done time.Time
			s.each(func(i int) error {
				defer func() { done = time.Now() }()
				_, err := s.Add(s.Context(), s.request(s.pods[i], 10+i))
				return err
			})
			for i := range s.pods {
				for j, from := range s.neighbours {
					for _, a := range []netip.Addr{v4(10 + i), v6(10 + i)} {
						total++
						begin := time.Now()
						if err := greet(s.Context(), from, a); err != nil {
							bad++
							pod := stays
							if j == 0 {
								pod = nil
							}
							t.Errorf("round %d %s from %d: %v %v\n%s%s", round, a, j, err, time.Since(begin),
								plugintest.Run(t, pod, "ip", "-s", "neigh", "show", a.String()), "done "+done.Format("05.000000")+" greet "+begin.Format("05.000000")+"\nhost\n"+hs.drain()+"pod\n"+ps.drain())
						}
					}
				}
			}
			s.each(func(i int) error { return s.Del(s.Context(), s.request(s.pods[i], 10+i)) })
		}
		t.Logf("ZZ bad %d of %d", bad, total)
	})
}
