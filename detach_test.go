package seam

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

func TestDetachGoesOn(t *testing.T) {
	b := newBench(t, t.TempDir())
	if _, err := b.Attach(t.Context(), b.network, container("c1")); err != nil {
		t.Fatal(err)
	}
	b.book.take()
	b.fail("c", Del)
	b.fail("b", Del)
	err := b.Detach(t.Context(), b.network, container("c1"))
	if err == nil || !strings.Contains(err.Error(), "DEL of c") || !strings.Contains(err.Error(), "DEL of b") {
		t.Errorf("error %v, want both causes", err)
	}
	if diff := cmp.Diff([]string{"DEL c", "DEL b", "DEL a"}, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"results/blue-c1-eth0"}, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	delete(b.plugins["c"].on, Del)
	delete(b.plugins["b"].on, Del)
	if err := b.Detach(t.Context(), b.network, container("c1")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
}

func TestDetachNothing(t *testing.T) {
	for name, netNS := range map[string]string{"no namespace": "", "namespace gone": "/run/netns/gone"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			for _, name := range []string{"a", "b", "c"} {
				b.plugins[name].on[Del] = func(_ context.Context, r *cni.Request) error {
					if r.NetNS != netNS || r.Prev != nil {
						t.Errorf("NetNS %q, previous result %v; want %q and none", r.NetNS, r.Prev, netNS)
					}
					return nil
				}
			}
			if err := b.Detach(t.Context(), b.network, Container{ID: "c1", IfName: "eth0", NetNS: netNS}); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{"DEL c", "DEL b", "DEL a"}, b.book.take()); diff != "" {
				t.Errorf("calls (-want +got)\n%s", diff)
			}
		})
	}
}

func TestDetachOwnNamespace(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.OwnNetNS = false
	if err := b.Detach(t.Context(), b.network, container("c1")); cni.CodeOf(err) != cni.CodeInvalidNetNS {
		t.Errorf("error %v, want one with CodeInvalidNetNS", err)
	}
	if calls := b.book.take(); calls != nil {
		t.Errorf("plugins were called: %v", calls)
	}
}

// What the caller does not give is taken from the record.
func TestDetachRemembers(t *testing.T) {
	remembered := map[string]json.RawMessage{"mac": raw("02:00:00:00:00:01")}
	tests := []struct {
		name string
		args cni.Args
		caps map[string]json.RawMessage
		want string
	}{
		{"nothing given", nil, nil, `A=1 "02:00:00:00:00:01"`},
		{"args given", cni.Args{{Key: "B", Value: "2"}}, nil, `B=2 "02:00:00:00:00:01"`},
		{"capabilities given", nil, map[string]json.RawMessage{"mac": raw("02:00:00:00:00:02")}, `A=1 "02:00:00:00:00:02"`},
		{"emptiness given", cni.Args{}, map[string]json.RawMessage{}, ` `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			n := parseNetwork(t, `{"cniVersion": "1.1.0", "name": "blue", "plugins": [{"type": "a", "capabilities": {"mac": true}}]}`)
			c := container("c1")
			c.Args, c.Capabilities = cni.Args{{Key: "A", Value: "1"}}, remembered
			if _, err := b.Attach(t.Context(), n, c); err != nil {
				t.Fatal(err)
			}
			c.Args, c.Capabilities = tt.args, tt.caps
			see := func(_ context.Context, r *cni.Request) error {
				var conf struct{ RuntimeConfig struct{ MAC json.RawMessage } }
				if err := json.Unmarshal(r.Config.JSON, &conf); err != nil {
					return err
				}
				if got := r.Args.String() + " " + string(conf.RuntimeConfig.MAC); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				return nil
			}
			b.plugins["a"].on[Check], b.plugins["a"].on[Del] = see, see
			if err := b.Check(t.Context(), n, c); err != nil {
				t.Error(err)
			}
			if err := b.Detach(t.Context(), n, c); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDetachVersions(t *testing.T) {
	for version, want := range map[string]bool{"0.3.1": false, "0.4.0": true, "1.1.0": true} {
		b := newBench(t, t.TempDir())
		n := parseNetwork(t, `{"cniVersion": "`+version+`", "name": "blue", "plugins": [{"type": "a"}]}`)
		if _, err := b.Attach(t.Context(), n, container("c1")); err != nil {
			t.Fatal(err)
		}
		b.plugins["a"].on[Del] = func(_ context.Context, r *cni.Request) error {
			if got := r.Prev != nil; got != want {
				t.Errorf("%s: DEL got a previous result: %v, want %v", version, got, want)
			}
			return nil
		}
		if err := b.Detach(t.Context(), n, container("c1")); err != nil {
			t.Error(err)
		}
	}
}

func TestDetachCorruptRecord(t *testing.T) {
	for name, content := range map[string]string{
		"empty":                 "",
		"half":                  `{"kind": "cniCacheV1", "conta`,
		"result of no version":  `{"cniVersion": "7.7.7"}`,
		"result of wrong types": `{"kind":"cniCacheV1","containerId":"c1","ifName":"eth0","networkName":"blue","result":{"cniVersion":"1.0.0","ips":1}}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			file := filepath.Join(b.CacheDir, "results", "blue-c1-eth0")
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Attach(t.Context(), b.network, container("c1")); cni.CodeOf(err) != cni.CodeExists {
				t.Errorf("attach: %v, want an error with CodeExists", err)
			}
			if err := b.Check(t.Context(), b.network, container("c1")); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("check: %v, want an error with %s", err, file)
			}
			if err := b.Detach(t.Context(), b.network, container("c1")); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{"DEL c", "DEL b", "DEL a"}, b.book.take()); diff != "" {
				t.Errorf("calls (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
				t.Errorf("files left (-want +got)\n%s", diff)
			}
		})
	}
}
