package cni_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

func TestTag(t *testing.T) {
	long := strings.Repeat("n", 200)
	id := strings.Repeat("0123456789abcdef", 4)
	for _, test := range []struct {
		a    cni.Attachment
		want cni.Tag
	}{
		{cni.Attachment{Network: "prod", ContainerID: id, IfName: "eth0"}, cni.Tag("prod/" + id + "/eth0")},
		{cni.Attachment{Network: long, ContainerID: "c1", IfName: "eth0"}, cni.NetworkTag(long) + "c1/eth0"},
	} {
		if got := test.a.Tag(); got != test.want {
			t.Errorf("tag %q, want %q", got, test.want)
		}
	}
	longest := cni.Attachment{Network: long, ContainerID: id + id, IfName: "fifteen-bytes-x"}
	if n := len(longest.Tag()); n > 127 {
		t.Errorf("a tag of %d bytes: nftables' comments have room for 127", n)
	}
	other := longest
	other.Network += "x"
	if longest.Tag() == other.Tag() || longest.Tag().In(other.Network) || !longest.Tag().In(long) {
		t.Errorf("%q and %q are confused", longest.Tag(), other.Tag())
	}
	if (cni.Attachment{Network: "prod", ContainerID: "a", IfName: "b"}).Tag().In("pro") {
		t.Error("a network is taken for one whose name begins so")
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct {
		what  string
		check func(string) error
		good  []string
		bad   []string
	}{
		{"network", cni.CheckNetworkName, []string{"a", "9", "a.b-c_d"}, []string{"", ".a", "-a", "a/b", "a b", "ä", "a\n"}},
		{"container", cni.CheckContainerID, []string{"a", "0f"}, []string{"", "_a", "a/b", "a:b", "../x"}},
		{"interface", cni.CheckIfName, []string{"eth0", "fifteen-bytes-x", "-"}, []string{"", ".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-bytes-xx", "a\x00", "a\u00a0b", "a\u2003"}},
	} {
		for _, s := range test.good {
			if err := test.check(s); err != nil {
				t.Errorf("%s %q: %v", test.what, s, err)
			}
		}
		for _, s := range test.bad {
			if err := test.check(s); err == nil {
				t.Errorf("%s %q: is accepted", test.what, s)
			}
		}
	}
}

func TestArgs(t *testing.T) {
	args, err := cni.ParseArgs("IP=10.0.0.5;K8S_POD_NAME=web;IgnoreUnknown=1")
	if err != nil {
		t.Fatal(err)
	}
	if args.Get("IP") != "10.0.0.5" || args.Get("MAC") != "" || args.String() != "IP=10.0.0.5;K8S_POD_NAME=web;IgnoreUnknown=1" {
		t.Errorf("args: %v", args)
	}
	if err := args.Only("IP"); err != nil {
		t.Errorf("IgnoreUnknown after the unknown key: %v", err)
	}
	if err := args[:2].Only("IP"); cni.CodeOf(err) != cni.CodeInvalidEnvironment || !strings.Contains(err.Error(), "K8S_POD_NAME") {
		t.Errorf("unknown key: %v", err)
	}
	for _, bad := range []string{"IP", "=x", "IP=a=b", "IP=a;", ";"} {
		if _, err := cni.ParseArgs(bad); cni.CodeOf(err) != cni.CodeInvalidEnvironment {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add("IP=10.0.0.5;IgnoreUnknown=true")
	f.Fuzz(func(t *testing.T, s string) {
		if args, err := cni.ParseArgs(s); err == nil && args.String() != s {
			t.Errorf("%q became %q", s, args)
		}
	})
}

// Shared is embedded, as plugins share keys.
type Shared struct {
	IPMasq bool `json:"ipMasq"`
}

type config struct {
	Shared
	MTU  int `json:"mtu"`
	IPAM struct {
		Type string `json:"type"`
	} `json:"ipam"`
	invalid error
}

func (c *config) Validate() error { return c.invalid }

func TestDecode(t *testing.T) {
	for _, test := range []struct {
		json    string
		invalid error
		code    cni.Code
		want    string
	}{
		{`{"MTU":1400,"unknown":{}}`, nil, 0, ""},
		{`{"mtu":"1400"}`, nil, cni.CodeDecoding, `key "mtu": a JSON string where a whole number in range is wanted`},
		{`{"ipMasq":"yes"}`, nil, cni.CodeDecoding, `key "ipMasq": a JSON string where true or false is wanted`},
		{`{"ipam":{"type":[]}}`, nil, cni.CodeDecoding, `key "ipam.type"`},
		{`{`, nil, cni.CodeDecoding, "bridge"},
		{`{}`, errors.New("mtu 9: odd"), cni.CodeInvalidConfig, `bridge: network "net": mtu 9: odd`},
		{`{}`, cni.Errorf(cni.CodeUnsupportedField, "no"), cni.CodeUnsupportedField, "no"},
	} {
		r := &cni.Request{Config: cni.Config{Name: "net", Type: "bridge", JSON: json.RawMessage(test.json)}}
		c := &config{MTU: 1500, invalid: test.invalid}
		err := r.Decode(c)
		if test.code == 0 {
			if err != nil || c.MTU != 1400 {
				t.Errorf("%s: %v, mtu %d", test.json, err, c.MTU)
			}
			continue
		}
		if cni.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v (code %d), want %q (code %d)", test.json, err, cni.CodeOf(err), test.want, test.code)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	one, table := 1, 7
	make := func() *cni.Result {
		index, number := one, table
		return &cni.Result{
			Interfaces: []cni.Interface{{Name: "eth0", MAC: []byte{2, 0, 0, 0, 0, 1}}},
			IPs:        []cni.IP{{Address: netip.MustParsePrefix("10.0.0.5/24"), Interface: &index}},
			Routes:     []cni.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Table: &number}},
			DNS:        cni.DNS{Nameservers: []string{"10.0.0.1"}},
		}
	}
	original := make()
	c := original.Clone()
	c.Interfaces[0].MAC[5] = 9
	*c.IPs[0].Interface = 5
	*c.Routes[0].Table = 5
	c.DNS.Nameservers[0] = "x"
	equal := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(make(), original, equal, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the original changed (-want +got):\n%s", diff)
	}
}

type failing struct {
	cni.Plugin
	err     error
	deleted int
}

func (f *failing) Add(context.Context, *cni.Request) (*cni.Result, error) { return nil, f.err }
func (f *failing) Del(ctx context.Context, _ *cni.Request) error {
	f.deleted++
	return ctx.Err()
}

func TestAddRollsBack(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, test := range []struct {
		err  error
		want int
	}{
		{errors.New("broken"), 1},
		{cni.Errorf(cni.CodeExists, "is there"), 0},
	} {
		p := &failing{err: test.err}
		if _, err := cni.Add(cancelled, p, &cni.Request{}); err != test.err || p.deleted != test.want {
			t.Errorf("%v: got %v and %d calls of Del, want %d", test.err, err, p.deleted, test.want)
		}
	}
}
