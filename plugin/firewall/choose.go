package firewall

import (
	"bufio"
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// choose returns the back end that is asked for, else the one in which the host's
// policy lives: firewalld, if it runs; iptables, if the administrator's chain is in it
// or where it is the old one, which nftables cannot reach; else nftables.
func (p *firewall) choose(ctx context.Context, conf *Config) (Backend, error) {
	if conf.Backend != Auto {
		return conf.Backend, nil
	}
	if (&firewalld{}).available(ctx) == nil {
		return Firewalld, nil
	}
	if legacyFilter() {
		return IPTables, nil
	}
	table, err := p.host.Table()
	if err != nil {
		return "", err
	}
	there, err := table.InIPTables(conf.AdminChain)
	switch {
	case errors.Is(err, unix.EPERM):
		return "", err
	case there, err != nil: // a kernel without nftables has iptables at best
		return IPTables, nil
	}
	return NFTables, nil
}

// legacyFilter reports whether the host's namespace has the table filter of
// iptables-legacy.
func legacyFilter() bool {
	for _, file := range []string{"ip_tables_names", "ip6_tables_names"} {
		f, err := os.Open("/proc/thread-self/net/" + file)
		if err != nil {
			continue
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if lines.Text() == "filter" {
				return true
			}
		}
	}
	return false
}
