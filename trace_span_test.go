package seam

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/span"
)

// spanTree tells spans as a tree, in the order of their starts: their names, how they are
// related to who waits for them, what is told beside what all tell, and errors.
func spanTree(spans []span.Span, parent span.Context, indent string) (lines []string) {
	for left := spans; len(left) > 0; {
		first := 0
		for i := range left {
			if left[i].Start.Before(left[first].Start) {
				first = i
			}
		}
		s := left[first]
		left = append(append([]span.Span{}, left[:first]...), left[first+1:]...)
		if s.Parent.Span != parent.Span {
			continue
		}
		line := fmt.Sprintf("%s%s %s", indent, s.Name, []string{"", "internal", "server", "client"}[s.Kind])
		for _, a := range s.Attributes {
			switch a.Key {
			case "cni.verb", "cni.plugin", "cni.network", "container.id", "cni.ifname":
			default:
				line += fmt.Sprintf(" %s=%v", strings.TrimPrefix(a.Key, "cni."), a.Value)
			}
		}
		if s.Err != "" {
			line += " ✗"
		}
		lines = append(append(lines, line), spanTree(spans, s.At, indent+"  ")...)
	}
	return lines
}

// noter is a script that notes its place in the trace, and fails where a file tells it to.
const noter = `#!/bin/sh
dir=${0%/*}
echo "$CNI_COMMAND $TRACEPARENT $TRACESTATE $BAGGAGE" >>"$dir/notes"
if [ -e "$dir/fail" ] && [ "$CNI_COMMAND" = ADD ]; then
	echo '{"cniVersion":"1.1.0","code":11,"msg":"no room"}'
	exit 1
fi
echo '{"cniVersion":"1.1.0"}'
`

// spanBench is a bench with a network of a, which delegates to b, and noter; traces have a
// caller.
func spanBench(t *testing.T) (b *bench, dir string, ctx context.Context, r *span.Recorder) {
	t.Helper()
	b, dir = newBench(t, t.TempDir()), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "noter"), []byte(noter), 0o755); err != nil {
		t.Fatal(err)
	}
	registry := b.Plugins.(cni.Registry)
	b.Plugins = wire.Path{Dirs: []string{dir}, Builtins: registry}
	b.network = parseNetwork(t, `{"cniVersion": "1.1.0", "name": "blue", "plugins": [{"type": "a"}, {"type": "noter"}]}`)
	b.plugins["a"].on[Add] = func(ctx context.Context, r *cni.Request) error {
		p, err := r.Plugins.Find("b")
		if err != nil {
			return err
		}
		_, err = p.Add(ctx, r)
		return err
	}
	caller, _ := span.Parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x=y")
	caller.Baggage = "user=me"
	r = &span.Recorder{Passes: span.Passes{Trace: true, Baggage: true}}
	return b, dir, r.In(t.Context(), caller), r
}

const podOfTest = " k8s.namespace.name=default k8s.pod.name=web"

func podContainer() Container {
	c := container("c1")
	c.Args = cni.Args{{Key: "K8S_POD_NAMESPACE", Value: "default"}, {Key: "K8S_POD_NAME", Value: "web"}}
	return c
}

func wantTree(t *testing.T, ctx context.Context, spans []span.Span, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, spanTree(spans, span.Of(ctx), "")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// An executed plugin is told the place of its own span.
func TestSpans(t *testing.T) {
	b, dir, ctx, r := spanBench(t)
	if _, err := b.Attach(ctx, b.network, podContainer()); err != nil {
		t.Fatal(err)
	}
	spans, _ := r.Take()
	wantTree(t, ctx, spans,
		"ADD network blue server"+podOfTest,
		"  ADD a internal"+podOfTest+" plugin.in_process=true",
		"    ADD b internal"+podOfTest+" plugin.in_process=true",
		"  ADD noter client"+podOfTest+" plugin.file="+filepath.Join(dir, "noter")+" plugin.in_process=false",
	)
	wantAttributes(t, spans)
	for _, s := range spans {
		if s.Name != "ADD noter" {
			continue
		}
		notes, err := os.ReadFile(filepath.Join(dir, "notes"))
		if diff := cmp.Diff("ADD "+s.At.String()+" x=y user=me\n", string(notes)); diff != "" || err != nil {
			t.Errorf("environment, %v (-want +got)\n%s", err, diff)
		}
	}
}

func TestSpansOfOtherVerbs(t *testing.T) {
	b, dir, ctx, r := spanBench(t)
	if _, err := b.Attach(ctx, b.network, podContainer()); err != nil {
		t.Fatal(err)
	}
	r.Take()
	if err := b.Check(ctx, b.network, podContainer()); err != nil {
		t.Fatal(err)
	}
	if err := b.Status(ctx, b.network); err != nil {
		t.Fatal(err)
	}
	if err := b.Collect(ctx, b.network, []cni.Attachment{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Detach(ctx, b.network, container("c2")); err != nil {
		t.Fatal(err)
	}
	spans, _ := r.Take()
	builtin, executed := " plugin.in_process=true", " plugin.file="+filepath.Join(dir, "noter")+" plugin.in_process=false"
	wantTree(t, ctx, spans,
		"CHECK network blue server"+podOfTest, "  CHECK a internal"+podOfTest+builtin, "  CHECK noter client"+podOfTest+executed,
		"STATUS network blue server", "  STATUS a internal"+builtin, "  STATUS noter client"+executed,
		"GC network blue server", "  DEL noter client"+podOfTest+executed, "  DEL a internal"+podOfTest+builtin,
		"  GC a internal"+builtin, "  GC noter client"+executed,
		"DEL network blue server", "  DEL noter client"+executed, "  DEL a internal"+builtin)
}

func wantAttributes(t *testing.T, spans []span.Span) {
	t.Helper()
	for _, s := range spans {
		got := map[string]any{}
		for _, a := range s.Attributes {
			got[a.Key] = a.Value
		}
		want := map[string]any{"cni.verb": "ADD", "cni.network": "blue", "container.id": "c1", "cni.ifname": "eth0"}
		for key := range want {
			if got[key] != want[key] {
				t.Errorf("%s: %s is %v, want %v", s.Name, key, got[key], want[key])
			}
		}
		if _, plugin, _ := strings.Cut(s.Name, "ADD "); plugin != "network blue" && got["cni.plugin"] != plugin {
			t.Errorf("%s: cni.plugin is %v", s.Name, got["cni.plugin"])
		}
		if s.End.Before(s.Start) || s.At.State != "x=y" || s.At.Baggage != "user=me" {
			t.Errorf("%+v", s)
		}
	}
}

// A failure is told with its code by every span that it passes, and so is the roll-back.
func TestSpansOfFailure(t *testing.T) {
	b, dir, ctx, r := spanBench(t)
	if err := os.WriteFile(filepath.Join(dir, "fail"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Attach(ctx, b.network, container("c1")); cni.CodeOf(err) != cni.CodeTryAgain {
		t.Fatal(err)
	}
	file := "plugin.file=" + filepath.Join(dir, "noter")
	spans, _ := r.Take()
	wantTree(t, ctx, spans,
		"ADD network blue server error.code=11 ✗",
		"  ADD a internal plugin.in_process=true",
		"    ADD b internal plugin.in_process=true",
		"  ADD noter client "+file+" plugin.in_process=false error.code=11 ✗",
		"  DEL noter client "+file+" plugin.in_process=false undo=true",
		"  DEL a internal plugin.in_process=true undo=true")
}

// newcomer is a plugin that speaks the last version only.
type newcomer struct{ silent }

func (newcomer) Since() string { return "1.1.0" }

// A plugin that is served as Traced has it is as it is, with spans.
func TestTraced(t *testing.T) {
	registry := cni.Registry{"new": newcomer{}, "old": silent{}}
	r := &span.Recorder{}
	for name, want := range map[string]string{"new": "1.1.0", "old": ""} {
		p, err := Traced(registry).Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := p.(wire.Newcomer); !ok || n.Since() != want {
			t.Errorf("%s: since %q, want %q", name, n.Since(), want)
		}
		if err := p.Del(r.In(t.Context(), span.Context{}), &cni.Request{}); err != nil {
			t.Error(err)
		}
	}
	if spans, _ := r.Take(); len(spans) != 2 {
		t.Errorf("%d spans", len(spans))
	}
	if _, err := Traced(registry).Find("none"); err == nil {
		t.Error("found")
	}
}
