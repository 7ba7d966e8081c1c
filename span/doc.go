// Package span has as much of OpenTelemetry as a plugin can afford, which a process
// executes for every attachment: spans of one process, in the trace that its caller
// began, sent to a collector in one request of OTLP over HTTP in JSON.
//
//   - A Context is a place in a trace, in the words of W3C Trace Context; it travels in a
//     context.Context, and between processes in TRACEPARENT, TRACESTATE and BAGGAGE
//     (OpenTelemetry, "Environment Variables as Context Propagation Carriers").
//   - Start begins a span below the one of its context, where a Recorder is in it. Where
//     none is, that costs a look into the context.
//   - Settings are what the standard variables OTEL_… ask for.
//
// It is not for metrics and logs, for gRPC, or for TLS: a collector on the node, or seamd,
// speaks these. It never reads the environment itself, and has no goroutines.
//
// To debug: let OTEL_EXPORTER_OTLP_ENDPOINT lead to "nc -l 4318", which prints what is sent.
package span
