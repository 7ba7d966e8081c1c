package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A table is text in aligned columns under headings.
type table struct {
	rows [][]string // the first holds the headings
}

func newTable(headings ...string) *table { return &table{[][]string{headings}} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table, empty cells as "-", two spaces between columns.
func (t *table) print(w io.Writer) {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(orElse(cell, "-")))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			cell = orElse(cell, "-")
			line.WriteString(cell + strings.Repeat(" ", widths[i]+2-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}
