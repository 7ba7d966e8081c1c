package lint

import "github.com/seamnet/seam/cni"

// What a configuration may be able to say beside Validate, which does not know where the
// plugin stands. An error with one of CNI's codes is what ADD answers there; another is
// a doubt.
type (
	// First says what is wrong with it where no plugin is before it.
	starter interface{ First() error }

	// With says what is wrong with it if the runtime may give it no more than these
	// capabilities.
	asker interface {
		With(capabilities map[string]bool) error
	}

	// Beside says what is wrong with it in one chain with another configuration.
	neighbour interface{ Beside(other any) error }

	// Doubt says what Validate lets pass and is probably not meant.
	doubter interface{ Doubt() error }
)

// A placed configuration is one that Validate let pass.
type placed struct {
	place
	node   *node
	typ    string
	config any
}

// review asks the plugins about their places, when all of them are known.
func (c *checker) review() {
	for _, p := range c.placed {
		for _, err := range c.opinions(p) {
			switch {
			case err == nil:
			case cni.CodeOf(err) == cni.CodeInternal:
				c.refused(p.node, p.path, p.typ, err, Warning)
			default:
				c.refused(p.node, p.path, p.typ, err, Error)
			}
		}
	}
}

func (c *checker) opinions(p placed) (errs []error) {
	if config, ok := p.config.(starter); ok && p.first {
		errs = append(errs, config.First())
	}
	if config, ok := p.config.(asker); ok {
		errs = append(errs, config.With(c.enabled(p.node)))
	}
	if config, ok := p.config.(doubter); ok {
		errs = append(errs, config.Doubt())
	}
	if config, ok := p.config.(neighbour); ok {
		for _, other := range c.placed {
			errs = append(errs, config.Beside(other.config))
		}
	}
	return errs
}
