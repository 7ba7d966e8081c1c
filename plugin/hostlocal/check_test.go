package hostlocal

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/seamnet/seam/cni"
)

func result(addrs ...string) *cni.Result {
	r := new(cni.Result)
	for _, a := range addrs {
		r.IPs = append(r.IPs, cni.IP{Address: netip.MustParsePrefix(a)})
	}
	return r
}

func TestCheck(t *testing.T) {
	const dual = `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}`
	const prefix = `host-local: network "net": `
	for _, test := range []struct {
		name   string
		ipam   string
		change func(h *host)
		prev   *cni.Result
		err    string
	}{
		{name: "as added", ipam: dual, prev: result("10.1.0.2/24", "fd00::2/64")},
		{name: "an address of another plugin too", ipam: dual, prev: result("172.20.0.1/16", "10.1.0.2/24", "fd00::2/64")},
		{name: "the ranges are no longer valid", ipam: `{"ranges": 5}`, prev: result("10.1.0.2/24", "fd00::2/64")},
		{name: "the ranges are others", ipam: `{"subnet": "10.9.0.0/24"}`, prev: result("10.1.0.2/24", "fd00::2/64")},
		{
			name: "the lease is an old file", ipam: dual, prev: result("10.1.0.2/24", "fd00::2/64"),
			change: func(h *host) { h.write("10.1.0.2", "c1"); os.Remove(filepath.Join(h.dir, "net/fd00::2")) },
			err:    prefix + "address fd00::2 is not leased to container c1, interface eth0",
		},
		{name: "no result", ipam: dual, err: prefix + "CHECK needs a prevResult"},
		{
			name: "another address of the container", ipam: dual, prev: result("10.1.0.7/24"),
			change: func(*host) {},
			err:    prefix + "address 10.1.0.7 is not leased to container c1, interface eth0",
		},
		{
			name: "one lease is gone", ipam: dual, prev: result("10.1.0.2/24", "fd00::2/64"),
			change: func(h *host) { os.Remove(filepath.Join(h.dir, "net/fd00::2")) },
			err:    prefix + "address fd00::2 is not leased to container c1, interface eth0",
		},
		{
			name: "one lease is another's", ipam: dual, prev: result("10.1.0.2/24", "fd00::2/64"),
			change: func(h *host) { os.Remove(filepath.Join(h.dir, "net/fd00::2")); h.write("fd00::2", "c2\r\neth0") },
			err:    prefix + "address fd00::2 is not leased to container c1, interface eth0",
		},
		{
			name: "everything is gone", ipam: dual, prev: result("10.1.0.2/24"),
			change: func(h *host) { os.RemoveAll(h.dir) },
			err:    prefix + "no address of the result is leased to container c1, interface eth0",
		},
		{
			name: "everything is gone, and the ranges are not valid", ipam: `{"ranges": 5}`, prev: result("10.1.0.2/24"),
			change: func(h *host) {
				os.Remove(filepath.Join(h.dir, "net/10.1.0.2"))
				os.Remove(filepath.Join(h.dir, "net/fd00::2"))
			},
			err: prefix + "no address of the result is leased to container c1, interface eth0",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.add(request("c1", dual))
			if test.change != nil {
				test.change(h)
			}
			r := request("c1", test.ipam)
			r.Prev = test.prev
			err := h.Check(t.Context(), r)
			switch {
			case test.err == "" && err != nil:
				t.Error(err)
			case test.err != "" && (err == nil || err.Error() != test.err):
				t.Errorf("got  %v\nwant %s", err, test.err)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		name string
		ipam string
		have []string
		err  string
	}{
		{name: "ready", ipam: simple},
		{name: "ranges come with the attachment", ipam: `{}`},
		{name: "one address is free", ipam: `{"subnet": "10.1.0.0/29"}`, have: []string{"10.1.0.2", "10.1.0.4", "10.1.0.5", "10.1.0.6"}},
		{
			name: "none is free", ipam: `{"ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "10.1.0.0/30"}]]}`, have: []string{"10.1.0.2"},
			err: `host-local: network "net": no free address in 10.1.0.1-10.1.0.2: all 1 are held; ` +
				`remove containers, give the network a larger range, or let GC free what containers left behind`,
		},
		{
			name: "not valid", ipam: `{"subnet": "10.1.0.0/31"}`,
			err: `host-local: network "net": ipam: subnet 10.1.0.0/31 is too small for hosts and a gateway; at most /30`,
		},
		{
			name: "the folder cannot be written to", ipam: `{"subnet": "10.1.0.0/24", "dataDir": "/dev/null/leases"}`,
			err: `host-local: network "net": write to /dev/null/leases/net: not a directory`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			for _, a := range test.have {
				h.write(a, "c\r\neth0")
			}
			err := h.Status(t.Context(), request("", test.ipam))
			if test.err != "" {
				wantError(t, err, cni.CodeNotAvailable, test.err)
			} else if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(h.dir, ".seam")); err == nil {
				t.Error("STATUS wrote something")
			}
		})
	}
}
