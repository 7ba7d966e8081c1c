package drivers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin/plugintest"
)

// wordFaults are of the handshake and of errors.
func wordFaults() map[string]fault {
	return map[string]fault{
		"implements nothing": answers("Activate", func(b map[string]any) { b["Implements"] = []string{"VolumeDriver"} }),
		"slow handshake": before("Activate", func(http.ResponseWriter, *http.Request, *plugintest.Driver) bool {
			time.Sleep(1100 * time.Millisecond)
			return false
		}),
		"scope of its own":                   answers("GetCapabilities", func(b map[string]any) { b["Scope"] = "world" }),
		"announces a method that it has not": answers("GetCapabilities", func(b map[string]any) { b["GwAllocChecker"] = true }),
		"no address space":                   answers("GetDefaultAddressSpaces", func(b map[string]any) { b["LocalDefaultAddressSpace"] = "" }),
		"has any method": rewrite("", func(status int, b map[string]any) (int, map[string]any) {
			if status == http.StatusNotFound {
				return http.StatusOK, map[string]any{}
			}
			return status, b
		}),
		"404 for what it does not know": rewrite("", func(status int, b map[string]any) (int, map[string]any) {
			if b["Err"] != nil {
				return http.StatusNotFound, b
			}
			return status, b
		}),
		"never refuses": rewrite("", func(status int, b map[string]any) (int, map[string]any) {
			if b["Err"] != nil {
				return http.StatusOK, map[string]any{"Address": "10.99.0.9/24"}
			}
			return status, b
		}),
		"error of its own form": rewrite("", func(status int, b map[string]any) (int, map[string]any) {
			if b["Err"] != nil {
				return http.StatusInternalServerError, map[string]any{"message": b["Err"]}
			}
			return status, b
		}),
		"status 200 for what it cannot read": rewrite("", func(status int, b map[string]any) (int, map[string]any) {
			if status == http.StatusBadRequest {
				status = http.StatusOK
			}
			return status, b
		}),
		"ends when it cannot read": rewrite("", func(status int, b map[string]any) (int, map[string]any) {
			if status == http.StatusBadRequest {
				os.Exit(1)
			}
			return status, b
		}),
		"takes words for truth values": answers("GetCapabilities", func(b map[string]any) { b["RequiresMACAddress"] = "yes" }),
		"forgets with a handshake":     before("Activate", forgets),
		"one call on a connection":     before("Activate", oneCall),
		"no type": before("GetCapabilities", func(w http.ResponseWriter, _ *http.Request, _ *plugintest.Driver) bool {
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintln(w, `{"Scope":"local"}`)
			return true
		}),
	}
}

// bodyFaults are of requests that are not as they should be.
func bodyFaults() map[string]fault {
	var one sync.Mutex
	return map[string]fault{
		"takes types lightly": before("", func(w http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
			return bytes.Contains(peek(r), []byte(`:5}`)) && done(w)
		}),
		"takes no body for a success": before("", func(w http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
			return !strings.HasSuffix(r.URL.Path, "Activate") && len(peek(r)) == 0 && done(w)
		}),
		"ends with a huge body": before("", func(_ http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
			if len(peek(r)) > 10<<20 {
				os.Exit(1)
			}
			return false
		}),
		"reads one request at a time": before("", func(_ http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
			one.Lock()
			defer one.Unlock()
			peek(r)
			return false
		}),
	}
}

// networkFaults are of networks and endpoints.
func networkFaults() map[string]fault {
	var lost sync.Map
	return map[string]fault{
		"answers what came filled": answers("CreateEndpoint", func(b map[string]any) { b["Interface"] = iface{Address: "10.99.0.2/24"} }),
		"MAC address of a group":   answers("CreateEndpoint", func(b map[string]any) { b["Interface"] = iface{MacAddress: "01:00:5e:00:00:01"} }),
		"names no link that is there": answers("Join", func(b map[string]any) {
			b["InterfaceName"] = map[string]string{"SrcName": "nobody0", "DstPrefix": "eth"}
		}),
		"gateway with a length": answers("Join", func(b map[string]any) { b["Gateway"] = "10.99.0.1/24" }),
		"gateway elsewhere":     answers("Join", func(b map[string]any) { b["Gateway"] = "203.0.113.1" }),
		"route of no type":      answers("Join", func(b map[string]any) { b["StaticRoutes"] = []staticRoute{{"198.51.100.0/24", 0, ""}} }),
		"no value":              answers("EndpointOperInfo", func(b map[string]any) { delete(b, "Value") }),
		"refuses news": before("DiscoverNew", func(w http.ResponseWriter, _ *http.Request, _ *plugintest.Driver) bool {
			http.Error(w, "no", 500)
			return true
		}),
		"keeps endpoints":             before("DeleteEndpoint", func(w http.ResponseWriter, _ *http.Request, _ *plugintest.Driver) bool { return done(w) }),
		"keeps networks":              before("DeleteNetwork", func(w http.ResponseWriter, _ *http.Request, _ *plugintest.Driver) bool { return done(w) }),
		"needs the sandbox at once":   before("Join", needsSandbox),
		"deletes all":                 before("DeleteEndpoint", deletesAll),
		"one at a time or not at all": oneOrNone(),
		"slow": before("Leave", func(http.ResponseWriter, *http.Request, *plugintest.Driver) bool {
			time.Sleep(5100 * time.Millisecond)
			return false
		}),
		"an endpoint once":              booked(&bookings{once: true}),
		"an address once":               booked(&bookings{addressOnce: true}),
		"address goes with Leave":       booked(&bookings{wantsLeave: true}),
		"address goes with the link":    booked(&bookings{wantsLink: true}),
		"no IPv6":                       before("CreateEndpoint", refusesIPv6),
		"other end is down":             after("CreateEndpoint", setOuter(link.Change{Down: true})),
		"other end is narrow":           after("CreateEndpoint", setOuter(link.Change{MTU: 600})),
		"room for three":                after("CreateEndpoint", thirdApart()),
		"leaves a link with each":       before("CreateEndpoint", leavesLink),
		"leaves a file with each":       before("CreateNetwork", leavesFile),
		"leaves a descriptor with each": before("CreateEndpoint", func(http.ResponseWriter, *http.Request, *plugintest.Driver) bool { return keepOpen(&lost) }),
		"puts endpoints apart":          after("CreateEndpoint", putsApart),
		"ends its links with itself": func(h http.Handler, _ *plugintest.Driver) http.Handler {
			onHost(func(h *link.Handle) error {
				all, err := h.List()
				for _, l := range all {
					if strings.HasPrefix(l.Name, "do") {
						_ = h.Delete(l.Name)
					}
				}
				return err
			})
			return h
		},
	}
}

func needsSandbox(w http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
	var join struct{ SandboxKey string }
	_ = json.Unmarshal(peek(r), &join)
	if _, err := os.Stat(join.SandboxKey); err != nil {
		fmt.Fprintf(w, `{"Err":%q}`, err.Error())
		return true
	}
	return false
}

func deletesAll(_ http.ResponseWriter, _ *http.Request, _ *plugintest.Driver) bool {
	onHost(func(h *link.Handle) error {
		all, err := h.List()
		for _, l := range all {
			if strings.HasPrefix(l.Name, "do") {
				_ = h.Delete(l.Name)
			}
		}
		return err
	})
	return false
}

func oneOrNone() fault {
	var busy sync.Mutex
	return before("CreateEndpoint", func(w http.ResponseWriter, _ *http.Request, _ *plugintest.Driver) bool {
		if !busy.TryLock() {
			fmt.Fprintln(w, `{"Err":"busy"}`)
			return true
		}
		defer busy.Unlock()
		time.Sleep(20 * time.Millisecond)
		return false
	})
}

func leavesLink(_ http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
	outer, _ := endpointOf(r)
	onHost(func(h *link.Handle) error { return h.AddBridge(link.Bridge{Name: "x" + outer}) })
	return false
}

func leavesFile(http.ResponseWriter, *http.Request, *plugintest.Driver) bool {
	_ = os.WriteFile(filepath.Join(filepath.Dir(*driverSocket), newID()), nil, 0o600)
	return false
}

func keepOpen(lost *sync.Map) bool {
	if f, err := os.Open(os.DevNull); err == nil {
		lost.Store(f, true)
	}
	return false
}

// after does something when the method was carried out.
func after(method string, do func(r *http.Request)) fault {
	return func(h http.Handler, _ *plugintest.Driver) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := peek(r)
			h.ServeHTTP(w, r)
			if strings.HasSuffix(r.URL.Path, "."+method) {
				r.Body = readAgain{bytes.NewReader(body)}
				do(r)
			}
		})
	}
}

// putsApart gives each endpoint a bridge of its own.
func putsApart(r *http.Request) {
	outer, _ := endpointOf(r)
	onHost(func(h *link.Handle) error {
		if err := h.AddBridge(link.Bridge{Name: "x" + outer}); err != nil {
			return err
		}
		b, err := h.ByName("x" + outer)
		if err != nil {
			return err
		}
		return h.Set(link.Link{Name: outer}, link.Change{Master: b.Index})
	})
}

// addressFaults are of pools and addresses.
func addressFaults() map[string]fault {
	var count int
	return map[string]fault{
		"pool with an address": answers("RequestPool", func(b map[string]any) { b["Pool"] = "10.99.0.7/24" }),
		"another pool": answers("RequestPool", func(b map[string]any) {
			count++
			b["Pool"] = fmt.Sprintf("10.97.%d.0/24", count)
		}),
		"IDs that change": answers("RequestPool", func(b map[string]any) {
			if count++; count > 2 {
				b["PoolID"] = fmt.Sprint(b["PoolID"], count)
			}
		}),
		"one address for all": answers("RequestAddress", func(b map[string]any) { b["Address"] = "10.99.0.9/24" }),
		"address of one":      answers("RequestAddress", func(b map[string]any) { b["Address"] = strings.Replace(fmt.Sprint(b["Address"]), "/24", "/32", 1) }),
		"gives what is asked for": before("RequestAddress", func(w http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
			var want struct{ Address string }
			_ = json.Unmarshal(peek(r), &want)
			if want.Address != "" {
				fmt.Fprintf(w, `{"Address":"%s/24"}`, want.Address)
			}
			return want.Address != ""
		}),
		"gateway is not kept":          before("RequestAddress", forgetsGateway),
		"never released":               before("ReleaseAddress", func(w http.ResponseWriter, _ *http.Request, _ *plugintest.Driver) bool { return done(w) }),
		"pool is released with one":    before("ReleasePool", releasesAll),
		"address is passed over":       before("RequestAddress", passesAddress),
		"forgets for what it has not":  before("ReleasePool", forgetsUnknown),
		"frees for what it has not":    before("ReleaseAddress", freesUnknown),
		"ranges are passed over":       before("RequestPool", passesRange),
		"two get one at the same time": before("RequestAddress", racing()),
	}
}

func forgetsGateway(w http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
	if !bytes.Contains(peek(r), []byte("com.docker.network.gateway")) {
		return false
	}
	fmt.Fprintln(w, `{"Address":"10.99.0.1/24"}`)
	return true
}

// releasesAll releases a pool that was requested twice twice.
func releasesAll(_ http.ResponseWriter, r *http.Request, d *plugintest.Driver) bool {
	var ref struct{ PoolID cnm.PoolID }
	_ = json.Unmarshal(peek(r), &ref)
	if strings.Contains(strings.Join(d.Has(), "\n"), ", 2 times") {
		_ = d.ReleasePool(context.Background(), ref.PoolID)
	}
	return false
}

func passesRange(_ http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
	var request poolRequest
	_ = json.Unmarshal(peek(r), &request)
	request.SubPool = ""
	body, _ := json.Marshal(request)
	r.Body = readAgain{bytes.NewReader(body)}
	return false
}

// racing answers calls that come at the same time with the same address.
func racing() func(w http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
	var mu sync.Mutex
	last := netip.MustParseAddr("10.99.0.100")
	return func(w http.ResponseWriter, _ *http.Request, _ *plugintest.Driver) bool {
		mu.Lock()
		a := last
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		last = a.Next()
		mu.Unlock()
		fmt.Fprintf(w, `{"Address":"%s/24"}`, a)
		return true
	}
}
