package wrap

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPatched holds the test cases of RFC 7396, appendix A, and what order and bytes
// are kept.
func TestPatched(t *testing.T) {
	tests := []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"z":12345678901234567890,"y":[ 1.0 ],"x":1}`, `{"x":2}`, `{"z":12345678901234567890,"y":[ 1.0 ],"x":2}`},
	}
	for _, tt := range tests {
		got := patched(json.RawMessage(tt.target), json.RawMessage(tt.patch))
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Errorf("%s patched by %s (-want +got)\n%s", tt.target, tt.patch, diff)
		}
	}
	if got := patched(json.RawMessage(`{"a":1}`), nil); string(got) != `{"a":1}` {
		t.Errorf("without a patch: %s", got)
	}
}

func FuzzPatched(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1}}`), []byte(`{"a":{"b":null,"c":{"d":null}}}`))
	f.Fuzz(func(t *testing.T, target, patch []byte) {
		if !json.Valid(target) || !json.Valid(patch) {
			return
		}
		got := patched(target, patch)
		if !json.Valid(got) {
			t.Fatalf("%s patched by %s is %s", target, patch, got)
		}
		// A patch that is applied has nothing more to change.
		if again := patched(got, patch); string(again) != string(got) {
			t.Errorf("%s patched by %s is %s, and again %s", target, patch, got, again)
		}
	})
}
