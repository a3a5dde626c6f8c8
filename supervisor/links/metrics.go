package links

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	pings   *prometheus.CounterVec
	rtt     *prometheus.HistogramVec
	changes *prometheus.CounterVec
	gauges  []prometheus.Collector
}

// newMetrics makes all series, so that each begins with 0.
func newMetrics(l *Links) *metrics {
	m := &metrics{
		pings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_trunk_pings_total",
			Help: "Questions to addresses of a trunk, by what came of them: alive, refused (an answer among its down_codes), timeout, unsent.",
		}, []string{"trunk", "result"}),
		rtt: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sipvigil_trunk_ping_rtt_seconds",
			Help:    "Time from a question to an address of a trunk to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 32},
		}, []string{"trunk"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_trunk_changes_total",
			Help: "Times that an address of a trunk came into a state.",
		}, []string{"trunk", "state"}),
	}
	for _, t := range l.trunks {
		for _, result := range []string{"alive", "refused", "timeout", "unsent"} {
			m.pings.WithLabelValues(t.Name, result)
		}
		m.rtt.WithLabelValues(t.Name)
		for _, s := range []State{Up, Down, Unknown} {
			m.changes.WithLabelValues(t.Name, string(s))
			m.gauges = append(m.gauges, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "sipvigil_trunk_addresses", Help: "Addresses of a trunk by state.",
				ConstLabels: prometheus.Labels{"trunk": t.Name, "state": string(s)},
			}, func() float64 { return l.count(t, s) }))
		}
	}
	return m
}

func (m *metrics) register(reg prometheus.Registerer) error {
	var faults []error
	for _, c := range append([]prometheus.Collector{m.pings, m.rtt, m.changes}, m.gauges...) {
		faults = append(faults, reg.Register(c))
	}
	return errors.Join(faults...)
}

// count is how many addresses of a trunk are in a state.
func (l *Links) count(t *trunk, s State) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, k := range t.links {
		if k.state == s {
			n++
		}
	}
	return float64(n)
}

// pinged counts what became of a question.
func (m *metrics) pinged(trunk string, a Traffic, alive bool) {
	result := "alive"
	switch {
	case a.Kind == NoReply:
		result = "timeout"
	case a.Kind == Unsent:
		result = "unsent"
	case !alive:
		result = "refused"
	}
	m.pings.WithLabelValues(trunk, result).Inc()
	if a.Kind == Answered {
		m.rtt.WithLabelValues(trunk).Observe(a.RTT.Seconds())
	}
}

func (m *metrics) changed(trunk string, to State) {
	m.changes.WithLabelValues(trunk, string(to)).Inc()
}
