package plugins

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/seamnet/seam/cni/wire"
)

func toleranceChecks() []check {
	const (
		runtimeConfig = "CNI 1.1.0, section 3, Deriving runtimeConfig"
		conventions   = "CONVENTIONS, CNI_ARGS"
	)
	set := func(key, value string) func(o *wire.Object) {
		return func(o *wire.Object) { o.Set(key, json.RawMessage(value)) }
	}
	return []check{
		{open("unknown-key", "CNI 1.1.0, section 1", "A key that the plugin does not know is passed over."), nil, stillAdds(set("org.example.unknown", `{"a":[1,2.5,null]}`))},
		{should("args-key", "CONVENTIONS, \"args\" in network config", "What stands below args, and means nothing to the plugin, is passed over."), nil,
			stillAdds(set("args", `{"cni":{"labels":[{"key":"app","value":"web"}]},"org.example":{"a":1}}`))},
		{should("reserved-key", "CNI 1.1.0, section 1, Plugin configuration objects", "A key of the runtime's own, which begin with cni.dev/, is passed over."), nil, stillAdds(set("cni.dev/unknown", `["a"]`))},
		{should("unknown-capability", runtimeConfig, "A capability argument that the plugin does not know is passed over."), nil, stillAdds(set("runtimeConfig", `{"org.example":{"a":1}}`))},
		{should("no-capability", runtimeConfig, "ADD needs no capability argument: runtimeConfig may be empty."), nil, stillAdds(set("runtimeConfig", `{}`))},
		{should("capabilities-key", "practice: runtimes leave the declaration in", "The declaration of capabilities is passed over."), nil, stillAdds(set("capabilities", `{"portMappings":true,"bandwidth":true}`))},
		{should("cni-args-ignored", conventions, "CNI_ARGS that the plugin does not know are passed over if IgnoreUnknown is among them."), nil,
			each(addWith(func(c *call) {
				c.Args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=1"
			}))},
		{must("cni-args-unset", specADD, "ADD does without CNI_ARGS."), nil, each(addWith(func(c *call) { c.Unset = []string{"CNI_ARGS"} }))},
		{open("cni-args-malformed", "practice: what is misspelt must not be lost", "CNI_ARGS without a '=' are an error."), nil, each(checkArgsMalformed)},
		{should("foreign-variables", "practice: runtimes hand down the context of a trace", "Variables that are not the protocol's change nothing, and nothing of them gets onto stdout."), nil,
			each(addWith(func(c *call) {
				c.Env = []string{"TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "TRACESTATE=a=b", "BAGGAGE=a=b", "CNI_UNKNOWN=1", "DEBUG=1"}
			}))},
		{should("capability-case", "practice: containerd writes the keys of arguments with a capital", "The keys of a port mapping are read whatever their case."), nil, checkCapabilityCase},
	}
}

// stillAdds returns the check that ADD works with a changed configuration.
func stillAdds(change func(o *wire.Object)) func(h *host) {
	return each(func(t *trial) {
		addWith(func(c *call) { c.Stdin = t.changed(c.Stdin, change) })(t)
	})
}

// addWith returns what tells if a changed ADD, and DEL after it, do not work. What does not
// work unchanged is for another check.
func addWith(change func(c *call)) func(t *trial) {
	return func(t *trial) {
		c := t.call("ADD", t.m, t.prev)
		change(&c)
		a := t.h.run(t.m, c)
		if a.Exit != 0 {
			if plain := t.run("ADD", t.prev); plain.Exit != 0 {
				t.skip("%s: its ADD does not work: %v", t.m.Type, plain)
			}
		}
		if !t.works("ADD", a) {
			return
		}
		if n, err := values(a.Stdout); n != 1 || err != nil {
			t.h.Errorf("%s: ADD: want one JSON value on stdout, have %d (%v): %v", t.m.Type, n, err, a)
		}
		c.Verb = "DEL"
		t.works("DEL", t.h.run(t.m, c))
	}
}

func checkArgsMalformed(t *trial) {
	c := t.call("ADD", t.m, t.prev)
	c.Args = "IgnoreUnknown"
	t.refuses("ADD with CNI_ARGS="+c.Args, t.h.run(t.m, c))
}

// checkCapabilityCase asks for a host port as containerd does, and connects to it.
func checkCapabilityCase(h *host) {
	if !h.network.declares("portMappings") {
		h.Skipf("no plugin of the chain forwards ports")
	}
	const hostPort, podPort = 8080, 80
	a := h.attachment(h.pod())
	a.Capabilities = map[string]any{"portMappings": []map[string]any{
		{"HostPort": hostPort, "ContainerPort": podPort, "Protocol": "tcp", "HostIP": ""},
	}}
	if err := a.add(); err != nil {
		h.Fatalf("%v", err)
	}
	defer a.detach()
	if err := a.Pod.listen(h, podPort); err != nil {
		h.Brokenf("%v", err)
	}
	if err := h.outside.connect(netip.AddrPortFrom(hostAddrs[0].Addr(), hostPort)); err != nil {
		h.Errorf("a host port asked for with the keys HostPort and ContainerPort is not forwarded: %v", err)
	}
}

// listen accepts TCP connections to the port inside the pod, until the check ends.
func (p *pod) listen(h *host, port int) error {
	return p.ns.Do(func() error {
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		h.Cleanup(func() { l.Close() })
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				c.Close()
			}
		}()
		return nil
	})
}

// connect makes a TCP connection from inside the pod, which the other end closes. A dialer
// may use other threads, so that it is given an address and one way only.
func (p *pod) connect(to netip.AddrPort) error {
	return p.ns.Do(func() error {
		c, err := net.DialTimeout("tcp4", to.String(), 2*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.ReadAll(c)
		return err
	})
}
