package seam

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

func TestCheck(t *testing.T) {
	const v1 = `{"cniVersion": "1.1.0", "name": "blue", "plugins": [{"type": "a"}, {"type": "b"}, {"type": "c"}]}`
	tests := []struct {
		name     string
		list     string
		attached bool
		broken   string
		want     []string
		code     cni.Code // 0: no error
	}{
		{"sound", v1, true, "", []string{"CHECK a", "CHECK b", "CHECK c"}, 0},
		{"stops at the first error", v1, true, "b", []string{"CHECK a", "CHECK b"}, cni.CodeInternal},
		{"not attached", v1, false, "", nil, cni.CodeUnknownContainer},
		{"disabled", strings.Replace(v1, `"name"`, `"disableCheck": true, "name"`, 1), false, "", nil, 0},
		{"too old", strings.Replace(v1, "1.1.0", "0.3.1", 1), true, "", nil, cni.CodeIncompatibleVersion},
		{"too old and disabled", strings.Replace(strings.Replace(v1, "1.1.0", "0.3.1", 1), `"name"`, `"disableCheck": "True", "name"`, 1), false, "", nil, cni.CodeIncompatibleVersion},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			n := parseNetwork(t, tt.list)
			if tt.attached {
				if _, err := b.Attach(t.Context(), n, container("c1")); err != nil {
					t.Fatal(err)
				}
				b.book.take()
			}
			if tt.broken != "" {
				b.fail(tt.broken, Check)
			}
			err := b.Check(t.Context(), n, container("c1"))
			if (tt.code == 0) != (err == nil) || err != nil && cni.CodeOf(err) != tt.code {
				t.Errorf("error %v, want code %d", err, tt.code)
			}
			if diff := cmp.Diff(tt.want, b.book.take()); diff != "" {
				t.Errorf("calls (-want +got)\n%s", diff)
			}
		})
	}
}

func TestStatusFirstErrorWins(t *testing.T) {
	b := newBench(t, t.TempDir())
	want := cni.Errorf(cni.CodeLimited, "no addresses left")
	b.plugins["b"].on[Status] = func(context.Context, *cni.Request) error { return want }
	b.fail("c", Status)
	if err := b.Status(t.Context(), b.network); !errors.Is(err, want) || cni.CodeOf(err) != cni.CodeLimited {
		t.Errorf("error %v, want %v", err, want)
	}
	if diff := cmp.Diff([]string{"STATUS a", "STATUS b"}, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
}

func TestValidate(t *testing.T) {
	b := newBench(t, t.TempDir())
	if err := b.Validate(t.Context(), b.network); err != nil {
		t.Error(err)
	}
	n := parseNetwork(t, `{"cniVersion": "1.7.0", "name": "-", "plugins": [{"type": "nil", "ipam": {"type": "none"}}, {"type": "a"}]}`)
	err := b.Validate(t.Context(), n)
	for _, want := range []string{`"-"`, `"1.7.0"`, `"nil"`, `"none"`, "plugin 2"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %s:\n%v", want, err)
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("error does not match fs.ErrNotExist")
	}
}

// Calls of delegates are traced one deeper, and recorded before calls that began
// after them.
func TestTrace(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.network = parseNetwork(t, `{"cniVersion": "1.1.0", "name": "blue", "plugins": [{"type": "a"}, {"type": "c"}]}`)
	delegate := func(verb Verb) func(context.Context, *cni.Request) error {
		return func(ctx context.Context, r *cni.Request) error {
			p, err := r.Plugins.Find("b")
			if err != nil {
				return err
			}
			if verb == Add {
				_, err = p.Add(ctx, r)
				return err
			}
			return p.Del(ctx, r)
		}
	}
	b.plugins["a"].on[Add], b.plugins["a"].on[Del] = delegate(Add), delegate(Del)
	var steps []Step
	b.Trace = func(s Step) { steps = append(steps, s) }
	if _, err := b.Attach(t.Context(), b.network, container("c1")); err != nil {
		t.Fatal(err)
	}
	records, err := b.Attachments()
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	b.fail("c", Del)
	_ = b.Detach(t.Context(), b.network, container("c1"))

	type brief struct {
		Plugin      string
		Verb        Verb
		Depth       int
		Err, Result bool
	}
	briefs := func(steps []Step) (list []brief) {
		for _, s := range steps {
			if s.Start.IsZero() || s.Duration < 0 || s.Duration > time.Minute {
				t.Errorf("%s %s began %v and took %v", s.Verb, s.Plugin, s.Start, s.Duration)
			}
			list = append(list, brief{s.Plugin, s.Verb, s.Depth, s.Err != nil, s.Result != nil})
		}
		return list
	}
	want := []brief{
		{"b", Add, 1, false, true}, {"a", Add, 0, false, true}, {"c", Add, 0, false, true},
		{"c", Del, 0, true, false}, {"b", Del, 1, false, false}, {"a", Del, 0, false, false},
	}
	if diff := cmp.Diff(want, briefs(steps)); diff != "" {
		t.Errorf("traced (-want +got)\n%s", diff)
	}
	want = []brief{{"a", Add, 0, false, false}, {"b", Add, 1, false, false}, {"c", Add, 0, false, false}}
	if diff := cmp.Diff(want, briefs(records[0].Steps)); diff != "" {
		t.Errorf("recorded (-want +got)\n%s", diff)
	}
}
