package cnm_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/cnm"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
)

// A killer executes the plugin and kills it while the driver is at a verb.
type killer struct {
	*fixture
	program string
}

func newKiller(t *testing.T) *killer {
	t.Helper()
	host := plugin.NewHost(plugin.DefaultDirs) // those of the program
	t.Cleanup(func() { host.Close() })
	k := &killer{fixture: &fixture{
		plugintest.New(t, cnm.New(host), cni.Registry{"static": static.New()}), host, plugintest.NewDriver(t, "bricks"),
	}}
	k.program = filepath.Join(t.TempDir(), "cnm")
	plugintest.Must(t, os.Symlink(plugintest.Daemon(t), k.program))
	return k
}

func (k *killer) command(verb string, r *cni.Request) *exec.Cmd {
	cmd := exec.Command(k.program)
	conf := string(r.Config.JSON)
	if verb == "GC" {
		conf = strings.Replace(conf, "{", `{"cni.dev/valid-attachments":[],`, 1)
	}
	cmd.Stdin = strings.NewReader(conf)
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + r.ContainerID, "CNI_NETNS=" + r.NetNS, "CNI_IFNAME=" + r.IfName, "CNI_PATH=" + filepath.Dir(k.program),
	}
	return cmd
}

// kill executes the plugin for the command, and kills it when the driver is asked for the
// verb, which the driver then does, or never hears of.
func (k *killer) kill(command, verb string, heard bool, r *cni.Request) {
	k.Helper()
	cmd, dead, over := k.command(command, r), make(chan bool), make(chan bool)
	finish := func() error { close(over); return nil }
	k.driver.Before = at(verb, func() error {
		_ = cmd.Process.Kill()
		<-dead
		if !heard {
			close(over)
			return errors.New("was never asked")
		}
		return nil
	})
	k.driver.After = nil
	if heard {
		k.driver.After = at(verb, finish)
	}
	plugintest.Must(k, cmd.Start())
	err := cmd.Wait()
	close(dead)
	if err == nil || cmd.ProcessState.Exited() {
		k.Fatalf("%s, %s: was not killed: %v", command, verb, err)
	}
	<-over
	k.driver.Before, k.driver.After = nil, nil
}

// TestKilled: wherever in an ADD a kill -9 came, DEL, GC and another ADD leave nothing, and
// have all.
func TestKilled(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		k := newKiller(t)
		r := k.Request(k.conf(fixed))
		next := map[string]func(string){
			"DEL": func(when string) {
				if err := k.Del(t.Context(), r); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			},
			"GC": func(string) {},
			"ADD": func(when string) {
				// Without a DEL only what is not in the pod can be attached.
				again := *r
				if there, err := k.Inside.ByName("eth0"); err == nil {
					if there.Alias != "seam:net/c1/eth0" {
						t.Errorf("%s: %+v", when, there)
					}
					plugintest.Must(t, k.Del(t.Context(), r))
				}
				k.Attach(k, &again)
				k.Passes(&again)
				k.Detach(k, &again)
			},
		}
		for _, verb := range making {
			for _, heard := range []bool{false, true} {
				for name, do := range next {
					when := fmt.Sprintf("ADD killed at %s, heard %t, then %s", verb, heard, name)
					k.kill("ADD", verb, heard, r)
					do(when)
					k.collected(when, r)
				}
			}
		}
	})
}

// TestKilledRemoving is the same for DEL and GC.
func TestKilledRemoving(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		k := newKiller(t)
		r := k.Request(k.conf(fixed))
		for _, verb := range removing {
			for _, heard := range []bool{false, true} {
				for _, next := range []string{"DEL", "GC"} {
					when := fmt.Sprintf("DEL killed at %s, heard %t, then %s", verb, heard, next)
					k.Attach(k, r)
					r.Prev = nil
					k.kill("DEL", verb, heard, r)
					if next == "DEL" {
						// What was removed and not noted may be refused, once.
						if err := k.Del(t.Context(), r); err != nil && !strings.Contains(err.Error(), "the next time this is passed over") {
							t.Errorf("%s: %v", when, err)
						}
					}
					k.collected(when, r)
				}
			}
		}
		for _, verb := range []string{"ReleaseAddress", "ReleasePool", "DeleteNetwork"} {
			for _, heard := range []bool{false, true} {
				when := fmt.Sprintf("GC killed at %s, heard %t", verb, heard)
				k.Attach(k, r)
				r.Prev = nil
				k.Detach(k, r)
				k.kill("GC", verb, heard, r)
				k.collected(when, r)
			}
		}
	})
}
