package drivers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin/plugintest"
)

// bookings are a driver's list of addresses in use, which it keeps too strictly.
type bookings struct {
	once        bool // no endpoint is made a second time
	addressOnce bool // no address is used a second time
	wantsLeave  bool // an address is free only after Leave
	wantsLink   bool // an address is free only if its link came back

	mu        sync.Mutex
	addresses map[string]string // by endpoint
	joined    map[string]bool
	seen      map[string]bool
}

func booked(b *bookings) fault {
	b.addresses, b.joined, b.seen = map[string]string{}, map[string]bool{}, map[string]bool{}
	return before("", func(w http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
		var call struct {
			EndpointID string
			Interface  iface
		}
		_ = json.Unmarshal(peek(r), &call)
		_, verb, _ := strings.Cut(r.URL.Path, ".")
		if err := b.book(verb, call.EndpointID, call.Interface.Address); err != nil {
			fmt.Fprintf(w, `{"Err":%q}`, err.Error())
			return true
		}
		return false
	})
}

func (b *bookings) book(verb, id, address string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch verb {
	case "CreateEndpoint":
		for _, a := range b.addresses {
			if a == address && b.addresses[id] == "" && (b.wantsLeave || b.wantsLink) {
				return fmt.Errorf("address %s is booked", a)
			}
		}
		if b.once && b.seen[id] || b.addressOnce && b.seen[address] {
			return fmt.Errorf("only once")
		}
		b.addresses[id], b.seen[id], b.seen[address] = address, true, true
	case "Join", "Leave":
		b.joined[id] = verb == "Join"
	case "DeleteEndpoint":
		return b.free(id)
	}
	return nil
}

func (b *bookings) free(id string) (err error) {
	if b.wantsLeave && b.joined[id] {
		return fmt.Errorf("it has not left")
	}
	if b.wantsLink && id != "" {
		onHost(func(h *link.Handle) error {
			_, err = h.ByName("di" + id[:8])
			return nil
		})
		if err != nil {
			return err
		}
	}
	delete(b.addresses, id)
	return nil
}

// forgets does so only when there is something.
func forgets(_ http.ResponseWriter, _ *http.Request, d *plugintest.Driver) bool {
	if len(d.Has()) > 0 {
		d.Forget()
	}
	return false
}

// oneCall answers the second on a connection with something else.
func oneCall(w http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
	peek(r)
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return false
	}
	go func() {
		defer conn.Close()
		const body = `{"Implements":["NetworkDriver"]}`
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if _, err := rw.ReadByte(); err == nil {
			fmt.Fprint(conn, "bye\r\n\r\n")
		}
	}()
	return true
}

func refusesIPv6(w http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
	if bytes.Contains(peek(r), []byte(`"AddressIPv6":""`)) {
		return false
	}
	fmt.Fprintln(w, `{"Err":"no IPv6"}`)
	return true
}

func setOuter(c link.Change) func(r *http.Request) {
	return func(r *http.Request) {
		outer, _ := endpointOf(r)
		onHost(func(h *link.Handle) error { return h.Set(link.Link{Name: outer}, c) })
	}
}

// thirdApart gives each endpoint from the fourth on a bridge of its own.
func thirdApart() func(r *http.Request) {
	var count atomic.Int32
	return func(r *http.Request) {
		if count.Add(1) > 3 {
			putsApart(r)
		}
	}
}

func passesAddress(_ http.ResponseWriter, r *http.Request, _ *plugintest.Driver) bool {
	var request map[string]any
	_ = json.Unmarshal(peek(r), &request)
	request["Address"] = ""
	body, _ := json.Marshal(request)
	r.Body = readAgain{bytes.NewReader(body)}
	return false
}

func forgetsUnknown(_ http.ResponseWriter, r *http.Request, d *plugintest.Driver) bool {
	if bytes.Contains(peek(r), []byte("of nobody")) {
		d.Forget()
	}
	return false
}

// freesUnknown frees the first address of the pool for one that is not in use.
func freesUnknown(_ http.ResponseWriter, r *http.Request, d *plugintest.Driver) bool {
	var ref struct {
		PoolID  cnm.PoolID
		Address string
	}
	_ = json.Unmarshal(peek(r), &ref)
	if strings.HasPrefix(ref.Address, "203.") {
		_ = d.ReleaseAddress(r.Context(), ref.PoolID, netip.MustParseAddr("10.99.0.1"))
	}
	return false
}
