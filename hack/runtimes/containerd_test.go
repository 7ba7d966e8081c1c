package runtimes

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// containerd is the daemon, at the address where its clients look for it.
type containerd struct {
	*node
	config  string
	process *exec.Cmd
}

const containerdConfig = `version = 2
root = "%ROOT%"
state = "/run/containerd"
[debug]
  level = "warn"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pause + `"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "` + binDir + `"
    conf_dir = "` + confDir + `"
    max_conf_num = 1
`

// containerd starts the daemon.
func (n *node) containerd() *containerd {
	n.Helper()
	n.need("containerd", "ctr", "containerd-shim-runc-v2", "runc")
	root := filepath.Join(n.dir, "containerd")
	c := &containerd{node: n, config: n.write("config.toml", strings.ReplaceAll(containerdConfig, "%ROOT%", root))}
	c.start()
	n.Cleanup(c.stop)
	return c
}

// startContainerd starts the daemon and loads the images into the namespaces of its
// clients. Where the machine refuses containers the test is skipped.
func (n *node) startContainerd(namespace string) *containerd {
	n.Helper()
	c := n.containerd()
	c.load(namespace)
	if _, err := n.try("ctr", "--namespace", namespace, "run", "--rm", "--cgroup", n.cgroup+"/probe", image, "probe", "true"); err != nil {
		n.Skipf("this machine runs no containers: %v", err)
	}
	return c
}

// load loads the images for the daemon's clients in that namespace.
func (c *containerd) load(namespace string) {
	c.Helper()
	c.run("ctr", "--namespace", namespace, "image", "import", c.images())
}

// start starts the daemon and waits until it answers.
func (c *containerd) start() {
	c.Helper()
	log, err := os.OpenFile(filepath.Join(c.dir, "containerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	c.must(err)
	defer log.Close()
	c.process = exec.Command("containerd", "--config", c.config)
	c.process.Stdout, c.process.Stderr = log, log
	c.must(c.process.Start())
	c.eventually(func() error {
		_, err := c.try("ctr", "version")
		return err
	})
}

// stop ends the daemon as a power failure would: containers live on without it.
func (c *containerd) stop() {
	c.Helper()
	c.must(c.process.Process.Kill())
	_ = c.process.Wait() // says that it was killed
	if c.Failed() {
		c.Log(contents(filepath.Join(c.dir, "containerd.log")))
	}
}
