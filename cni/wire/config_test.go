package wire

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

func TestCompose(t *testing.T) {
	args := map[string]json.RawMessage{
		"mac": json.RawMessage(`"02:00:00:00:00:01"`), "ips": json.RawMessage(`[ "10.0.0.1/8" ]`), "aliases": json.RawMessage(`[]`),
	}
	tests := []struct {
		name, plugin string
		args         map[string]json.RawMessage
		want         string
		code         cni.Code
	}{
		{
			name: "name and version overwrite", plugin: `{"cniVersion":"0.1.0","type":"x","name":"no","big":12345678901234567890123}`,
			want: `{"cniVersion":"1.0.0","type":"x","name":"net","big":12345678901234567890123}`,
		},
		{
			name: "enabled capabilities only", plugin: `{"type":"x","capabilities":{"mac":true,"ips":true,"aliases":false,"none":true}}`, args: args,
			want: `{"type":"x","runtimeConfig":{"mac":"02:00:00:00:00:01","ips":[ "10.0.0.1/8" ]},"name":"net","cniVersion":"1.0.0"}`,
		},
		{
			name: "nothing to put in", plugin: `{"type":"x","capabilities":{"mac":false},"runtimeConfig":{"a":1}}`, args: args,
			want: `{"type":"x","runtimeConfig":{"a":1},"name":"net","cniVersion":"1.0.0"}`,
		},
		{name: "no type", plugin: `{}`, code: cni.CodeInvalidConfig},
		{name: "type is no string", plugin: `{"type":1}`, code: cni.CodeDecoding},
		{name: "capabilities of the wrong type", plugin: `{"type":"x","capabilities":["mac"]}`, args: args, code: cni.CodeDecoding},
		{name: "no object", plugin: `[]`, code: cni.CodeDecoding},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Compose([]byte(tt.plugin), "net", "1.0.0", tt.args)
			if tt.code != 0 {
				if err == nil || cni.CodeOf(err) != tt.code {
					t.Errorf("%v, want code %d", err, tt.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := cni.Config{Name: "net", Version: "1.0.0", Type: "x", JSON: json.RawMessage(tt.want)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestInput(t *testing.T) {
	plain := `{"n":9007199254740993,"cniVersion":"1.0.0","name":"net"}`
	prev := &cni.Result{IPs: []cni.IP{{Address: netip.MustParsePrefix("10.0.0.2/24")}}}
	tests := []struct {
		name, verb, version string
		prev                *cni.Result
		valid               []cni.Attachment
		want                string
		code                cni.Code
	}{
		{name: "nothing to add", verb: "ADD", want: plain},
		{name: "prevResult", verb: "ADD", prev: prev,
			want: `{"n":9007199254740993,"cniVersion":"1.0.0","name":"net","prevResult":{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}}`},
		{name: "in the configuration's version", verb: "DEL", version: "0.4.0", prev: prev,
			want: `{"n":9007199254740993,"cniVersion":"0.4.0","name":"net","prevResult":{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}]}}`},
		{name: "no form for it", verb: "ADD", version: "0.2.0", prev: &cni.Result{}, code: cni.CodeInternal},
		{name: "no form for it, DEL", verb: "DEL", version: "0.2.0", prev: &cni.Result{}, want: `{"n":9007199254740993,"cniVersion":"0.2.0","name":"net"}`},
		{name: "not with STATUS", verb: "STATUS", prev: prev, want: plain},
		{name: "GC not told", verb: "GC", prev: prev, want: plain},
		{name: "GC nothing", verb: "GC", valid: []cni.Attachment{},
			want: `{"n":9007199254740993,"cniVersion":"1.0.0","name":"net","cni.dev/valid-attachments":[],"cni.dev/attachments":[]}`},
		{name: "GC list", verb: "GC", valid: []cni.Attachment{{Network: "net", ContainerID: "a", IfName: "eth0"}},
			want: `{"n":9007199254740993,"cniVersion":"1.0.0","name":"net","cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}],"cni.dev/attachments":[{"containerID":"a","ifname":"eth0"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.version == "" {
				tt.version = "1.0.0"
			}
			r := &cni.Request{Prev: tt.prev, Valid: tt.valid, Config: cni.Config{
				Name: "net", Version: tt.version,
				// What the runtime owns does not survive, whoever wrote it.
				JSON: json.RawMessage(`{"n":9007199254740993,"prevResult":{"cniVersion":"x"},"cniVersion":"9.9.9","cni.dev/attachments":[]}`),
			}}
			got, err := Input(tt.verb, r)
			if tt.code != 0 {
				if err == nil || cni.CodeOf(err) != tt.code {
					t.Errorf("%v, want code %d", err, tt.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
