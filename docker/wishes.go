package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
)

// wanted is where the wishes of an endpoint come from.
type wanted struct {
	endpoint *cnm.Endpoint
	defaults seam.Wishes       // of the network
	labels   map[string]string // of the container; nil: not known
	networks []string          // names that labels may call this network by
	takes    []string          // the capabilities that the network takes; nil: any
}

// everyNetwork are the words that a label may say of all the container's networks at once.
// The others differ from one network to the next.
func everyNetwork() []string { return []string{"args", "bandwidth", "capabilities"} }

// wishes returns what the endpoint is to have beside addresses and published ports: of
// each word what --driver-opt says, else the label for this network, else the label for
// all, else the network's options. Arguments and capabilities count one by one. What is
// wrong with labels is a warning, as they may be meant for others.
func (w *wanted) wishes() (seam.Wishes, []string, error) {
	all := seam.Wishes{Bandwidth: w.defaults.Bandwidth, Args: w.defaults.Args, Capabilities: maps.Clone(w.defaults.Capabilities)}
	general, own, warnings := w.labelled()
	w.confine(&general)
	overrule(&all, &general)
	overrule(&all, &own)
	driver, err := driverOptions(w.endpoint.Options)
	if err != nil {
		return seam.Wishes{}, nil, err
	}
	if err := w.contradiction(&driver); err != nil {
		return seam.Wishes{}, nil, err
	}
	if len(all.IPs) > 0 && len(w.endpoint.Interface.Addresses) > 0 {
		all.IPs = nil
		warnings = append(warnings, "label seam.ip: passed over: the network's IPAM driver gives the addresses")
	}
	overrule(&all, &driver)
	if mac := w.endpoint.Interface.MAC; mac != nil {
		all.MAC = mac.String()
	}
	return all, warnings, nil
}

// confine leaves of a label for all networks what this one can do: another may be meant.
func (w *wanted) confine(general *seam.Wishes) {
	if w.takes == nil {
		return
	}
	if !slices.Contains(w.takes, cni.CapabilityBandwidth) {
		general.Bandwidth = cni.Bandwidth{}
	}
	maps.DeleteFunc(general.Capabilities, func(name string, _ json.RawMessage) bool { return !slices.Contains(w.takes, name) })
}

// contradiction is what an option says against what the engine has set.
func (w *wanted) contradiction(driver *seam.Wishes) error {
	set := &w.endpoint.Interface
	if len(driver.IPs) > 0 && len(set.Addresses) > 0 {
		return errors.New("--driver-opt seam.ip: the network's IPAM driver gives the addresses: ask it, with --ip and --ip6")
	}
	if mac := set.MAC; driver.MAC != "" && mac != nil && !strings.EqualFold(driver.MAC, mac.String()) {
		return fmt.Errorf("--driver-opt seam.mac=%s: the MAC address is %s already: leave out one of the two", driver.MAC, mac)
	}
	return nil
}

// driverOptions reads the keys of --driver-opt that are Seam's.
func driverOptions(given map[string]string) (w seam.Wishes, err error) {
	var names []string
	for _, word := range seam.Words() {
		names = append(names, optionPrefix+word)
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		word, ours := strings.CutPrefix(key, optionPrefix)
		if !ours {
			continue
		}
		if !slices.Contains(names, key) {
			return w, fmt.Errorf("--driver-opt %s: unknown; %s", key, nearest(key, names))
		}
		if err := w.Say(word, given[key]); err != nil {
			return w, fmt.Errorf("--driver-opt %s: %w", key, err)
		}
	}
	return w, nil
}

// labelled reads the container's labels: what is said of all networks, and of this one.
func (w *wanted) labelled() (general, own seam.Wishes, warnings []string) {
	for _, key := range slices.Sorted(maps.Keys(w.labels)) {
		rest, ours := strings.CutPrefix(key, optionPrefix)
		if !ours {
			continue
		}
		word, network, one := strings.Cut(rest, ".")
		to := &general
		switch {
		case !slices.Contains(seam.Words(), word):
			warnings = append(warnings, fmt.Sprintf("label %s: unknown; known are %s%s", key, optionPrefix, strings.Join(seam.Words(), ", "+optionPrefix)))
			continue
		case one && !slices.Contains(w.networks, network):
			continue // of another network
		case one:
			to = &own
		case !slices.Contains(everyNetwork(), word):
			warnings = append(warnings, fmt.Sprintf("label %s: passed over, as it does not say of which network: %s.NETWORK does", key, key))
			continue
		}
		said := *to
		said.Capabilities = maps.Clone(said.Capabilities)
		if err := said.Say(word, w.labels[key]); err != nil {
			warnings = append(warnings, fmt.Sprintf("label %s: passed over: %s", key, err))
			continue
		}
		*to = said
	}
	return general, own, warnings
}

// overrule puts what is said in by into w.
func overrule(w, by *seam.Wishes) {
	if len(by.Ports) > 0 {
		w.Ports = by.Ports
	}
	if len(by.IPs) > 0 {
		w.IPs = by.IPs
	}
	if by.MAC != "" {
		w.MAC = by.MAC
	}
	if by.Bandwidth != (cni.Bandwidth{}) {
		w.Bandwidth = by.Bandwidth
	}
	if len(by.Args) > 0 {
		w.Args = slices.DeleteFunc(slices.Clone(w.Args), func(a cni.Arg) bool {
			return slices.ContainsFunc(by.Args, func(b cni.Arg) bool { return a.Key == b.Key })
		})
		w.Args = append(w.Args, by.Args...)
	}
	if len(by.Capabilities) > 0 && w.Capabilities == nil {
		w.Capabilities = make(map[string]json.RawMessage)
	}
	maps.Copy(w.Capabilities, by.Capabilities)
}

// nearest says which of the known words is meant by an unknown one: the one that the
// fewest edits lead to or, if that is not few, all of them.
func nearest(word string, known []string) string {
	best, least := "", 1+len(word)/3
	for _, k := range known {
		if d := edits(word, k); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return best + " is meant, perhaps"
	}
	return "known are " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// edits counts the letters to be put in, left out or changed between two words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
