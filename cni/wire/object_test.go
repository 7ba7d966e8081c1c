package wire

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestObjectKeepsBytes(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", ` { } `, `{}`},
		{"order and big integers", `{"z":123456789012345678901234567890, "a" : 1.50,"e":1E400}`, `{"z":123456789012345678901234567890,"a":1.50,"e":1E400}`},
		{"nested as written", "{\"a\": { \"b\":[1, 2 ,{}],\n\"c\":\"}]\\\"\" }}", "{\"a\":{ \"b\":[1, 2 ,{}],\n\"c\":\"}]\\\"\" }}"},
		{"words", `{"t":true,"f":false,"n":null}`, `{"t":true,"f":false,"n":null}`},
		{"escaped key, markup", `{"\u0061\n":"<&>","<":1}`, `{"\u0061\n":"<&>","<":1}`},
		{"repeated key", `{"a":1,"a":2}`, `{"a":1,"a":2}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := ParseObject([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(o.Bytes())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseObjectRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":           "empty",
		" \n":        "empty",
		"null":       "not a JSON object",
		"[]":         "not a JSON object",
		`"{}"`:       "not a JSON object",
		"{\n \"a\"}": `line 2, column 5: invalid character '}' after object key`,
		"{} {}":      `line 1, column 4: invalid character '{' after top-level value`,
	} {
		_, err := ParseObject([]byte(in))
		if err == nil || err.Error() != want {
			t.Errorf("ParseObject(%q) = %v, want %s", in, err, want)
		}
	}
}

func TestObjectMembers(t *testing.T) {
	o, err := ParseObject([]byte(`{"a":1,"b":2,"a":3,"c":4,"s":"x","n":null}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(o.Get("a")); got != "3" {
		t.Errorf("the last of a repeated key: got %s", got)
	}
	if o.Get("A") != nil || string(o.Get("n")) != "null" {
		t.Error("keys must match exactly, and null is a value")
	}
	o.Set("a", json.RawMessage("9"))
	o.Delete("c", "none")
	o.SetString("d", "\"<\n")
	if diff := cmp.Diff(`{"a":9,"b":2,"s":"x","n":null,"d":"\"\u003c\n"}`, string(o.Bytes())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for key, want := range map[string]string{"s": "x", "n": "", "none": ""} {
		if got, err := o.String(key); got != want || err != nil {
			t.Errorf("String(%q) = %q, %v", key, got, err)
		}
	}
	if _, err := o.String("b"); err == nil {
		t.Error("a number passed for a string")
	}
}

// FuzzParseObject compares with encoding/json's own splitting.
func FuzzParseObject(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,"\\\"}"]},"a":null,"\u00e9":-1e9 , "c":""}`))
	f.Add([]byte("{\"\xff\":1}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(data, &want)
		o, err := ParseObject(data)
		if (err == nil) != (wantErr == nil && want != nil) {
			t.Fatalf("ParseObject(%q): %v, encoding/json: %v", data, err, wantErr)
		}
		if err != nil {
			return
		}
		again, err := ParseObject(o.Bytes())
		if err != nil {
			t.Fatalf("%q became %q: %v", data, o.Bytes(), err)
		}
		for _, o := range []*Object{o, again} {
			got := map[string]json.RawMessage{}
			for _, key := range o.Keys() {
				got[key] = o.Get(key)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q (-want +got)\n%s", data, diff)
			}
		}
	})
}
