package plan

import "strings"

const anyMAC = "chosen at random"

// scrub replaces what is the copy's alone: the path of its namespace, and MACs that would be
// others on the host.
func (r *rehearsal) scrub() {
	var macs []string
	each(r.plan, func(c *Change) {
		if c.Link != nil && r.random(c.Link.MAC) {
			macs = append(macs, c.Link.MAC, anyMAC)
			c.Link.MAC, c.Link.Random = "", true
		}
	})
	if r.podPath != "" {
		macs = append(macs, r.podPath, r.sandbox())
	}
	replace := strings.NewReplacer(macs...)
	each(r.plan, func(c *Change) {
		for _, text := range []*string{&c.Subject, &c.Value, &c.Was} {
			*text = replace.Replace(*text)
		}
	})
	eachStep(r.plan.Plugins, func(s *Step) {
		if s.Error != nil {
			s.Error.Msg, s.Error.Details = replace.Replace(s.Error.Msg), replace.Replace(s.Error.Details)
		}
	})
	for i := range r.plan.Conflicts {
		c := &r.plan.Conflicts[i]
		c.Says, c.Hint = replace.Replace(c.Says), replace.Replace(c.Hint)
	}
}

func each(p *Plan, f func(*Change)) {
	eachStep(p.Plugins, func(s *Step) {
		for i := range s.Changes {
			f(&s.Changes[i])
		}
	})
	for i := range p.Runtime {
		f(&p.Runtime[i])
	}
}

func eachStep(steps []*Step, f func(*Step)) {
	for _, s := range steps {
		f(s)
		eachStep(s.Delegates, f)
	}
}
