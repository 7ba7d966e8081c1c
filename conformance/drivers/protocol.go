package drivers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam/conformance"
)

// Documents in which the protocol is laid down, and where engines do what none says.
const (
	pluginAPI  = "Docker plugin API"
	remoteDoc  = "libnetwork, remote.md"
	ipamDoc    = "libnetwork, ipam.md"
	practising = "practice: "
)

func protocolChecks() []check {
	return []check{
		{conformance.Check{ID: "protocol/activate", Force: conformance.Must, Source: remoteDoc + ", Handshake",
			Says: "Plugin.Activate, called without a body, answers with a list of what the driver implements, in which NetworkDriver or IpamDriver stands."}, 0, checkActivate},
		{conformance.Check{ID: "protocol/activate-again", Force: conformance.Should, Source: practising + "each engine of a host, and each start of one, makes the handshake again, and waits for it",
			Says: "The handshake can be made any number of times, says the same each time, and takes less than a second."}, 0, checkActivateAgain},
		{conformance.Check{ID: "protocol/capabilities", Force: conformance.Must, Source: remoteDoc + ", Set capability",
			Says: "NetworkDriver.GetCapabilities answers with a Scope, local or global; so is ConnectivityScope, if it is there."}, networks, checkCapabilities},
		{conformance.Check{ID: "protocol/gateway-allocation", Force: conformance.Must, Source: practising + "engines from 28 on ask GwAllocCheck of a driver that announces it, before each network",
			Says: "A driver that announces GwAllocChecker has the method NetworkDriver.GwAllocCheck, which answers SkipIPv4 and SkipIPv6."}, networks, checkGatewayAllocation},
		{conformance.Check{ID: "protocol/address-spaces", Force: conformance.Must, Source: ipamDoc + ", GetDefaultAddressSpaces",
			Says: "IpamDriver.GetDefaultAddressSpaces names the address spaces for networks of one host and of many."}, addresses, checkAddressSpaces},
		{conformance.Check{ID: "protocol/ipam-capabilities", Force: conformance.Must, Source: ipamDoc + ", GetCapabilities",
			Says: "IpamDriver.GetCapabilities answers with truth values, or with status 404 if the driver has no such method."}, addresses, checkIPAMCapabilities},
		{conformance.Check{ID: "protocol/unknown-method", Force: conformance.Should, Source: remoteDoc + ", Errors",
			Says: "A method that the driver does not have is answered with status 404."}, 0, checkUnknownMethod},
		{conformance.Check{ID: "protocol/not-found", Force: conformance.Should, Source: practising + "engines take status 404 for a method that the driver does not have",
			Says: "That a network, an endpoint or a pool is not known is not answered with status 404."}, 0, checkNotFound},
		{conformance.Check{ID: "protocol/refusal", Force: conformance.Must, Source: remoteDoc + ", Errors",
			Says: "What cannot be carried out, as for a network, an endpoint or a pool that nobody made, is answered with an error and not as if it were done."}, 0, checkRefusal},
		{conformance.Check{ID: "protocol/error-form", Force: conformance.Must, Source: remoteDoc + ", Errors",
			Says: "An error is a JSON object in which Err, or for an IPAM driver Error with status 200, is a text."}, 0, checkErrorForm},
		{conformance.Check{ID: "protocol/content-type", Force: conformance.Open, Source: pluginAPI + ", API design",
			Says: "Answers bear a Content-Type of JSON."}, 0, checkContentType},
		{conformance.Check{ID: "protocol/connection", Force: conformance.Must, Source: "HTTP/1.1, RFC 9112, section 9.3; engines keep their connections",
			Says: "Several calls can be made over one connection."}, 0, checkConnection},
	}
}

func checkActivate(e *engine) {
	for _, socket := range e.sockets() {
		a, err := e.post(socket, "Plugin.Activate", nil)
		if err != nil {
			e.Fatalf("%v", err)
		}
		var m struct{ Implements []string }
		if err := errors.Join(a.refusal(), json.Unmarshal(a.Body, &m)); err != nil {
			e.Errorf("%v", err)
			continue
		}
		if !slices.Contains(m.Implements, networkKind) && !slices.Contains(m.Implements, ipamKind) {
			e.Errorf("want %s or %s in Implements; %v", networkKind, ipamKind, a)
		}
	}
}

func checkActivateAgain(e *engine) {
	for _, socket := range e.sockets() {
		var first string
		for range 10 {
			a, err := e.post(socket, "Plugin.Activate", nil)
			if err != nil {
				e.Fatalf("%v", err)
			}
			if first == "" {
				first = string(a.Body)
			}
			if string(a.Body) != first || a.Status != http.StatusOK {
				e.Fatalf("it was answered with %.200s at first, and now %v", first, a)
			}
			if a.Took > time.Second {
				e.Fatalf("it took %v", a.Took)
			}
		}
	}
}

func checkCapabilities(e *engine) {
	a := e.call("NetworkDriver.GetCapabilities", nil)
	var c struct{ Scope, ConnectivityScope string }
	if err := errors.Join(a.refusal(), json.Unmarshal(a.Body, &c)); err != nil {
		e.Fatalf("%v", err)
	}
	scopes := []string{"local", "global"}
	if !slices.Contains(scopes, c.Scope) {
		e.Errorf("Scope: want local or global; %v", a)
	}
	if c.ConnectivityScope != "" && !slices.Contains(scopes, c.ConnectivityScope) {
		e.Errorf("ConnectivityScope: want local or global; %v", a)
	}
}

func checkGatewayAllocation(e *engine) {
	var c struct{ GwAllocChecker bool }
	if err := e.do("NetworkDriver.GetCapabilities", nil, &c); err != nil {
		e.Fatalf("%v", err)
	}
	if !c.GwAllocChecker {
		e.Skipf("the driver does not announce it")
	}
	var skip struct{ SkipIPv4, SkipIPv6 *bool }
	n := network{e: e}
	if err := e.do("NetworkDriver.GwAllocCheck", map[string]any{"Options": n.request()["Options"]}, &skip); err != nil {
		e.Fatalf("%v", err)
	}
	if skip.SkipIPv4 == nil || skip.SkipIPv6 == nil {
		e.Errorf("want SkipIPv4 and SkipIPv6, which are not there both")
	}
}

func checkAddressSpaces(e *engine) {
	a := e.call("IpamDriver.GetDefaultAddressSpaces", nil)
	var s struct{ LocalDefaultAddressSpace, GlobalDefaultAddressSpace *string }
	if err := errors.Join(a.refusal(), json.Unmarshal(a.Body, &s)); err != nil {
		e.Fatalf("%v", err)
	}
	if s.LocalDefaultAddressSpace == nil || s.GlobalDefaultAddressSpace == nil {
		e.Errorf("want LocalDefaultAddressSpace and GlobalDefaultAddressSpace; %v", a)
	} else if *s.LocalDefaultAddressSpace == "" {
		e.Errorf("LocalDefaultAddressSpace is empty; %v", a)
	}
}

func checkIPAMCapabilities(e *engine) {
	a := e.call("IpamDriver.GetCapabilities", nil)
	if a.Status == http.StatusNotFound {
		return
	}
	var c struct{ RequiresMACAddress, RequiresRequestReplay bool }
	if err := errors.Join(a.refusal(), json.Unmarshal(a.Body, &c)); err != nil {
		e.Errorf("%v", err)
	}
}

// prefixes returns what methods of the driver begin with.
func (e *engine) prefixes() []string {
	return slices.DeleteFunc([]string{networkKind, ipamKind}, func(kind string) bool { return !e.is(kind) })
}

func checkUnknownMethod(e *engine) {
	for _, kind := range e.prefixes() {
		if a := e.call(kind+".ConformanceOfNobody", map[string]any{}); a.Status != http.StatusNotFound {
			e.Errorf("want status 404; %v", a)
		}
	}
}

// A wrongCall cannot be carried out.
type wrongCall struct {
	method  string
	request map[string]any
}

// wrongCalls are for what nobody made, of the kinds that the driver is. None takes away.
func (e *engine) wrongCalls() []wrongCall {
	nowhere := &endpoint{n: &network{e: e, ID: newID()}, ID: newID(), Asked: iface{Address: "10.99.0.7/24"}}
	var calls []wrongCall
	if e.is(networkKind) {
		calls = append(calls,
			wrongCall{"NetworkDriver.CreateEndpoint", nowhere.with("Interface", nowhere.Asked)},
			wrongCall{"NetworkDriver.Join", nowhere.with("SandboxKey", sandboxKey())})
	}
	if e.is(ipamKind) {
		calls = append(calls, wrongCall{"IpamDriver.RequestAddress", map[string]any{"PoolID": "of nobody", "Address": "", "Options": map[string]string{}}})
	}
	return calls
}

func checkRefusal(e *engine) {
	for _, c := range e.wrongCalls() {
		if a := e.call(c.method, c.request); a.refusal() == nil {
			e.Errorf("want an error; %v", a)
		}
	}
}

func checkErrorForm(e *engine) {
	for _, c := range e.wrongCalls() {
		a := e.call(c.method, c.request)
		if a.refusal() == nil {
			e.Logf("%v: no error to look at", a)
			continue
		}
		if err := errorForm(a); err != nil {
			e.Errorf("%v; %v", err, a)
		}
	}
}

// errorForm reports what is wrong with an error. With another status than 200 engines read
// Err of both kinds of drivers.
func errorForm(a *answer) error {
	var form struct{ Err, Error *string }
	if err := json.Unmarshal(a.Body, &form); err != nil {
		return fmt.Errorf("the error is no JSON object: %w", err)
	}
	key, text := "Err", form.Err
	if a.Status == http.StatusOK && strings.HasPrefix(a.Method, ipamKind) {
		key, text = "Error", form.Error
	}
	if text == nil || *text == "" {
		return fmt.Errorf("the error has no text under the key %s", key)
	}
	return nil
}

func checkNotFound(e *engine) {
	calls := e.wrongCalls()
	if e.is(networkKind) {
		for _, verb := range []string{"Leave", "DeleteEndpoint", "DeleteNetwork"} {
			calls = append(calls, wrongCall{networkKind + "." + verb, map[string]any{"NetworkID": newID(), "EndpointID": newID()}})
		}
	}
	for _, c := range calls {
		if a := e.call(c.method, c.request); a.Status == http.StatusNotFound {
			e.Errorf("want another status than 404; %v", a)
		}
	}
}

func checkContentType(e *engine) {
	for _, kind := range e.prefixes() {
		a := e.call(kind+".GetCapabilities", nil)
		if a.Status == http.StatusOK && !strings.Contains(a.Type, "json") {
			e.Errorf("want %s or application/json, not %q", contentType, a.Type)
		}
	}
}

func checkConnection(e *engine) {
	for _, socket := range e.sockets() {
		client := clientOf(socket, true)
		for range 5 {
			if _, err := e.postBy(client, "Plugin.Activate", nil); err != nil {
				e.Errorf("%v", err)
			}
		}
		client.CloseIdleConnections()
	}
}
