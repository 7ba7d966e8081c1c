package firewall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// firewalld is the back end that makes the addresses sources of one of firewalld's
// zones, over the system's D-Bus. Nothing is started by asking for it.
type firewalld struct{}

const (
	systemBus     = "/run/dbus/system_bus_socket"
	firewalldName = "org.fedoraproject.FirewallD1"
	firewalldPath = "/org/fedoraproject/FirewallD1"
	zoneInterface = firewalldName + ".zone"
	// firewalldTime bounds a whole conversation: firewalld is slow while it reloads.
	firewalldTime = 20 * time.Second
	// askTime bounds the question whether it runs.
	askTime = 2 * time.Second
)

// Names of firewalld's errors, with which its messages begin.
const (
	alreadySet = "ZONE_ALREADY_SET"
	notSet     = "UNKNOWN_SOURCE"
	elsewhere  = "ZONE_CONFLICT" // in another zone, so not as put made it
	noZone     = "INVALID_ZONE"
)

var errNotRunning = errors.New("firewalld does not run: no " + firewalldName + " on the system bus")

// A zoneCall calls a method of firewalld about an address in the record's zone.
type zoneCall func(method string, a netip.Addr, result any) error

// talk connects, and calls f with what calls firewalld.
func (w *firewalld) talk(ctx context.Context, rec *record, f func(call zoneCall) error) error {
	ctx, cancel := context.WithTimeout(ctx, firewalldTime)
	defer cancel()
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	object := conn.Object(firewalldName, firewalldPath)
	return f(func(method string, a netip.Addr, result any) error {
		source := netip.PrefixFrom(a, a.BitLen()).String()
		err := object.CallWithContext(ctx, zoneInterface+"."+method, dbus.FlagNoAutoStart, rec.Zone, source).Store(result)
		if err != nil {
			return fmt.Errorf("firewalld: %s of %s in zone %s: %w", method, source, rec.Zone, err)
		}
		return nil
	})
}

// connect returns a connection to the bus on which firewalld is.
func connect(ctx context.Context) (*dbus.Conn, error) {
	socket, err := new(net.Dialer).DialContext(ctx, "unix", systemBus)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, errNotRunning
	}
	if err != nil {
		return nil, err
	}
	// The library's first words wait for answers without looking at the context.
	if limit, ok := ctx.Deadline(); ok {
		_ = socket.SetDeadline(limit)
	}
	conn, err := dbus.NewConn(socket, dbus.WithContext(ctx))
	if err != nil {
		socket.Close()
		return nil, err
	}
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))})
	if err == nil {
		err = conn.Hello()
	}
	var owner string
	if err == nil {
		err = conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, firewalldName).Store(&owner)
		if is(err, "org.freedesktop.DBus.Error.NameHasNoOwner") {
			err = errNotRunning
		}
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("system bus: %w", err)
	}
	return conn, nil
}

func is(err error, name string) bool {
	var said dbus.Error
	return errors.As(err, &said) && said.Name == name
}

// says reports whether firewalld refused for that reason, which begins the message.
func says(err error, reasons ...string) bool {
	var said dbus.Error
	if !errors.As(err, &said) || len(said.Body) == 0 {
		return false
	}
	message, _ := said.Body[0].(string)
	for _, r := range reasons {
		if len(message) >= len(r) && message[:len(r)] == r {
			return true
		}
	}
	return false
}

func (w *firewalld) put(ctx context.Context, rec *record) error {
	return w.talk(ctx, rec, func(call zoneCall) error {
		for _, a := range rec.Addresses {
			var zone string
			if err := call("addSource", a, &zone); err != nil && !says(err, alreadySet) {
				return err
			}
		}
		return nil
	})
}

func (w *firewalld) check(ctx context.Context, rec *record) error {
	return w.talk(ctx, rec, func(call zoneCall) error {
		var errs []error
		for _, a := range rec.Addresses {
			var there bool
			err := call("querySource", a, &there)
			if err == nil && !there {
				err = fmt.Errorf("firewalld: zone %s lacks source %s", rec.Zone, a)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// drop has nothing to do where firewalld does not run: its sources end with it.
func (w *firewalld) drop(ctx context.Context, rec *record) error {
	err := w.talk(ctx, rec, func(call zoneCall) error {
		var errs []error
		for _, a := range rec.Addresses {
			var zone string
			if err := call("removeSource", a, &zone); err != nil && !says(err, notSet, elsewhere, noZone) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
	if errors.Is(err, errNotRunning) {
		return nil
	}
	return err
}

func (w *firewalld) available(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}
