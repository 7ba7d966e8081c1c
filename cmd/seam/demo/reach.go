package demo

import (
	"context"
	"fmt"
	"net/netip"
)

func reachEachOther(_ context.Context, s *stage) ([]string, error) {
	for _, from := range s.pods {
		for _, to := range s.pods {
			for _, addr := range to.addrs {
				r, err := expect(from, netip.AddrPortFrom(addr, 80), to.name)
				if err != nil {
					return nil, err
				}
				if from != to && r.saw != sameFamily(from.addrs, addr) {
					return nil, fmt.Errorf("%s saw %s, not %s's own address", to.name, r.saw, from.name)
				}
			}
		}
	}
	return nil, nil
}

func sameFamily(addrs []netip.Addr, as netip.Addr) netip.Addr {
	for _, a := range addrs {
		if a.Is4() == as.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

func reachHost(_ context.Context, s *stage) ([]string, error) {
	host, err := serveHere("host", 9000)
	if err != nil {
		return nil, err
	}
	defer host.close()
	for _, p := range s.pods {
		if _, err := expect(p, netip.AddrPortFrom(uplinkAddr.Addr(), 9000), "host"); err != nil {
			return nil, err
		}
		for _, addr := range p.addrs {
			if _, err := expect(nil, netip.AddrPortFrom(addr, 80), p.name); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

func reachNeighbour(_ context.Context, s *stage) ([]string, error) {
	for _, p := range s.pods {
		r, err := expect(p, netip.AddrPortFrom(neighbourAddr.Addr(), 80), s.neighbour.name)
		if err != nil {
			return nil, err
		}
		if r.saw != uplinkAddr.Addr() {
			return nil, fmt.Errorf("the neighbour saw %s come from %s, not from the host", p.name, r.saw)
		}
	}
	return []string{fmt.Sprintf("the neighbour sees them all come from %s", uplinkAddr.Addr())}, nil
}

// reachPort reaches the published port by every way that people expect.
func reachPort(_ context.Context, s *stage) ([]string, error) {
	web := s.pod("web")
	ways := []struct {
		said string
		from *pod
		host netip.Addr
	}{
		{"from the neighbour", s.neighbour, uplinkAddr.Addr()},
		{"from the host", nil, uplinkAddr.Addr()},
		{"from the host, at localhost", nil, netip.MustParseAddr("127.0.0.1")},
		{"from another container", s.pod("db"), uplinkAddr.Addr()},
		{"from web itself", web, uplinkAddr.Addr()},
	}
	var said []string
	for _, w := range ways {
		r, err := expect(w.from, netip.AddrPortFrom(w.host, 8080), web.name)
		if err != nil {
			return said, fmt.Errorf("%s: %w", w.said, err)
		}
		said = append(said, fmt.Sprintf("%-28s %s:8080, seen as %s", w.said, w.host, r.saw))
	}
	return said, nil
}
