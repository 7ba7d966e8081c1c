package cni

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseBandwidth parses what people write for limits:
// "ingress=10M,egress=5M,ingress-burst=1M", bits per second, and bits for bursts, with
// k, M, G or T, in any case, for powers of 1000. A burst that is not given is what its rate passes in
// a tenth of a second, as the plugin wants both. Errors begin with the text.
func ParseBandwidth(s string) (Bandwidth, error) {
	var b Bandwidth
	fields := map[string]*uint64{
		"ingress": &b.IngressRate, "ingress-burst": &b.IngressBurst,
		"egress": &b.EgressRate, "egress-burst": &b.EgressBurst,
	}
	for pair := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(pair, "=")
		field, ok := fields[key]
		if !ok {
			return b, fmt.Errorf("%q: %q is none of ingress, egress, ingress-burst, egress-burst", s, key)
		}
		n, err := parseBits(value)
		if err != nil {
			return b, fmt.Errorf("%q: %s: %w", s, key, err)
		}
		*field = n
	}
	if b.IngressRate == 0 && b.IngressBurst > 0 || b.EgressRate == 0 && b.EgressBurst > 0 {
		return b, fmt.Errorf("%q: a burst without its rate", s)
	}
	b.IngressBurst = burstOr(b.IngressBurst, b.IngressRate)
	b.EgressBurst = burstOr(b.EgressBurst, b.EgressRate)
	return b, nil
}

// smallestBurst holds two full frames: with less, nothing passes.
const smallestBurst = 2 * 1514 * 8

func burstOr(burst, rate uint64) uint64 {
	if burst > 0 || rate == 0 {
		return burst
	}
	return max(rate/10, smallestBurst)
}

func parseBits(s string) (uint64, error) {
	// docker run lowers the letters of its driver-opt=.
	digits := strings.TrimRight(s, "kKmMgGtT")
	factor := uint64(1)
	switch unit := s[len(digits):]; len(unit) {
	case 0:
	case 1:
		factor = uint64(math.Pow10(3 * (1 + strings.Index("kmgt", strings.ToLower(unit)))))
	default:
		return 0, fmt.Errorf("unit %q is none of k, M, G, T", unit)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n == 0 || n > math.MaxUint64/factor {
		return 0, fmt.Errorf("%q is no number of bits such as 500k or 10M", s)
	}
	return n * factor, nil
}
