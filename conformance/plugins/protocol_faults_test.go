package plugins_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// flaws are those of TestFaultsOfProtocol, by name.
func flaws() map[string]flaw {
	return map[string]flaw{
		"forgets":    {before: on("DEL", (*faultyCall).forget)},
		"lonely":     {before: on("ADD", func(c *faultyCall) { c.endsUnless(os.Getenv("CNI_IFNAME") == "eth0") })},
		"honest":     {},
		"wants-path": {before: func(c *faultyCall) { c.endsUnless(os.Getenv("CNI_PATH") != "") }},
		"deaf":       {before: on("ADD", func(*faultyCall) { signal.Ignore(syscall.SIGPIPE) })},
		"new-only":   {delegate: func(p cni.Plugin) cni.Plugin { return newOnly{p} }},
		"agrees":     {before: agree},
		"refuses":    {before: func(c *faultyCall) { c.Done = true; c.says(1, "no") }},
		"loud":       {after: func(c *faultyCall) { c.says(c.Exit, "\"working\"\n"+c.Stdout.String()) }},
		"chatty":     {after: func(c *faultyCall) { c.says(c.Exit, cmp.Or(c.Stdout.String(), "{}")) }},
		"only-adds":  {before: func(c *faultyCall) { c.endsUnless(c.Verb == "ADD" || c.Verb == "VERSION") }},
		"unready":    {before: func(c *faultyCall) { c.endsUnless(c.Verb != "ADD" && c.Verb != "STATUS") }},
		"no-null":    {before: func(c *faultyCall) { c.endsUnless(!bytes.Contains(c.Stdin, []byte(`"prevResult":null`))) }},
		"mute":       {after: onError(func(c *faultyCall) { c.says(c.Exit, "") })},
		"vague":      {after: onError(func(c *faultyCall) { c.says(c.Exit, `{"code":999,"msg":"no"}`) })},
		"strict":     {before: strict},
		"leaves":     {after: onError(leaveTap)},
		"overwrites": {before: overwrite},
		"clumsy":     {before: clumsyDel},
		"keeps":      {before: on("DEL", func(c *faultyCall) { c.ends(true) })},
		"needs-variable": {before: on("VERSION", func(c *faultyCall) {
			c.ends(os.Getenv("CNI_PATH") != "" && string(c.Stdin) == `{"cniVersion":"1.1.0"}`)
		})},
		"one-version": {after: on("VERSION", func(c *faultyCall) {
			c.says(0, `{"cniVersion":"0.2.0","supportedVersions":["1.1","1.1.0","1.0.0","0.4.0"]}`)
		})},
		"newest-form":   {after: on("ADD", func(c *faultyCall) { c.reform("1.1.0", func(*cni.Result) {}) })},
		"no-version":    {after: on("ADD", func(c *faultyCall) { c.replace(`"cniVersion": "1.1.0",`, "") })},
		"no-interfaces": {after: on("ADD", func(c *faultyCall) { c.reform("", func(r *cni.Result) { r.Interfaces = nil }) })},
		"other-sandbox": {after: on("ADD", func(c *faultyCall) {
			c.reform("", func(r *cni.Result) { r.Interfaces[len(r.Interfaces)-1].Sandbox = "/x" })
		})},
		"other-gateway": {after: on("ADD", func(c *faultyCall) {
			c.reform("", func(r *cni.Result) { r.IPs[0].Gateway = netip.MustParseAddr("fd00::1") })
		})},
		"newer-keys": {after: on("ADD", func(c *faultyCall) { c.replace(`"ips": [`, `"more": 1, "ips": [`) })},
		"no-addresses": {after: on("ADD", func(c *faultyCall) {
			c.reform("", func(r *cni.Result) { r.IPs, r.Routes, r.DNS = nil, nil, cni.DNS{} })
		})},
		"ipam-of-lan": {after: on("ADD", func(c *faultyCall) { c.reform("", interfacesOfIPAM) })},
		"crashes":     {before: on("ADD", crash)},
		"blind":       {before: on("CHECK", func(c *faultyCall) { c.ends(true) })},
		"rigid":       {before: on("CHECK", func(c *faultyCall) { c.rigid() }), after: on("ADD", func(c *faultyCall) { c.rigid() })},
		"wants-result": {before: func(c *faultyCall) {
			c.endsUnless(c.Verb != "CHECK" && c.Verb != "DEL" || bytes.Contains(c.Stdin, []byte(`"prevResult"`)))
		}},
		"collects-none": {before: on("GC", func(c *faultyCall) { c.ends(true) })},
		"collects-all":  {before: on("GC", func(c *faultyCall) { c.change("cni.dev/valid-attachments", "[]") })},
		"collects-more": {before: on("GC", func(c *faultyCall) { c.change("name", `"conformance"`) })},
		"collects-once": {before: once},
		"optimist":      {before: on("STATUS", func(c *faultyCall) { c.ends(true) })},
		"no-capitals":   {before: on("ADD", func(c *faultyCall) { c.Stdin = bytes.ReplaceAll(c.Stdin, []byte("HostPort"), []byte("HOST")) })},
		"no-arguments":  {before: on("ADD", func(c *faultyCall) { _ = os.Setenv("CNI_ARGS", "") })},
		"no-variables":  {before: func(*faultyCall) { _ = os.Unsetenv("TRACEPARENT"); _ = os.Unsetenv("CONFORMANCE_VARIABLE") }},
		"no-args":       {before: on("ADD", func(c *faultyCall) { c.change("args", "null") })},
		"quiet":         {after: func(c *faultyCall) { c.Stderr.Reset() }},
		"inside":        {delegate: func(p cni.Plugin) cni.Plugin { return insidePod{p} }},
		"swallows":      {delegate: func(p cni.Plugin) cni.Plugin { return swallowing{p} }},
		"never-undoes":  {delegate: func(p cni.Plugin) cni.Plugin { return neverDel{p} }},
		"only-in-pod":   {before: on("DEL", func(c *faultyCall) { _, err := os.Stat(os.Getenv("CNI_NETNS")); c.endsUnless(err == nil) })},
	}
}

func on(verb string, f func(c *faultyCall)) func(c *faultyCall) {
	return func(c *faultyCall) {
		if c.Verb == verb && c.Exit == 0 {
			f(c)
		}
	}
}

func onError(f func(c *faultyCall)) func(c *faultyCall) {
	return func(c *faultyCall) {
		if c.Exit != 0 {
			f(c)
		}
	}
}

// endsUnless ends the call in failure unless that holds.
func (c *faultyCall) endsUnless(ok bool) {
	if !ok {
		c.ends(false)
	}
}

func (c *faultyCall) config() *wire.Object {
	o, err := wire.ParseObject(c.Stdin)
	if err != nil {
		return &wire.Object{}
	}
	return o
}

func (c *faultyCall) change(key, value string) {
	o := c.config()
	o.Set(key, json.RawMessage(value))
	c.Stdin = o.Bytes()
}

func (c *faultyCall) replace(old, with string) {
	c.says(c.Exit, strings.ReplaceAll(c.Stdout.String(), old, with))
}

// reform prints the result anew, changed, in the form of that version; of "", its own.
func (c *faultyCall) reform(version string, change func(r *cni.Result)) {
	asked, _ := c.config().String("cniVersion")
	result, err := wire.DecodeResult(c.Stdout.Bytes(), asked)
	if err != nil {
		return
	}
	change(result)
	if version == "" {
		version = asked
	}
	if out, err := wire.EncodeResult(result, version); err == nil {
		c.says(0, string(out))
	}
}

// agree says yes to everything and does nothing.
func agree(c *faultyCall) {
	c.Done = true
	switch c.Verb {
	case "VERSION":
		c.Done = false
	case "ADD", "add", "CONFORM":
		c.says(0, `{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/pod1"}],"ips":[{"address":"10.77.0.2/24","interface":0}]}`)
	}
}

// strict refuses what it does not know.
func strict(c *faultyCall) {
	if c.Verb != "ADD" {
		return
	}
	for _, key := range c.config().Keys() {
		if !slices.Contains([]string{"cniVersion", "name", "type", "bridge", "isGateway", "ipMasq", "hairpinMode", "ipam"}, key) {
			c.ends(false)
		}
	}
	args, set := os.LookupEnv("CNI_ARGS")
	c.endsUnless(set && args == "" && os.Getenv("TRACEPARENT") == "")
}

// leaveTap makes a link on the host.
func leaveTap(c *faultyCall) {
	if h, err := link.Open(); err == nil && c.Verb != "VERSION" {
		_ = h.AddTap(link.Tap{Name: fmt.Sprintf("left%d", os.Getpid())})
	}
}

// overwrite deletes the interface that is there, and makes the one asked for in its place.
func overwrite(c *faultyCall) {
	if ns, err := netns.Open(os.Getenv("CNI_NETNS")); err == nil && c.Verb == "ADD" {
		if h, err := link.In(ns); err == nil {
			_ = h.Delete(os.Getenv("CNI_IFNAME"))
		}
		c.forget()
	}
}

// forget takes away what would make a second ADD fail.
func (c *faultyCall) forget() { _ = os.RemoveAll("/var/lib/cni/networks") }

// clumsyDel wants all to be there that ADD made.
func clumsyDel(c *faultyCall) {
	if c.Verb != "DEL" {
		return
	}
	ns, err := netns.Open(os.Getenv("CNI_NETNS"))
	if err == nil {
		err = ns.Do(func() error { return exec.Command("ip", "link", "show", os.Getenv("CNI_IFNAME")).Run() })
	}
	bare := !bytes.Contains(c.Stdin, []byte(`"bridge":`)) || bytes.Contains(c.Stdin, []byte(`"ips":"none"`))
	c.endsUnless(err == nil && !bare)
}

func crash(c *faultyCall) {
	if !bytes.Contains(c.Stdin, []byte(`"prevResult":{`)) {
		c.Done = true
		c.says(2, "")
		c.Stderr.WriteString("panic: goroutine 1")
	}
}

// rigid wants the pod to be, at CHECK, as it was at ADD.
func (c *faultyCall) rigid() {
	const file = "/run/rigid"
	ns, err := netns.Open(os.Getenv("CNI_NETNS"))
	if err != nil {
		return
	}
	var state []byte
	_ = ns.Do(func() error {
		state, err = exec.Command("sh", "-c", "ip -o link; ip route").Output()
		return err
	})
	if c.Verb == "ADD" {
		_ = os.WriteFile(file, state, 0o600)
		return
	}
	was, err := os.ReadFile(file)
	c.endsUnless(err != nil || bytes.Equal(was, state))
}

// once can collect only once.
func once(c *faultyCall) {
	if c.Verb == "GC" {
		c.endsUnless(os.Mkdir("/run/once", 0o700) == nil)
	}
	if _, err := os.Stat("/run/once"); err == nil && c.Verb == "DEL" {
		c.ends(false)
	}
}

func interfacesOfIPAM(r *cni.Result) {
	zero := 0
	r.Interfaces = []cni.Interface{{Name: "eth0"}}
	for i := range r.IPs {
		r.IPs[i].Interface = &zero
	}
}

// insidePod calls what it stands for in the pod's namespace.
type insidePod struct{ cni.Plugin }

func (p insidePod) Add(ctx context.Context, r *cni.Request) (result *cni.Result, err error) {
	pod, err := netns.Open(r.NetNS)
	if err != nil {
		return nil, err
	}
	err = pod.Do(func() error {
		result, err = p.Plugin.Add(ctx, r)
		return err
	})
	return result, err
}

// swallowing hides errors, and makes up addresses.
type swallowing struct{ cni.Plugin }

func (p swallowing) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	result, err := p.Plugin.Add(ctx, r)
	if err != nil || len(result.IPs) == 0 {
		result = &cni.Result{IPs: []cni.IP{{Address: netip.MustParsePrefix("10.77.0.200/24")}}}
	}
	return result, nil
}

func (p swallowing) Check(ctx context.Context, r *cni.Request) error {
	_ = p.Plugin.Check(ctx, r)
	return nil
}

func (p swallowing) Del(ctx context.Context, r *cni.Request) error {
	_ = p.Plugin.Del(ctx, r)
	return nil
}

func (p swallowing) GC(ctx context.Context, r *cni.Request) error {
	_ = p.Plugin.GC(ctx, r)
	return nil
}

func (p swallowing) Status(ctx context.Context, r *cni.Request) error {
	_ = p.Plugin.Status(ctx, r)
	return nil
}

type neverDel struct{ cni.Plugin }

func (neverDel) Del(context.Context, *cni.Request) error { return nil }

// newOnly takes no result from before 1.0.0.
type newOnly struct{ cni.Plugin }

func (p newOnly) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	file := p.Plugin.(*wire.Executable).File
	if answer, err := os.ReadFile(strings.TrimSuffix(file, "conformance-recorder") + "answer"); err == nil && bytes.Contains(answer, []byte("0.4.0")) {
		return nil, fmt.Errorf("result of an old version")
	}
	return p.Plugin.Add(ctx, r)
}
