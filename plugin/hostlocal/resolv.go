package hostlocal

import (
	"fmt"
	"os"
	"strings"

	"github.com/seamnet/seam/cni"
)

// readResolvConf reads a resolver configuration (resolv.conf(5)); no path, nothing.
func readResolvConf(path string) (cni.DNS, error) {
	if path == "" {
		return cni.DNS{}, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return cni.DNS{}, fmt.Errorf("resolvConf: %w", err)
	}
	return parseResolvConf(string(data)), nil
}

// parseResolvConf takes lists together where a key stands several times, and passes
// over what it does not know, as resolvers do.
func parseResolvConf(text string) cni.DNS {
	var dns cni.DNS
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0][0] == '#' || words[0][0] == ';' {
			continue
		}
		switch words[0] {
		case "nameserver":
			dns.Nameservers = append(dns.Nameservers, words[1])
		case "domain":
			dns.Domain = words[1]
		case "search":
			dns.Search = append(dns.Search, words[1:]...)
		case "options":
			dns.Options = append(dns.Options, words[1:]...)
		}
	}
	return dns
}
