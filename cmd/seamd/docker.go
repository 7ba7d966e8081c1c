package main

import (
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/docker"
	"github.com/seamnet/seam/docker/engine"
)

const dockerAbout = `Answer Docker as its network driver and its IPAM driver, until a signal ends it: calls
on their way are finished first. Networks and endpoints are on disk; containers go on
while it does not run, and the next one goes on with what it finds.

Docker finds a driver by its socket, and stores the name with each network for ever:
choose --name once. Several drivers of different names can stand beside one another.

systemd may hand it the socket (deploy/seamd.socket), so that Docker waits for an
answer, and does not fail, while it starts. The engine is asked back for containers'
names and labels and for what it has forgotten; no call depends on that.`

// dockerFlags are those of the command.
type dockerFlags struct {
	name             string
	socket           string
	stateDir, runDir string
	confDir          string
	binDirs          []string
	cacheDir         string
	engine           string
	listen           string
	timeout          time.Duration
	collectEvery     time.Duration
	log              logFlags
}

// defaultName is the driver's unless another is chosen.
const defaultName = "seam"

func (c *cli) dockerCommand() *cobra.Command {
	f := &dockerFlags{}
	cmd := &cobra.Command{
		Use:   "docker",
		Short: "Answer Docker as its network and IPAM driver",
		Long:  dockerAbout,
		Example: `  seamd docker --listen 127.0.0.1:9476
  seamd docker --name test --state-dir /tmp/test --log-level debug`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.settle(); err != nil {
				return err
			}
			log, err := f.log.logger(c.err)
			if err != nil {
				return err
			}
			return c.docker(cmd.Context(), f, log)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.name, "name", defaultName, "`name` of the driver: docker network create -d NAME")
	fl.StringVar(&f.socket, "socket", "", "`path` of the socket that engines call (default /run/docker/plugins/NAME.sock)")
	fl.StringVar(&f.stateDir, "state-dir", "", "`folder` of networks and endpoints (default /var/lib/seam/docker; -NAME behind it if that is not seam)")
	fl.StringVar(&f.runDir, "run-dir", "", "`folder` of what ends with the kernel, on a tmpfs (default /run/seam/docker; -NAME as above)")
	fl.StringVar(&f.confDir, "conf-dir", c.envOr("NETCONFPATH", "/etc/cni/net.d"), "`folder` of the networks' files [$NETCONFPATH]")
	fl.StringSliceVar(&f.binDirs, "bin-dir", c.binDirs(), "`folder` of plugin programs, searched in order (repeatable) [$CNI_PATH]")
	fl.StringVar(&f.cacheDir, "cache-dir", seam.DefaultCacheDir, "`folder` of what is attached, which seam ls reads")
	fl.StringVar(&f.engine, "engine", engine.DefaultHost, "`address` of the engine's API, unix://PATH or tcp://HOST:PORT; '' asks none")
	fl.StringVar(&f.listen, "listen", "", "`address` of /healthz and /metrics, HOST:PORT or unix:PATH; '' has none")
	fl.DurationVar(&f.timeout, "timeout", 30*time.Second, "longest `time` until a call is answered: the engine itself waits for ever")
	fl.DurationVar(&f.collectEvery, "collect-every", docker.DefaultCollectEvery, "`time` between two questions to the engine for what it has forgotten; what it does not have twice is removed")
	f.log.add(cmd)
	return cmd
}

func (c *cli) binDirs() []string {
	if v := c.getenv("CNI_PATH"); v != "" {
		return filepath.SplitList(v)
	}
	return []string{"/opt/cni/bin"}
}

// A name is a file's, a part of a socket's path, and a word of docker's command line.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// settle fills in what follows from the name, and reports what is not valid.
func (f *dockerFlags) settle() error {
	if !nameForm.MatchString(f.name) {
		return usage("", "--name %q: letters, digits, '_', '.' and '-', of which the first is a letter or a digit", f.name)
	}
	suffix := ""
	if f.name != defaultName {
		suffix = "-" + f.name
	}
	for _, p := range []struct {
		flag      string
		value     *string
		otherwise string
	}{
		{"socket", &f.socket, "/run/docker/plugins/" + f.name + ".sock"},
		{"state-dir", &f.stateDir, "/var/lib/seam/docker" + suffix},
		{"run-dir", &f.runDir, "/run/seam/docker" + suffix},
		{"conf-dir", &f.confDir, ""},
		{"cache-dir", &f.cacheDir, ""},
	} {
		if *p.value == "" {
			*p.value = p.otherwise
		}
		if !filepath.IsAbs(*p.value) {
			return usage("", "--%s %q: must be an absolute path", p.flag, *p.value)
		}
	}
	if f.timeout <= 0 {
		return usage("", "--timeout %v: must be more than 0", f.timeout)
	}
	if f.collectEvery <= 0 {
		return usage("", "--collect-every %v: must be more than 0", f.collectEvery)
	}
	return nil
}
