package main

import (
	"fmt"
	"io"
)

// A tree is a line of text and those below it.
type tree struct {
	text  string
	below []*tree
}

// add puts a line below t and returns it.
func (t *tree) add(format string, args ...any) *tree {
	child := &tree{text: fmt.Sprintf(format, args...)}
	t.below = append(t.below, child)
	return child
}

// print writes the tree, as tree(1) draws folders.
func (t *tree) print(w io.Writer) {
	fmt.Fprintln(w, printable(t.text))
	t.printBelow(w, "")
}

func (t *tree) printBelow(w io.Writer, margin string) {
	for i, child := range t.below {
		branch, deeper := "├─ ", "│  "
		if i == len(t.below)-1 {
			branch, deeper = "└─ ", "   "
		}
		fmt.Fprintln(w, margin+branch+printable(child.text))
		child.printBelow(w, margin+deeper)
	}
}
