package main

import (
	"encoding/json"
	"strings"
)

// printJSON writes a value for programs.
func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "    ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// oneLine makes one line of a text of several.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
