package hostlocal

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/ipam"
)

// Config is the part of a network's configuration that the plugin reads; the keys
// are those of the reference plugin.
type Config struct {
	IPAM struct {
		Range                  // the old form: one set of one range, before Ranges
		Ranges     [][]Range   `json:"ranges"` // outer: an address from each; inner: where to take it from
		Routes     []cni.Route `json:"routes"`
		ResolvConf string      `json:"resolvConf"` // path; its contents become the result's DNS
		DataDir    string      `json:"dataDir"`    // default: New's leaseDir
	} `json:"ipam"`
	RuntimeConfig struct {
		IPRanges [][]Range `json:"ipRanges"` // before all others
		IPs      []string  `json:"ips"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			IPs []string `json:"ips"`
		} `json:"cni"`
	} `json:"args"`

	sets []ipam.Set // by Validate
}

// A Range is ipam.Range as the configuration has it; empty means the default.
type Range struct {
	Subnet     string `json:"subnet"`
	RangeStart string `json:"rangeStart"`
	RangeEnd   string `json:"rangeEnd"`
	Gateway    string `json:"gateway"`
}

// errNoRanges is no fault where ranges come with the attachment (ipRanges).
var errNoRanges = errors.New(`no addresses to give: "ipam" has no "ranges"`)

// Validate reports what is wrong, by the keys.
func (c *Config) Validate() error {
	// A call that comes from another folder would look elsewhere.
	for _, p := range []struct{ key, path string }{{"dataDir", c.IPAM.DataDir}, {"resolvConf", c.IPAM.ResolvConf}} {
		if p.path != "" && !filepath.IsAbs(p.path) {
			return fmt.Errorf("ipam.%s %q: must be an absolute path", p.key, p.path)
		}
	}
	for _, r := range c.IPAM.Routes {
		if !r.Dst.IsValid() {
			return errors.New(`ipam.routes: a route has no "dst"`)
		}
	}
	sources := c.sources()
	if len(sources) == 0 {
		return errNoRanges
	}
	c.sets = make([]ipam.Set, len(sources))
	for i, from := range sources {
		var err error
		if c.sets[i], err = parseSet(from.ranges); err != nil {
			return fmt.Errorf("%s: %w", from.key, err)
		}
	}
	if o, ok := errors.AsType[*ipam.OverlapError](ipam.Disjoint(c.sets)); ok {
		return fmt.Errorf("%s: range %s overlaps %s of %s", sources[o.Second].key, o.B, o.A, sources[o.First].key)
	}
	return nil
}

// A source is a set of ranges and where it stands.
type source struct {
	key    string
	ranges []Range
}

// sources returns the sets in the order in which addresses stand in the result,
// and cursors are counted.
func (c *Config) sources() []source {
	var all []source
	for i, ranges := range c.RuntimeConfig.IPRanges {
		all = append(all, source{fmt.Sprintf("runtimeConfig.ipRanges[%d]", i), ranges})
	}
	// As in the reference plugin, the old form's other keys mean nothing without it.
	if c.IPAM.Subnet != "" {
		all = append(all, source{"ipam", []Range{c.IPAM.Range}})
	}
	for i, ranges := range c.IPAM.Ranges {
		all = append(all, source{fmt.Sprintf("ipam.ranges[%d]", i), ranges})
	}
	return all
}

func parseSet(ranges []Range) (ipam.Set, error) {
	set := make(ipam.Set, len(ranges))
	for i, r := range ranges {
		var err error
		if set[i], err = r.parse(); err != nil {
			return nil, err
		}
	}
	return set.Complete()
}

func (r Range) parse() (ipam.Range, error) {
	var whole ipam.Range
	var err error
	if r.Subnet != "" {
		if whole.Subnet, err = netip.ParsePrefix(r.Subnet); err != nil {
			return whole, fmt.Errorf("subnet %q is not of the form ADDRESS/LENGTH", r.Subnet)
		}
	}
	for _, a := range []struct {
		key, value string
		to         *netip.Addr
	}{
		{"rangeStart", r.RangeStart, &whole.First},
		{"rangeEnd", r.RangeEnd, &whole.Last},
		{"gateway", r.Gateway, &whole.Gateway},
	} {
		if a.value == "" {
			continue
		}
		if *a.to, err = netip.ParseAddr(a.value); err != nil {
			return whole, fmt.Errorf("%s %q is not an IP address", a.key, a.value)
		}
	}
	return whole, nil
}

// decode returns the configuration if an Add could go by it.
func decode(r *cni.Request) (*Config, error) {
	conf := new(Config)
	if err := r.Decode(conf); err != nil {
		return nil, err
	}
	if err := conf.checkVersion(r.Config.Version); err != nil {
		return nil, explain(r, err)
	}
	return conf, nil
}

// checkVersion refuses what a result of that version cannot hold.
func (c *Config) checkVersion(version string) error {
	several, err := wire.AtLeast(version, "0.3.0")
	if err != nil || several {
		return err
	}
	for i, set := range c.sets {
		if slices.ContainsFunc(c.sets[:i], func(s ipam.Set) bool { return s.Is4() == set.Is4() }) {
			return cni.Errorf(cni.CodeInvalidConfig, "version %q of CNI allows one address of a family", version).
				WithDetails("set cniVersion to 0.3.0 or later, or give one set of ranges a family")
		}
	}
	return nil
}

// requested returns the addresses that are asked for: all ways together, each
// address once. A prefix length means nothing here.
func (c *Config) requested(args cni.Args) ([]netip.Addr, error) {
	// Every plugin of a chain sees all of CNI_ARGS: other plugins' keys are known too.
	if err := args.Only("IP", "MAC", "GATEWAY"); err != nil {
		return nil, err
	}
	var asked []string
	if ip := args.Get("IP"); ip != "" {
		asked = append(asked, ip)
	}
	asked = append(asked, c.Args.CNI.IPs...)
	asked = append(asked, c.RuntimeConfig.IPs...)
	var addrs []netip.Addr
	for _, s := range asked {
		a, _, err := cni.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return nil, cni.Errorf(cni.CodeInvalidConfig, "requested address %q is not an IP address", s)
		}
		if a = a.Unmap(); !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs, nil
}

// dataDir returns the key dataDir of a configuration that need not be valid: what
// was leased is found and freed whatever else has become of the configuration. With
// one that cannot be read at all nothing was ever leased.
func dataDir(r *cni.Request) string {
	var conf struct {
		IPAM struct {
			DataDir string `json:"dataDir"`
		} `json:"ipam"`
	}
	_ = json.Unmarshal(r.Config.JSON, &conf) // a wrong type elsewhere is passed over
	return conf.IPAM.DataDir
}
