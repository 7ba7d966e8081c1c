package lint

import (
	"cmp"
	"fmt"
	"path/filepath"
)

// A File is one to check.
type File struct {
	Name string
	Text []byte
}

// CheckAll returns what is wrong with each of the files, in their order, and with two
// files of one folder that have one network's name: the runtime takes the first.
func (r Rules) CheckAll(files []File) []Finding {
	var checked []*checker
	for _, f := range files {
		checked = append(checked, r.check(f.Name, f.Text))
	}
	var findings []Finding
	for _, c := range checked {
		c.shadowed(checked)
		c.sort()
		findings = append(findings, c.findings...)
	}
	return findings
}

// shadowed warns of a network that the runtime finds in another file first.
func (c *checker) shadowed(all []*checker) {
	first := c
	for _, other := range all {
		if other.name == c.name && filepath.Dir(other.file) == filepath.Dir(c.file) && other.before(first) {
			first = other
		}
	}
	if first != c && c.name != "" {
		c.add(c.nameAt, "name", Warning, fmt.Sprintf("network %q is that of %s already, which comes first: this file has no effect", c.name, first.file),
			"give the network another name, or remove one of the files")
	}
}

// before reports whether the runtime, which reads both, reads this file earlier.
func (c *checker) before(other *checker) bool {
	if c.turn() == 0 || other.turn() == 0 {
		return false
	}
	return cmp.Or(cmp.Compare(c.turn(), other.turn()), cmp.Compare(filepath.Base(c.file), filepath.Base(other.file))) < 0
}

// turn returns when the runtime reads the file: lists first, then the single plugins; 0:
// never.
func (c *checker) turn() int {
	switch filepath.Ext(c.file) {
	case ".conflist":
		return 1
	case ".conf", ".json":
		return 2
	}
	return 0
}
