package hostlocal

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// The test binary runs itself to have processes that can be killed: with allocateIn
// set it gives out and takes back addresses there until it is.
const allocateIn = "SEAM_TEST_ALLOCATE_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(allocateIn); dir != "" {
		allocateForever(dir, os.Args[1])
	}
	os.Exit(m.Run())
}

const dualStack = `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/120"}]]}`

func allocateForever(dir, name string) {
	p := New(dir)
	ctx := context.Background()
	for i := 0; ; i++ {
		r := request(fmt.Sprintf("%s-%d", name, i), dualStack)
		if _, err := cni.Add(ctx, p, r); err != nil {
			fmt.Println("add:", err)
		}
		fmt.Println("added", r.ContainerID)
		if i%3 == 0 {
			continue
		}
		if err := p.Del(ctx, r); err != nil {
			fmt.Println("del:", err)
		}
	}
}

// TestConcurrent: no address is given out twice, and none is lost.
func TestConcurrent(t *testing.T) {
	h := newHost(t)
	const workers, rounds = 16, 10
	var mu sync.Mutex
	holders := map[string]string{}
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range rounds {
				id := fmt.Sprintf("c%d-%d", w, i)
				r := request(id, dualStack)
				result, err := newPlugin(h.dir, h.boot).Add(t.Context(), r)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, a := range addresses(result) {
					if other, ok := holders[a]; ok {
						t.Errorf("%s was given to %s and to %s", a, other, id)
					}
					holders[a] = id
				}
				mu.Unlock()
				if i%2 == 0 {
					continue
				}
				mu.Lock()
				for _, a := range addresses(result) {
					delete(holders, a)
				}
				mu.Unlock()
				if err := newPlugin(h.dir, h.boot).Del(t.Context(), r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got, want := strings.Count(h.leases(), "\n"), 2*workers*rounds/2; got != want {
		t.Errorf("%d leases are left, want %d", got, want)
	}
	if !h.trusted() {
		t.Error("the index is not marked as right")
	}
}

// TestKilled kills processes that give out addresses, at random moments, many times:
// there is never a lease without a holder, and Del and GC clean up.
func TestKilled(t *testing.T) {
	h := newHost(t)
	h.hostLocal = newPlugin(h.dir, bootIDFile)
	rnd := rand.New(rand.NewPCG(1, 2))
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		added := killedAfter(t, h.dir, fmt.Sprintf("p%d", round), time.Duration(rnd.IntN(3000))*time.Microsecond)
		for line := range strings.Lines(h.leases()) {
			if !strings.Contains(line, fmt.Sprintf(`"p%d-`, round)) || !strings.HasSuffix(line, "\\r\\neth0\"\n") {
				t.Fatalf("round %d: a lease is not whole: %s", round, line)
			}
		}
		// Whatever the killed process was at, a container is served.
		h.add(request("next", dualStack))
		h.del(request("next", dualStack))
		if round%4 == 3 {
			r := request("", dualStack)
			r.Valid = []cni.Attachment{}
			if err := h.GC(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		} else {
			for _, id := range added {
				h.del(request(id, dualStack))
			}
		}
		if diff := cmp.Diff("", h.leases()); diff != "" {
			t.Fatalf("round %d, %d containers: leases (-want +got):\n%s", round, len(added), diff)
		}
		if diff := cmp.Diff(0, len(h.index())); diff != "" {
			t.Fatalf("round %d, %d containers: entries (-want +got):\n%s", round, len(added), diff)
		}
	}
}

// killedAfter runs a process that gives out addresses, kills it some time after its
// first, and returns its containers, the one included that it may have been at.
func killedAfter(t *testing.T, dir, name string, after time.Duration) []string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", name)
	cmd.Env = append(os.Environ(), allocateIn+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var added []string
	for lines.Scan() {
		if len(added) == 0 {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		id, ok := strings.CutPrefix(lines.Text(), "added ")
		if !ok {
			t.Errorf("%s: %s", name, lines.Text())
		}
		added = append(added, id)
	}
	_ = cmd.Wait() // killed
	return append(added, fmt.Sprintf("%s-%d", name, len(added)))
}
