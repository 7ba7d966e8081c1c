package hostlocal

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
)

func TestParseResolvConf(t *testing.T) {
	got := parseResolvConf("# comment\n; another\nnameserver 10.0.0.1 ignored\n\n\tnameserver\tfd00::1\r\n" +
		"domain a.example\ndomain b.example\nsearch x.example y.example\nsearch z.example\noptions ndots:5 edns0\n" +
		"nameserver\nsortlist 10.0.0.0\nnameserver 10.0.0.2")
	want := cni.DNS{
		Nameservers: []string{"10.0.0.1", "fd00::1", "10.0.0.2"},
		Domain:      "b.example",
		Search:      []string{"x.example", "y.example", "z.example"},
		Options:     []string{"ndots:5", "edns0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzParseResolvConf holds that what is found are words of the text, and that
// writing them down again says the same.
func FuzzParseResolvConf(f *testing.F) {
	f.Add("nameserver 10.0.0.1\nsearch a b\noptions x\ndomain d\n# c\n")
	f.Add("search\nsearch #\n;\n#nameserver 1")
	f.Fuzz(func(t *testing.T, text string) {
		dns := parseResolvConf(text)
		var b strings.Builder
		for _, n := range dns.Nameservers {
			b.WriteString("nameserver " + n + "\n")
		}
		if dns.Domain != "" {
			b.WriteString("domain " + dns.Domain + "\n")
		}
		if dns.Search != nil {
			b.WriteString("search " + strings.Join(dns.Search, " ") + "\n")
		}
		if dns.Options != nil {
			b.WriteString("options " + strings.Join(dns.Options, " ") + "\n")
		}
		if diff := cmp.Diff(dns, parseResolvConf(b.String()), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("written down and read again:\n%s", diff)
		}
	})
}

// FuzzParseHolder holds that a lease's file says the same when it is written again.
func FuzzParseHolder(f *testing.F) {
	for _, s := range []string{"c1\r\neth0", "c1", "", "\r\n", "c1\neth0", " c1\r\neth0\r\n", "c1\r\neth0\r\nmore"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h := parseHolder(data)
		if len(h.key()) != 32 || h.String() == "" {
			t.Errorf("%q: key %q, text %q", data, h.key(), h.String())
		}
		if again := parseHolder([]byte(h.encode())); h.ifname != "" && h.id == strings.TrimSpace(h.id) && h.id != "" && again != h {
			t.Errorf("%q: %+v, again %+v", data, h, again)
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	f.Add("10.1.0.2,fd00::2")
	f.Add("10.1.0.2,")
	f.Fuzz(func(t *testing.T, s string) {
		addrs, err := parseEntry(s)
		if err != nil {
			return
		}
		again, err := parseEntry(encodeEntry(addrs))
		if diff := cmp.Diff(addrs, again, netipValues); err != nil || diff != "" {
			t.Errorf("%q, again: %v\n%s", s, err, diff)
		}
	})
}

// FuzzLeaseFiles holds that whatever is in the folder, Del frees what Add leased, and
// nothing that is another's.
func FuzzLeaseFiles(f *testing.F) {
	f.Add("10.1.0.2", []byte("c2\r\neth0"), "10.1.0.1")
	f.Add("10.1.0.2", []byte(""), "")
	f.Add("last_reserved_ip.0", []byte("c1\r\neth0"), "fd00::")
	f.Add("lock", []byte("c1"), "10.1.0.254")
	f.Fuzz(func(t *testing.T, name string, content []byte, cursor string) {
		if name != filepath.Base(name) || name == "." || name == ".." || strings.ContainsRune(name, 0) || len(name) > 200 {
			return
		}
		h := newHost(t)
		h.write("last_reserved_ip.0", cursor)
		h.write(name, string(content))
		r := request("c1", simple)
		got, err := h.Add(t.Context(), r)
		if err == nil {
			a := got.IPs[0].Address.Addr()
			if !netip.MustParsePrefix("10.1.0.0/24").Contains(a) || a == netip.MustParseAddr("10.1.0.1") {
				t.Errorf("got %s", a)
			}
		} else if cni.CodeOf(err) != cni.CodeExists {
			t.Error(err)
		}
		h.del(r)
		h.del(r)
		if _, err := os.Stat(filepath.Join(h.dir, "net", name)); err != nil && strings.TrimSpace(string(content)) != "" &&
			parseHolder(content).id != "c1" {
			t.Errorf("%q with %q is gone", name, content)
		}
		if strings.Contains(h.leases(), `"c1\r\neth0"`) {
			t.Errorf("leases after DEL:\n%s", h.leases())
		}
	})
}

// FuzzConfig holds that any configuration is refused with a code of the
// specification, or gives addresses that its ranges hold.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"ipam": {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9"}}`))
	f.Add([]byte(`{"ipam": {"ranges": [[{"subnet": "fd00::/64", "gateway": "fd00::ff"}]]}, "runtimeConfig": {"ips": ["fd00::5/64"]}}`))
	f.Add([]byte(`{"ipam": {"subnet": "255.255.255.252/30"}, "args": {"cni": {"ips": ["255.255.255.254"]}}}`))
	f.Add([]byte(`{"ipam": {"subnet": "10.0.0.0/8", "ranges": [[{"subnet": "10.0.0.0/8"}]]}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		if !json.Valid(config) {
			return
		}
		h := newHost(t)
		r := request("c1", simple)
		r.Config.JSON = config
		if dataDir(r) != "" || strings.Contains(strings.ToLower(string(config)), "resolvconf") {
			return
		}
		conf, err := decode(r)
		if err != nil {
			if code := cni.CodeOf(err); code != cni.CodeDecoding && code != cni.CodeInvalidConfig {
				t.Errorf("%v: code %d", err, code)
			}
			return
		}
		got, err := h.Add(t.Context(), r)
		if err != nil {
			return
		}
		for i, ip := range got.IPs {
			if !conf.sets[i].Contains(ip.Address.Addr()) || conf.sets[i].IsGateway(ip.Address.Addr()) || !ip.Address.Contains(ip.Gateway) {
				t.Errorf("got %v, gateway %v, of %s", ip.Address, ip.Gateway, conf.sets[i])
			}
		}
		h.del(r)
		if diff := cmp.Diff("", h.leases()); diff != "" {
			t.Errorf("leases after DEL (-want +got):\n%s", diff)
		}
	})
}
