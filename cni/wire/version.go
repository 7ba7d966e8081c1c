package wire

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seamnet/seam/cni"
)

const (
	oldest = "0.1.0" // and what a missing version means
	latest = "1.1.0"
)

// SupportedVersions returns the versions of the specification that Seam speaks,
// the oldest first.
func SupportedVersions() []string {
	return []string{oldest, "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", latest}
}

// A Newcomer is a plugin that serves no version before the one it names.
type Newcomer interface{ Since() string }

// versionsOf returns the versions that the plugin serves.
func versionsOf(p cni.Plugin) []string {
	all := SupportedVersions()
	if n, ok := p.(Newcomer); ok {
		return all[max(slices.Index(all, n.Since()), 0):]
	}
	return all
}

// AtLeast reports whether version is least or newer. Both are one to three numbers
// with dots between, missing ones being 0; "" is 0.1.0. What is not of that form
// is an error with CodeDecoding.
func AtLeast(version, least string) (bool, error) {
	v, err := parseVersion(version)
	if err != nil {
		return false, err
	}
	l, err := parseVersion(least)
	if err != nil {
		return false, err
	}
	return slices.Compare(v[:], l[:]) >= 0, nil
}

func parseVersion(s string) (v [3]uint64, err error) {
	if s == "" {
		s = oldest
	}
	parts := strings.Split(s, ".")
	if len(parts) > len(v) {
		return v, cni.Errorf(cni.CodeDecoding, "version %q: more than three numbers", s)
	}
	for i, p := range parts {
		if v[i], err = strconv.ParseUint(p, 10, 31); err != nil {
			return v, cni.Errorf(cni.CodeDecoding, "version %q: %q is not a number", s, p)
		}
	}
	return v, nil
}

// known returns the version, "" as 0.1.0, or an error with
// CodeIncompatibleVersion if it is none of SupportedVersions.
func known(version string) (string, error) { return among(version, SupportedVersions()) }

func among(version string, supported []string) (string, error) {
	if version == "" {
		version = oldest
	}
	if !slices.Contains(supported, version) {
		return "", cni.Errorf(cni.CodeIncompatibleVersion, "CNI version %q is not supported", version).
			WithDetails("asked for %q, supported are %s", version, strings.Join(supported, ", "))
	}
	return version, nil
}

// versionForm is the answer to VERSION.
type versionForm struct {
	CNIVersion        string   `json:"cniVersion"`
	SupportedVersions []string `json:"supportedVersions,omitempty"`
}

// encodeVersions answers VERSION in the version that the input asks for.
func encodeVersions(input []byte, supported []string) []byte {
	form := versionForm{latest, supported}
	if o, err := ParseObject(input); err == nil {
		if asked, err := o.String("cniVersion"); err == nil && asked != "" {
			form.CNIVersion = asked
		}
	}
	data, _ := json.Marshal(form) // strings always have a JSON form
	return append(data, '\n')
}

// decodeVersions reads a plugin's answer to VERSION. One that only says that it is
// of version 0.2.0 comes from before there was a list.
func decodeVersions(data []byte) ([]string, error) {
	var form versionForm
	if err := unmarshalObject(data, &form); err != nil {
		return nil, fmt.Errorf("answer to VERSION: %w", err)
	}
	switch {
	case len(form.SupportedVersions) > 0:
		return form.SupportedVersions, nil
	case form.CNIVersion == "0.2.0":
		return []string{oldest, "0.2.0"}, nil
	}
	return nil, fmt.Errorf("answer to VERSION: no supportedVersions in %.100q", data)
}
