package main

import (
	"strconv"
	"strings"
)

func networkColumns() []column[watchedNetwork] {
	text := func(heading string, worth int, cell func(watchedNetwork) string) column[watchedNetwork] {
		return column[watchedNetwork]{heading, false, worth, cell}
	}
	return append([]column[watchedNetwork]{
		text("NETWORK", 99, func(n watchedNetwork) string { return n.Name }),
		text("PLUGINS", 0, func(n watchedNetwork) string { return strings.Join(n.Plugins, " → ") }),
		{"CONTAINERS", true, 50, func(n watchedNetwork) string { return strconv.Itoa(n.Containers) }},
	}, trafficColumns(func(n watchedNetwork) measured { return n.measured })...)
}

func attachmentColumns(whole bool) []column[watched] {
	text := func(heading string, worth int, cell func(watched) string) column[watched] {
		return column[watched]{heading, false, worth, cell}
	}
	columns := []column[watched]{
		text("CONTAINER", 99, func(w watched) string { return orElse(w.Name, shortID(w.ContainerID, whole)) }),
		text("INTERFACE", 15, func(w watched) string { return w.IfName }),
		text("NETWORK", 45, func(w watched) string { return w.Network }),
		text("ADDRESS", 60, func(w watched) string { return strings.Join(w.Addresses, ",") }),
		text("PORTS", 12, func(w watched) string { return strings.Join(w.Ports, ",") }),
	}
	columns = append(columns, trafficColumns(func(w watched) measured { return w.measured })...)
	return append(columns,
		column[watched]{"AGE", true, 35, func(w watched) string { return ageOf(w.attachment) }},
		text("STATE", 70, func(w watched) string { return w.State }))
}

// trafficColumns are the counters: in is what the container receives.
func trafficColumns[T any](of func(T) measured) []column[T] {
	number := func(heading string, worth int, value func(traffic) uint64, rate bool) column[T] {
		return column[T]{heading, true, worth, func(t T) string {
			m := of(t)
			switch {
			case !rate:
				return short(value(m.Total))
			case m.PerSecond == nil:
				return ""
			}
			return short(value(*m.PerSecond))
		}}
	}
	inBytes, inPackets := func(t traffic) uint64 { return t.ReceivedBytes }, func(t traffic) uint64 { return t.ReceivedPackets }
	outBytes, outPackets := func(t traffic) uint64 { return t.SentBytes }, func(t traffic) uint64 { return t.SentPackets }
	return []column[T]{
		number("IN B/s", 91, inBytes, true), number("OUT B/s", 90, outBytes, true),
		number("IN p/s", 21, inPackets, true), number("OUT p/s", 20, outPackets, true),
		number("IN B", 41, inBytes, false), number("OUT B", 40, outBytes, false),
		number("IN p", 11, inPackets, false), number("OUT p", 10, outPackets, false),
		number("DROPS", 30, traffic.dropped, false),
	}
}
