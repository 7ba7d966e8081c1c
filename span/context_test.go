package span

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const parentOfTest = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParse(t *testing.T) {
	const trace, id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	tests := []struct{ name, parent, state, want, wantState string }{
		{"sampled", parentOfTest, "", parentOfTest, ""},
		{"not sampled", "00-" + trace + "-" + id + "-00", "", "00-" + trace + "-" + id + "-00", ""},
		{"random, and flags to come", "00-" + trace + "-" + id + "-ff", "", "00-" + trace + "-" + id + "-03", ""},
		{"spaces", " " + parentOfTest + "\t", "", parentOfTest, ""},
		{"later version", "cc-" + trace + "-" + id + "-01", "", parentOfTest, ""},
		{"later version with more", "cc-" + trace + "-" + id + "-01-what-the-future", "", parentOfTest, ""},
		{"state", parentOfTest, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", parentOfTest, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"},
		{"state with empty members", parentOfTest, "a=b, ,c=d", parentOfTest, "a=b, ,c=d"},
		{"state without value", parentOfTest, "rojo", parentOfTest, ""},
		{"state of two lines", parentOfTest, "a=b\r\nHost: x", parentOfTest, ""},
		{"state too long", parentOfTest, "a=" + strings.Repeat("b", 511), parentOfTest, ""},
		{"state of too many", parentOfTest, strings.Repeat("a=b,", 32) + "a=b", parentOfTest, ""},

		{"empty", "", "a=b", "", ""},
		{"version ff", "ff-" + trace + "-" + id + "-01", "", "", ""},
		{"version 00 with more", parentOfTest + "-x", "", "", ""},
		{"later version with more, unparted", "cc-" + trace + "-" + id + "-01.x", "", "", ""},
		{"no hex", "00-0af7651916cd43dd8448eb211c80319g-" + id + "-01", "", "", ""},
		{"upper case", strings.ToUpper(parentOfTest), "", "", ""},
		{"trace of zeros", "00-" + strings.Repeat("0", 32) + "-" + id + "-01", "", "", ""},
		{"span of zeros", "00-" + trace + "-" + strings.Repeat("0", 16) + "-01", "", "", ""},
		{"short", parentOfTest[:54], "", "", ""},
		{"hyphens elsewhere", strings.ReplaceAll(parentOfTest, "-", "_"), "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, ok := Parse(tt.parent, tt.state)
			got := ""
			if ok {
				got = c.String()
			}
			if diff := cmp.Diff([]string{tt.want, tt.wantState}, []string{got, c.State}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if ok != c.Valid() || ok != c.Remote {
				t.Errorf("ok %v, valid %v, remote %v", ok, c.Valid(), c.Remote)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(parentOfTest, "a=b")
	f.Add("cc"+parentOfTest[2:]+"-x", "a=b,c")
	f.Fuzz(func(t *testing.T, parent, state string) {
		c, ok := Parse(parent, state)
		if !ok {
			return
		}
		again, ok := Parse(c.String(), c.State)
		if diff := cmp.Diff(c, again); !ok || diff != "" {
			t.Errorf("read again: %v (-first +again)\n%s", ok, diff)
		}
	})
}

func TestEnviron(t *testing.T) {
	env := []string{"PATH=/bin", "TRACEPARENT=old", "TRACESTATE=old", "BAGGAGE=old", "TRACEPARENT=older"}
	at, _ := Parse(parentOfTest, "a=b")
	bare := at
	bare.State = ""
	loaded := at
	loaded.Baggage = "user=x"
	tests := []struct {
		name   string
		at     Context
		passes *Passes // nil: no recorder
		want   []string
	}{
		{"nowhere", Context{}, nil, env},
		{"nowhere, recorded", Context{}, &Passes{Trace: true}, env},
		{"place", at, nil, []string{"PATH=/bin", "BAGGAGE=old", "TRACESTATE=a=b", "TRACEPARENT=" + parentOfTest}},
		{"without state", bare, nil, []string{"PATH=/bin", "BAGGAGE=old", "TRACEPARENT=" + parentOfTest}},
		{"with baggage", loaded, &Passes{Trace: true, Baggage: true},
			[]string{"PATH=/bin", "BAGGAGE=user=x", "TRACESTATE=a=b", "TRACEPARENT=" + parentOfTest}},
		{"trace does not pass", loaded, &Passes{Baggage: true},
			[]string{"PATH=/bin", "TRACEPARENT=old", "TRACESTATE=old", "TRACEPARENT=older", "BAGGAGE=user=x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			if tt.passes != nil {
				ctx = (&Recorder{Passes: *tt.passes}).In(ctx, Context{})
			}
			if diff := cmp.Diff(tt.want, Environ(Continue(ctx, tt.at), env)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
