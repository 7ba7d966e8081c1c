package bandwidth

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/seamnet/seam/link"
)

// Config is the plugin's configuration.
type Config struct {
	*Limits // nil if none of its keys is given

	// UnshapedSubnets are those whose traffic with the pod is not limited,
	// ShapedSubnets the only ones whose is. One of them at most is given.
	UnshapedSubnets []netip.Prefix `json:"unshapedSubnets"`
	ShapedSubnets   []netip.Prefix `json:"shapedSubnets"`

	RuntimeConfig struct {
		Bandwidth *struct {
			Limits
			UnshapedSubnets []netip.Prefix `json:"unshapedSubnets"`
			ShapedSubnets   []netip.Prefix `json:"shapedSubnets"`
		} `json:"bandwidth"` // what counts where the keys above are not given
	} `json:"runtimeConfig"`

	begun intents
}

// Limits are rates in bits a second and bursts in bits. "Ingress" is what the pod
// receives.
type Limits struct {
	IngressRate  uint64 `json:"ingressRate"`  // 0: no limit
	IngressBurst uint64 `json:"ingressBurst"` // 0: as long as the rate needs 100 ms for
	EgressRate   uint64 `json:"egressRate"`
	EgressBurst  uint64 `json:"egressBurst"`
}

// limits returns those that count.
func (c *Config) limits() Limits {
	switch {
	case c.Limits != nil:
		return *c.Limits
	case c.RuntimeConfig.Bandwidth != nil:
		return c.RuntimeConfig.Bandwidth.Limits
	}
	return Limits{}
}

// subnets returns the two lists that count.
func (c *Config) subnets() (unshaped, shaped []netip.Prefix) {
	if len(c.UnshapedSubnets)+len(c.ShapedSubnets) == 0 && c.RuntimeConfig.Bandwidth != nil {
		return c.RuntimeConfig.Bandwidth.UnshapedSubnets, c.RuntimeConfig.Bandwidth.ShapedSubnets
	}
	return c.UnshapedSubnets, c.ShapedSubnets
}

// Validate is called by Request.Decode.
func (c *Config) Validate() error {
	l := c.limits()
	unshaped, shaped := c.subnets()
	errs := []error{validate("ingress", l.IngressRate, l.IngressBurst), validate("egress", l.EgressRate, l.EgressBurst)}
	if len(unshaped) > 0 && len(shaped) > 0 {
		errs = append(errs, errors.New("unshapedSubnets and shapedSubnets: only one of them can be given"))
	}
	for _, p := range append(unshaped[:len(unshaped):len(unshaped)], shaped...) {
		if !p.IsValid() || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("subnet %q: write it as 192.0.2.0/24 or 2001:db8::/64", p))
		}
	}
	return errors.Join(errs...)
}

func validate(direction string, rate, burst uint64) error {
	switch {
	case rate == 0 && burst != 0:
		return fmt.Errorf("%sBurst %d: there is no %sRate", direction, burst, direction)
	case rate != 0 && rate < 8:
		return fmt.Errorf("%sRate %d: bits a second, at least 8", direction, rate)
	case burst != 0 && burst < 8:
		return fmt.Errorf("%sBurst %d: bits, at least 8", direction, burst)
	case burst/8 >= math.MaxUint32:
		return fmt.Errorf("%sBurst %d: bits, less than 4 GiB of bytes", direction, burst)
	}
	return nil
}

const (
	latency      = 25 * time.Millisecond
	defaultBurst = 10 // a burst is the rate of a second through this
	// smallestBurst holds two full frames: with less, nothing passes.
	smallestBurst = 2 * 1514
	// noBurst is what containerd gives that has none to give. Taken at its word it would
	// let half a gigabyte pass before the first limit.
	noBurst = math.MaxUint32
)

// bucket returns the token bucket for a rate in bits a second and a burst in bits.
func bucket(rate, burst uint64) link.TBF {
	t := literal(rate, burst)
	if burst == 0 || burst == noBurst {
		t.Burst = min(max(t.Rate/defaultBurst, smallestBurst), math.MaxUint32-1)
	}
	return t
}

func literal(rate, burst uint64) link.TBF {
	return link.TBF{Rate: rate / 8, Burst: burst / 8, Latency: latency}
}

// check compares with the bucket for a rate and a burst; one that the reference plugin
// made by the word is as good.
func check(rate, burst uint64, compare func(link.TBF) error) error {
	err := compare(bucket(rate, burst))
	if err != nil && burst == noBurst && compare(literal(rate, burst)) == nil {
		return nil
	}
	return err
}
