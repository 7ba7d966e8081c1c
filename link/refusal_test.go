package link

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// explained is what follows the errno of an answer: the request's header and attributes,
// each a size, a type and a value.
func explained(attrs ...[]byte) []byte {
	rest := make([]byte, unix.NLMSG_HDRLEN)
	for _, a := range attrs {
		rest = append(rest, a...)
	}
	return rest
}

func attr(size, kind uint16, value string) []byte {
	b := binary.NativeEndian.AppendUint16(nil, size)
	return append(binary.NativeEndian.AppendUint16(b, kind), value...)
}

// TestRefused: the kernel's reason where it is whole, and otherwise its errno.
func TestRefused(t *testing.T) {
	const (
		flags  = unix.NLM_F_CAPPED | unix.NLM_F_ACK_TLVS
		reason = unix.NLMSGERR_ATTR_MSG
		offset = unix.NLMSGERR_ATTR_OFFS
		plain  = "invalid argument"
	)
	for name, test := range map[string]struct {
		flags uint16
		rest  []byte
		want  string
	}{
		"reason":            {flags, explained(attr(9, reason, "why?\x00\x00\x00\x00")), plain + ": why?"},
		"after another":     {flags, explained(attr(8, offset, "1234"), attr(9, reason, "why?\x00\x00\x00\x00")), plain + ": why?"},
		"after padding":     {flags, explained(attr(5, offset, "1\x00\x00\x00"), attr(8, reason, "why\x00")), plain + ": why"},
		"not padded":        {flags, explained(attr(9, reason, "why?\x00")), plain + ": why?"},
		"without an end":    {flags, explained(attr(8, reason, "why?")), plain + ": why?"},
		"empty":             {flags, explained(attr(4, reason, "")), plain},
		"other, not padded": {flags, explained(attr(5, offset, "1")), plain},
		"cut short":         {flags, explained(attr(9, reason, "why")), plain},
		"no size":           {flags, explained(attr(0, reason, "why?")), plain},
		"no attributes":     {flags, explained(), plain},
		"no header":         {flags, nil, plain},
		"not announced":     {unix.NLM_F_CAPPED, explained(attr(8, reason, "why\x00")), plain},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refused(unix.EINVAL, test.flags, test.rest).Error(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzReason(f *testing.F) {
	f.Add([]byte("\x09\x00\x01\x00why?\x00\x00\x00\x00"))
	f.Add([]byte("\x05\x00\x02\x001"))
	f.Fuzz(func(t *testing.T, attrs []byte) {
		if reason := parseReason(attrs); len(reason) > len(attrs) {
			t.Errorf("%q of %q", reason, attrs)
		}
	})
}
