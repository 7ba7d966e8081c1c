package main

import "github.com/seamnet/seam/cni"

// parseBandwidth parses the value of --bandwidth.
func parseBandwidth(s string) (cni.Bandwidth, error) {
	b, err := cni.ParseBandwidth(s)
	if err != nil {
		return b, usage("--bandwidth %v", err)
	}
	return b, nil
}
