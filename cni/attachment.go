package cni

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
)

// An Attachment names one interface of one container on one network. It is the
// identity of everything that is made for it.
type Attachment struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// A Tag is an Attachment as one string of at most 127 bytes: the alias of links,
// the comment of firewall elements, the name of records. It reads
// NETWORK/CONTAINER/IFNAME; names too long for that are cut and end in "~" and a
// hash, a character that no valid name holds, so that different attachments keep
// different tags.
type Tag string

const (
	longestNetwork   = 46
	longestContainer = 64
	hashDigits       = 24
)

// Tag returns the attachment's tag.
func (a Attachment) Tag() Tag {
	return Tag(shorten(a.Network, longestNetwork) + "/" + shorten(a.ContainerID, longestContainer) + "/" + a.IfName)
}

// NetworkTag returns the part that the tags of all attachments of a network begin
// with, its final "/" included.
func NetworkTag(network string) Tag { return Tag(shorten(network, longestNetwork) + "/") }

// In reports whether the tag is of the named network.
func (t Tag) In(network string) bool {
	return strings.HasPrefix(string(t), string(NetworkTag(network)))
}

// Hash returns the first n (at most 64) hexadecimal digits of the tag's SHA-256:
// a name for what has no room for the tag itself, such as a link.
func (t Tag) Hash(n int) string { return hash(string(t), n) }

func shorten(name string, longest int) string {
	if len(name) <= longest {
		return name
	}
	return name[:longest-hashDigits-1] + "~" + hash(name, hashDigits)
}

func hash(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:n]
}

// isName reports whether s is of the grammar [a-zA-Z0-9][a-zA-Z0-9_.\-]*, checked by
// hand because compiling an expression would cost every plugin's start.
func isName(s string) bool {
	for i, c := range []byte(s) {
		letterOrDigit := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letterOrDigit && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return s != ""
}

// CheckNetworkName reports why s cannot be a network's name (specification
// 1.1.0, section 1), as an Error with CodeInvalidConfig.
func CheckNetworkName(s string) error {
	if s == "" {
		return Errorf(CodeInvalidConfig, "missing network name")
	}
	if !isName(s) {
		return Errorf(CodeInvalidConfig, "network name %q: must begin with a letter or digit and hold only letters, digits, '_', '.' and '-'", s)
	}
	return nil
}

// CheckContainerID reports why s cannot be a container's ID (specification
// 1.1.0, section 2), as an Error with CodeInvalidEnvironment.
func CheckContainerID(s string) error {
	if s == "" {
		return Errorf(CodeInvalidEnvironment, "missing container ID")
	}
	if !isName(s) {
		return Errorf(CodeInvalidEnvironment, "container ID %q: must begin with a letter or digit and hold only letters, digits, '_', '.' and '-'", s)
	}
	return nil
}

// CheckIfName reports why s cannot be an interface's name: the rules of the
// specification are those of Linux's dev_valid_name. The error has
// CodeInvalidEnvironment.
func CheckIfName(s string) error {
	switch {
	case s == "":
		return Errorf(CodeInvalidEnvironment, "missing interface name")
	case len(s) > 15:
		return Errorf(CodeInvalidEnvironment, "interface name %q: longer than 15 bytes", s)
	case s == "." || s == "..":
		return Errorf(CodeInvalidEnvironment, "interface name %q: must not be . or ..", s)
	case strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r == ':' || r <= ' ' || r == 0x7f || unicode.IsSpace(r) }):
		return Errorf(CodeInvalidEnvironment, "interface name %q: must not contain '/', ':', white space or control characters", s)
	}
	return nil
}
