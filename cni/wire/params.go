package wire

import (
	"os"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
)

// params are the parameters of one call as the environment holds them.
type params struct {
	command, containerID, netns, ifname, args, path, override string
}

// parseParams reads the parameters out of an environment; of variables that are
// there twice the last one counts.
func parseParams(env []string) params {
	var p params
	for _, kv := range env {
		if !strings.HasPrefix(kv, "CNI_") {
			continue
		}
		key, value, _ := strings.Cut(kv, "=")
		if into := p.variable(key); into != nil {
			*into = value
		}
	}
	return p
}

func (p *params) variable(key string) *string {
	switch key {
	case "CNI_COMMAND":
		return &p.command
	case "CNI_CONTAINERID":
		return &p.containerID
	case "CNI_NETNS":
		return &p.netns
	case "CNI_IFNAME":
		return &p.ifname
	case "CNI_ARGS":
		return &p.args
	case "CNI_PATH":
		return &p.path
	case "CNI_NETNS_OVERRIDE":
		return &p.override
	}
	return nil
}

// forContainer reports whether the command is about one container.
func (p *params) forContainer() bool {
	return p.command == "ADD" || p.command == "CHECK" || p.command == "DEL"
}

// check returns an error with CodeInvalidEnvironment if a parameter that the command
// requires is bad or missing: first the first bad one, else all that are missing.
func (p *params) check() error {
	var missing []string
	if p.forContainer() {
		if p.containerID == "" {
			missing = append(missing, "CNI_CONTAINERID")
		} else if err := cni.CheckContainerID(p.containerID); err != nil {
			return err
		}
		if p.netns == "" && p.command != "DEL" {
			missing = append(missing, "CNI_NETNS")
		}
		if p.ifname == "" {
			missing = append(missing, "CNI_IFNAME")
		} else if err := cni.CheckIfName(p.ifname); err != nil {
			return err
		}
	}
	if p.path == "" && (p.forContainer() || p.command == "GC" || p.command == "STATUS") {
		missing = append(missing, "CNI_PATH")
	}
	if len(missing) > 0 {
		return cni.Errorf(cni.CodeInvalidEnvironment, "missing in the environment of %s: %s", p.command, strings.Join(missing, ", "))
	}
	return nil
}

// overridden reports whether the caller insists on a namespace that is the
// plugin's own.
func (p *params) overridden() bool { return p.override == "1" || strings.EqualFold(p.override, "true") }

// environ is this process's environment with the parameters of another call. All
// other variables pass, as the specification wants it of delegation: the trace
// context, and CNI_NETNS_OVERRIDE.
func (p *params) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return key != "CNI_NETNS_OVERRIDE" && (&params{}).variable(key) != nil
	})
	return append(env,
		"CNI_COMMAND="+p.command,
		"CNI_CONTAINERID="+p.containerID,
		"CNI_NETNS="+p.netns,
		"CNI_ARGS="+p.args,
		"CNI_IFNAME="+p.ifname,
		"CNI_PATH="+p.path)
}

func paramsOf(verb string, r *cni.Request, path string) *params {
	return &params{
		command: verb, containerID: r.ContainerID, netns: r.NetNS, ifname: r.IfName, args: r.Args.String(), path: path,
	}
}
