package runtimes

import (
	"bytes"
	"errors"
	"os/exec"
	"slices"
	"testing"
)

const ctrNetwork = `{"cniVersion": "1.0.0", "name": "ctr", "plugins": [
	{"type": "bridge", "bridge": "ctr0", "isDefaultGateway": true, "ipMasq": true,
	 "ipam": {"type": "host-local", "subnet": "10.60.0.0/24"}},
	{"type": "witness"}]}`

func TestCtr(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.startContainerd("default")
		n.callWitness()
		n.network(ctrNetwork)
		n.listenOutside()
		before := n.footprint()
		n.ctrForeground()
		n.same(before)
		n.ctrDetached()
		n.same(before)
	})
}

// ctrForeground runs two containers that reach and are reached. Ctr calls DEL when its
// run ends, and then names no namespace.
func (n *node) ctrForeground() {
	n.Helper()
	ended1, ended2 := n.ctrRun("c1"), n.ctrRun("c2")
	c1, c2 := n.attached("ctr", "default-c1"), n.attached("ctr", "default-c2")
	n.answers(nil, c1.addr()+":80", "c1 asked by 10.60.0.1")
	n.answers(nil, c2.addr()+":80", "c2 asked by 10.60.0.1")
	for address, want := range map[string]string{
		c1.addr(): "c1 asked by " + c2.addr(), outsideAddr: "outside asked by " + nodeAddr,
	} {
		if got := n.run("ctr", "task", "exec", "--exec-id", "ask", "c2", "wget", "-qO-", url(address)); got != want {
			n.Errorf("from c2: %q, want %q", got, want)
		}
	}
	n.sound()

	n.run("ctr", "task", "kill", "--signal", "9", "c1")
	ended1()
	if dels := n.calls("DEL", "default-c1"); len(dels) != 1 || dels[0].NetNS != "" {
		n.Errorf("DEL: %+v, want one without a namespace", dels)
	}
	n.closed(nil, c1.addr()+":80")
	n.answers(nil, c2.addr()+":80", "c2 asked by 10.60.0.1")
	n.run("ctr", "task", "kill", "--signal", "9", "c2")
	ended2()
}

// ctrDetached runs a container in the background, which ctr never calls DEL for: Seam
// frees what it forgets.
func (n *node) ctrDetached() {
	n.Helper()
	n.run("ctr", "run", "--detach", "--cni", "--cgroup", n.cgroup+"/c3", image, "c3", "sleep", "1000")
	n.run(built("seam"), "gc", "ctr")
	n.attached("ctr", "default-c3") // it lives
	n.run("ctr", "task", "kill", "--signal", "9", "c3")
	n.eventually(func() error {
		_, err := n.try("ctr", "task", "delete", "--force", "c3")
		if !exists("/run/containerd/io.containerd.runtime.v2.task/default/c3") {
			err = nil // it says, too, that the container was killed
		}
		return err
	})
	n.run("ctr", "container", "delete", "c3")
	if found := n.attachments("ctr"); len(found) != 1 || !found[0].Stale {
		n.Errorf("seam ls: %+v, want c3 as stale", found)
	}
	n.run(built("seam"), "gc", "ctr")
}

// ctrRun runs a web server in the foreground; what it returns waits for the end.
func (n *node) ctrRun(name string) (ended func()) {
	n.Helper()
	var out bytes.Buffer
	cmd := exec.Command("ctr", "run", "--rm", "--cni", "--cgroup", n.cgroup+"/"+name, "--env", "NAME="+name,
		image, name, "httpd", "-f", "-h", "/www")
	cmd.Stdout, cmd.Stderr = &out, &out
	n.must(cmd.Start())
	n.eventually(func() error { // ctr makes the task, then attaches it, then starts it
		is := func(a attachment) bool { return a.ContainerID == "default-"+name }
		if !slices.ContainsFunc(n.attachments("ctr"), is) {
			return errors.New(name + " is not attached")
		}
		_, err := n.try("ctr", "task", "exec", "--exec-id", "up", name, "true")
		return err
	})
	return func() {
		n.Helper()
		if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 137 { // killed
			n.Errorf("ctr run: %v\n%s", err, &out)
		}
	}
}
