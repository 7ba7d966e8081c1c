// Package examples holds networks to start from: the files beside it, and the ones
// of the demonstration, linked in. It is not for configuration of anybody's host.
package examples

import "embed"

// Demo is the folder demo: the networks of "seam demo" and a script that wraps a
// plugin.
//
//go:embed demo
var Demo embed.FS
