package wire

import (
	"strconv"
	"testing"

	upstream "github.com/containernetworking/cni/pkg/version"
	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

func TestSupportedVersions(t *testing.T) {
	if diff := cmp.Diff(upstream.All.SupportedVersions(), SupportedVersions()); diff != "" {
		t.Errorf("(-upstream +ours)\n%s", diff)
	}
}

func TestAtLeast(t *testing.T) {
	tests := []struct {
		version, least string
		want           bool
		code           cni.Code
	}{
		{version: "1.1.0", least: "1.1.0", want: true},
		{version: "1.10.0", least: "1.2.0", want: true},
		{version: "0.4.0", least: "1.0.0"},
		{version: "0.4.0", least: "0.3.1", want: true},
		{version: "1", least: "1.0.0", want: true},
		{version: "", least: "0.1.0", want: true},
		{version: "", least: "0.2.0"},
		{version: "1.0.0.0", least: "0.1.0", code: cni.CodeDecoding},
		{version: "v1.0.0", least: "0.1.0", code: cni.CodeDecoding},
		{version: "1..0", least: "0.1.0", code: cni.CodeDecoding},
		{version: "-1.0", least: "0.1.0", code: cni.CodeDecoding},
		{version: "+1.0", least: "0.1.0", code: cni.CodeDecoding},
	}
	for _, tt := range tests {
		got, err := AtLeast(tt.version, tt.least)
		if got != tt.want || (err != nil) != (tt.code != 0) || (err != nil && cni.CodeOf(err) != tt.code) {
			t.Errorf("AtLeast(%q, %q) = %v, %v", tt.version, tt.least, got, err)
		}
	}
}

func FuzzAtLeast(f *testing.F) {
	f.Add("1.0.0", "0.4")
	f.Fuzz(func(t *testing.T, a, b string) {
		got, err := AtLeast(a, b)
		if err != nil {
			return // stricter than upstream, which reads signs
		}
		if want, err := upstream.GreaterThanOrEqualTo(a, b); err != nil || got != want {
			t.Errorf("AtLeast(%q, %q) = %v, upstream says %v, %v", a, b, got, want, err)
		}
	})
}

func TestEncodeVersions(t *testing.T) {
	list := `"supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}` + "\n"
	for in, want := range map[string]string{
		`{"cniVersion":"0.4.0"}`: "0.4.0",
		`{"cniVersion":"7.0.0"}`: "7.0.0",
		`{}`:                     "1.1.0",
		``:                       "1.1.0",
		`garbage`:                "1.1.0",
		`{"cniVersion":4}`:       "1.1.0",
	} {
		want = `{"cniVersion":"` + want + `",` + list
		if diff := cmp.Diff(want, string(encodeVersions([]byte(in), SupportedVersions()))); diff != "" {
			t.Errorf("asked with %q (-want +got)\n%s", in, diff)
		}
	}
}

func TestDecodeVersions(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
		err      string
	}{
		{"list", `{"cniVersion":"1.0.0","supportedVersions":["0.4.0","9.0.0"]}`, []string{"0.4.0", "9.0.0"}, ""},
		{"before the list", `{"cniVersion":"0.2.0"}`, []string{"0.1.0", "0.2.0"}, ""},
		{"no list", `{"cniVersion":"1.0.0"}`, nil, `answer to VERSION: no supportedVersions in "{\"cniVersion\":\"1.0.0\"}"`},
		{"nothing", ``, nil, `answer to VERSION: empty`},
		{"null", `null`, nil, `answer to VERSION: not a JSON object`},
		{"wrong type", `{"supportedVersions":"1.0.0"}`, nil, `answer to VERSION: key "supportedVersions": not of the right type: string`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeVersions([]byte(tt.in))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if (err != nil || tt.err != "") && (err == nil || err.Error() != tt.err) {
				t.Errorf("error %v, want %s", err, strconv.Quote(tt.err))
			}
		})
	}
}

func FuzzDecodeVersions(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"1.0.0","supportedVersions":["0.4.0"]}`))
	f.Add([]byte(`{"cniVersion":"0.2.0"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		want, err := (&upstream.PluginDecoder{}).Decode(data)
		if err != nil {
			_, _ = decodeVersions(data) // must not panic
			return
		}
		got, err := decodeVersions(data)
		if err != nil {
			t.Fatalf("%q: %v, upstream reads it", data, err)
		}
		if diff := cmp.Diff(want.SupportedVersions(), got); diff != "" {
			t.Errorf("%q (-upstream +ours)\n%s", data, diff)
		}
	})
}
