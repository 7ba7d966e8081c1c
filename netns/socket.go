package netns

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A Socket is one that takes what comes to a port: it listens (TCP), or is not connected
// (UDP).
type Socket struct {
	Protocol string // tcp or udp
	Addr     netip.AddrPort
	Inode    string // /proc/PID/fd/N of its process leads to socket:[Inode]; "0": of none
}

// Sockets returns those of the namespace, of all processes, as /proc/net/tcp and its
// neighbours list them. One of IPv6 takes IPv4 as well, unless it was told not to, which
// is not seen here.
func (ns *Namespace) Sockets() (all []Socket, err error) {
	err = ns.Do(func() error {
		var errs []error
		for _, file := range []string{"tcp", "tcp6", "udp", "udp6"} {
			data, err := os.ReadFile("/proc/thread-self/net/" + file)
			if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
				continue
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			all = append(all, parseSockets(strings.TrimSuffix(file, "6"), string(data))...)
		}
		return errors.Join(errs...)
	})
	return all, err
}

// parseSockets reads a file such as /proc/net/tcp (proc_net_tcp.txt of the kernel).
func parseSockets(protocol, text string) (all []Socket) {
	const tcpListen, udpUnconnected = "0A", "07"
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != tcpListen && (protocol != "udp" || f[3] != udpUnconnected) {
			continue
		}
		if addr, ok := parseHex(f[1]); ok {
			all = append(all, Socket{protocol, addr, f[9]})
		}
	}
	return all
}

// parseHex reads ADDRESS:PORT as the kernel prints it: words of 32 bits in the machine's order, of
// which only that of small-endian machines is known here.
func parseHex(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok
}
