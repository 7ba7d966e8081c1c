package main

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/docker"
)

// seconds are the bounds between which durations are counted: a call takes a millisecond
// or ten, and is given up after half a minute.
var seconds = []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10, 30}

// metrics are what /metrics shows.
type metrics struct {
	registry *prometheus.Registry

	calls     *prometheus.CounterVec // of an engine, by method and result
	callTimes *prometheus.HistogramVec
	steps     *prometheus.CounterVec // of chains, by plugin, verb and result
	stepTimes *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seam_docker_calls_total", Help: "Calls of Docker engines that were answered; result is ok or error.",
		}, []string{"method", "result"}),
		callTimes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "seam_docker_call_duration_seconds", Help: "Time from a call's arrival to its answer.", Buckets: seconds,
		}, []string{"method"}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seam_plugin_calls_total", Help: "Calls of CNI plugins, delegates included; result is ok or error.",
		}, []string{"plugin", "verb", "result"}),
		stepTimes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "seam_plugin_call_duration_seconds", Help: "Time of a plugin's call, that of its delegates included.", Buckets: seconds,
		}, []string{"plugin", "verb"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "seam_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.calls, m.callTimes, m.steps, m.stepTimes, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// call counts an answered call.
func (m *metrics) call(method string, took time.Duration, err error) {
	m.calls.WithLabelValues(method, resultOf(err)).Inc()
	m.callTimes.WithLabelValues(method).Observe(took.Seconds())
}

// step counts a plugin's call.
func (m *metrics) step(s seam.Step) {
	m.steps.WithLabelValues(s.Plugin, string(s.Verb), resultOf(s.Err)).Inc()
	m.stepTimes.WithLabelValues(s.Plugin, string(s.Verb)).Observe(s.Duration.Seconds())
}

func resultOf(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// watch shows the numbers of a driver from now on.
func (m *metrics) watch(stats func() docker.Stats) { m.registry.MustRegister(driverNumbers{stats}) }

// driverNumbers are asked for when they are to be shown.
type driverNumbers struct{ stats func() docker.Stats }

var (
	networksNow  = prometheus.NewDesc("seam_docker_networks", "Networks of Docker's that the driver has.", nil, nil)
	endpointsNow = prometheus.NewDesc("seam_docker_endpoints", "Endpoints that the driver has.", nil, nil)
	joinedNow    = prometheus.NewDesc("seam_docker_joined_endpoints", "Endpoints that are in a container's sandbox.", nil, nil)
	pendingNow   = prometheus.NewDesc("seam_docker_pending_sandboxes", "Sandboxes that are waited for, to add what the engine does not carry over.", nil, nil)
	collectedAll = prometheus.NewDesc("seam_docker_collected_total", "Endpoints and networks removed because the engine did not have them any more.", nil, nil)
)

func (n driverNumbers) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{networksNow, endpointsNow, joinedNow, pendingNow, collectedAll} {
		to <- d
	}
}

func (n driverNumbers) Collect(to chan<- prometheus.Metric) {
	s := n.stats()
	to <- prometheus.MustNewConstMetric(networksNow, prometheus.GaugeValue, float64(s.Networks))
	to <- prometheus.MustNewConstMetric(endpointsNow, prometheus.GaugeValue, float64(s.Endpoints))
	to <- prometheus.MustNewConstMetric(joinedNow, prometheus.GaugeValue, float64(s.Joined))
	to <- prometheus.MustNewConstMetric(pendingNow, prometheus.GaugeValue, float64(s.Pending))
	to <- prometheus.MustNewConstMetric(collectedAll, prometheus.CounterValue, float64(s.Collected))
}
