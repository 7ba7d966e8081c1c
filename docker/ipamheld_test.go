package docker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/ahead"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
)

// A driver that is started again knows all, and goes on without the network's file.
func TestIPAMStartedAgain(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		id := mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("small")}).ID
		first := mustAddress(t, p, id, "")
		if err := os.Remove(filepath.Join(ipamConf, "small.conflist")); err != nil {
			t.Fatal(err)
		}
		p = testIPAM(t)
		if err := p.Restore(t.Context()); err != nil {
			t.Error(err)
		}
		_, err := p.RequestAddress(t.Context(), &cnm.AddressRequest{Pool: id, Address: prefixOf(first).Addr()})
		wantError(t, "the same", err, "is in use by Docker")
		second := mustAddress(t, p, id, "")
		if first != "10.2.0.2/29" || second != "10.2.0.3/29" {
			t.Errorf("addresses %s and %s", first, second)
		}
		mustRelease(t, p, id, "10.2.0.2")
		mustRelease(t, p, id, "10.2.0.3")
		mustReleasePool(t, p, id)
		wantNothing(t, p)
		if left := podLeases(t, "small"); len(left) > 0 {
			t.Errorf("leased still: %v", left)
		}
	})
}

// After a reboot no lease counts, and what Docker has is leased again before pods come.
func TestIPAMAfterReboot(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		id := mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("small")}).ID
		own := mustPool(t, p, cnm.PoolRequest{}).ID
		got := []string{mustAddress(t, p, id, ""), mustAddress(t, p, id, ""), mustAddress(t, p, own, "")}
		if err := netns.Remove(p.Desk.NetNS); err != nil {
			t.Fatal(err)
		}
		small, err := seam.Load(ipamConf, "small")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Desk.Runtime.CollectDead(t.Context(), small); err != nil {
			t.Fatal(err)
		}
		if left := podLeases(t, "small"); len(left) > 0 {
			t.Fatalf("leased still: %v", left)
		}
		pod(t, p, "small", "10.2.0.3") // faster than Docker
		p = testIPAM(t)
		wantError(t, "restore", p.Restore(t.Context()), "address 10.2.0.3, which Docker has since")
		if diff := cmp.Diff([]string{"10.2.0.2", "10.2.0.3"}, podLeases(t, "small")); diff != "" {
			t.Errorf("%v were leased; now (-want +got):\n%s", got, diff)
		}
		if holder, _ := os.ReadFile("/var/lib/cni/networks/small/10.2.0.2"); !strings.HasPrefix(string(holder), ahead.ContainerPrefix) {
			t.Errorf("10.2.0.2 is leased to %q", holder)
		}
		if diff := cmp.Diff([]string{"10.210.0.1"}, leased(t, p.file("leases"), "docker-pool-10.210.0.0-24")); diff != "" {
			t.Errorf("leased of its own (-want +got):\n%s", diff)
		}
		if got := mustAddress(t, p, id, ""); got != "10.2.0.4/29" {
			t.Errorf("next address %s", got)
		}
	})
}

// An address whose lease was lost is not given to a second container: the lease that has
// found it becomes the first one's.
func TestIPAMMendsLostLease(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p := testIPAM(t)
		id := mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("small")}).ID
		for range 5 {
			mustAddress(t, p, id, "")
		}
		mustRelease(t, p, id, "10.2.0.5")
		before, err := p.Held()
		if err != nil {
			t.Fatal(err)
		}
		small, err := seam.Load(ipamConf, "small")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Desk.Runtime.Collect(t.Context(), small, []cni.Attachment{}); err != nil { // by who knows nothing of Docker
			t.Fatal(err)
		}
		if got := mustAddress(t, p, id, ""); got != "10.2.0.5/29" {
			t.Errorf("address %s, want the one that is free", got)
		}
		after, err := p.Held()
		if err != nil {
			t.Fatal(err)
		}
		after = slices.DeleteFunc(after, func(l Lease) bool { return l.Address == addrOf("10.2.0.5") })
		if diff := cmp.Diff(before, after, netipValues); diff != "" {
			t.Errorf("the others' leases (-before +after):\n%s", diff)
		}
		for a := addrOf("10.2.0.2"); a != addrOf("10.2.0.7"); a = a.Next() {
			mustRelease(t, p, id, a.String())
		}
		mustReleasePool(t, p, id)
		wantNothing(t, p)
	})
}

// Free frees what Held has shown, and nothing that was given anew since.
func TestIPAMHeld(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		writeIPAMNetworks(t)
		p, now := testIPAM(t), time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		p.Now = func() time.Time { return now }
		id := mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("small")}).ID
		now = now.Add(time.Second)
		mustAddress(t, p, id, "10.2.0.4")
		held, err := p.Held()
		want := []Lease{{Pool: id, Network: "small", Address: addrOf("10.2.0.4"), Since: time.Date(2026, 1, 2, 3, 4, 6, 6, time.UTC)}}
		if diff := cmp.Diff(want, held, netipValues); diff != "" || err != nil {
			t.Fatalf("error %v, held (-want +got):\n%s", err, diff)
		}
		pools, err := p.HeldPools()
		if diff := cmp.Diff([]HeldPool{{ID: id, Count: 1, Since: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}}, pools); diff != "" || err != nil {
			t.Fatalf("error %v, pools (-want +got):\n%s", err, diff)
		}
		mustRelease(t, p, id, "10.2.0.4")
		now = now.Add(time.Second)
		mustAddress(t, p, id, "10.2.0.4")
		if err := p.Free(t.Context(), held[0]); err != nil {
			t.Error(err)
		}
		anew, err := p.Held()
		if len(anew) != 1 || err != nil {
			t.Fatalf("held %v, %v; want what was given anew", anew, err)
		}
		if err := p.Free(t.Context(), anew[0]); err != nil {
			t.Error(err)
		}
		mustPool(t, p, cnm.PoolRequest{Options: ofNetwork("small")})
		if err := p.FreePool(t.Context(), pools[0]); err != nil {
			t.Error(err)
		}
		if pools, err = p.HeldPools(); len(pools) != 1 || pools[0].Count != 2 {
			t.Fatalf("pools %v, %v; want what was given anew", pools, err)
		}
		if err := p.FreePool(t.Context(), pools[0]); err != nil {
			t.Error(err)
		}
		wantNothing(t, p)
	})
}
