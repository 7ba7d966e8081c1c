package trail

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/netns"
)

// listeners returns the addresses at which sockets of the namespace listen on a port.
func listeners(ns *netns.Namespace, protocol byte, port uint16) []netip.Addr {
	if protocol != unix.IPPROTO_TCP {
		return nil
	}
	var all []netip.Addr
	// What cannot be read is a hint less.
	_ = ns.Do(func() error {
		for _, file := range []string{"tcp", "tcp6"} {
			all = append(all, listenersIn("/proc/thread-self/net/"+file, port)...)
		}
		return nil
	})
	return all
}

// listenersIn reads a file of proc_net_tcp(5).
func listenersIn(path string, port uint16) (all []netip.Addr) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	const listening = "0A"
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 4 || fields[3] != listening {
			continue
		}
		addr, number, _ := strings.Cut(fields[1], ":")
		if number == fmt.Sprintf("%04X", port) {
			if a, ok := procAddr(addr); ok {
				all = append(all, a)
			}
		}
	}
	return all
}

// procAddr reads an address as /proc has it: words of four bytes in the machine's order, of
// which only that of small-endian machines is known here.
func procAddr(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return netip.Addr{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	return netip.AddrFromSlice(b)
}

// legacyRules reports whether iptables-legacy has tables here.
func legacyRules() bool {
	for _, file := range []string{"ip_tables_names", "ip6_tables_names"} {
		if b, err := os.ReadFile("/proc/thread-self/net/" + file); err == nil && len(b) > 0 {
			return true
		}
	}
	return false
}
