package dhcp_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/dhcp"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestProgram starts the daemon as people do, with the reference's flags; kills it;
// and has systemd's socket handed over.
func TestProgram(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		program := filepath.Join(t.TempDir(), "dhcp")
		if err := os.Symlink(plugintest.Program(t), program); err != nil {
			t.Fatal(err)
		}
		pidFile := filepath.Join(t.TempDir(), "pid")
		// The host's root by another path: that of the socket and of namespaces.
		flags := []string{"daemon", "-socketpath", dhcp.DefaultSocket, "-pidfile", pidFile, "-hostprefix", "/proc/self/root",
			"-broadcast", "-timeout", "10s", "-resendmax", "62s", "-resendtimeout", "208s"}
		end := start(t, exec.Command(program, flags...))
		r := l.request(netnstest.NewPod(t, "web"), "c1", "")
		address := l.add(r).Addr().String()
		if pid, err := os.ReadFile(pidFile); err != nil || len(pid) == 0 {
			t.Errorf("-pidfile: %q, %v", pid, err)
		}
		// renewed starts the daemon when the lease is to be renewed.
		renewed := func(cmd *exec.Cmd) (end func(os.Signal)) {
			t.Helper()
			age(t, 61*time.Second)
			before := strings.Count(l.log.String(), "DHCPACK(eth0) "+address)
			end = start(t, cmd)
			eventually(t, func() bool { return strings.Count(l.log.String(), "DHCPACK(eth0) "+address) > before },
				func() string { return "not renewed:\n" + l.log.String() })
			return end
		}
		end(syscall.SIGKILL)
		end = renewed(exec.Command(program, flags...))
		end(syscall.SIGTERM)
		for _, path := range []string{pidFile, dhcp.DefaultSocket} {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s is left after SIGTERM", path)
			}
		}
		if len(l.leased("c1/lan/eth0")) != 1 {
			t.Error("the lease was released on SIGTERM")
		}
		socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: dhcp.DefaultSocket, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		file, err := socket.File()
		if err != nil {
			t.Fatal(err)
		}
		// The ID is known when it runs: a shell says it, as systemd does.
		activated := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" daemon`, program)
		activated.ExtraFiles = append(activated.ExtraFiles, file)
		end = renewed(activated)
		socket.SetUnlinkOnClose(false)
		socket.Close()
		if err := l.bridge.Check(t.Context(), r); err != nil {
			t.Errorf("CHECK: %v", err)
		}
		if err := l.bridge.Del(t.Context(), r); err != nil {
			t.Errorf("DEL: %v", err)
		}
		l.freed("c1/lan/eth0")
		end(syscall.SIGTERM)
		if _, err := os.Stat(dhcp.DefaultSocket); err != nil {
			t.Errorf("the socket that was handed over: %v", err)
		}
	})
}

// start starts the daemon, and waits until it is asked something and answers.
func start(t *testing.T, cmd *exec.Cmd) (end func(os.Signal)) {
	t.Helper()
	log := new(safeBuffer)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end = func(s os.Signal) {
		once.Do(func() {
			cmd.Process.Signal(s)
			cmd.Wait()
		})
	}
	t.Cleanup(func() { end(syscall.SIGKILL) })
	r := plugintest.Request(t, `{"cniVersion": "1.1.0", "name": "lan", "type": "dhcp", "ipam": {"type": "dhcp"}}`, nil, "c1", nil)
	var err error
	eventually(t, func() bool {
		err = dhcp.New().Status(t.Context(), r)
		return err == nil
	}, func() string { return err.Error() + "\n" + log.String() })
	return end
}

// TestIntent has a daemon die between its intent and the server's answer: the next
// one gives back what may have been leased.
func TestIntent(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t)
		stop := daemon(t)
		r := l.request(netnstest.NewPod(t, "web"), "c1", "")
		l.add(r)
		stop()
		// As it was before the answer: no time since when it is held.
		rec, path := record(t)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		intent := strings.Replace(string(data), strconv.Quote(rec["since"].(string)), strconv.Quote(time.Time{}.Format(time.RFC3339)), 1)
		if err := os.WriteFile(path, []byte(intent), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(records, "half.json.tmp"), []byte(`{"containerID"`), 0o600); err != nil {
			t.Fatal(err)
		}
		daemon(t)
		l.freed("c1/lan/eth0")
		noRecords(t)
	})
}
