package supervisor

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sipvigil/store"
)

// other stands for a label value that is not one of the known ones, so that
// nobody can make up series.
const other = "other"

type metrics struct {
	started  prometheus.Counter
	ended    *prometheus.CounterVec
	probes   *prometheus.CounterVec
	rtt      prometheus.Histogram
	releases *prometheus.CounterVec
	brake    *prometheus.CounterVec
	observed *prometheus.CounterVec

	disturbed prometheus.Counter

	reclaimed *prometheus.CounterVec
	unproven  *prometheus.CounterVec
	detection *prometheus.HistogramVec

	byTrunk  map[string]*trunkMetrics
	byReason map[store.Reason]prometheus.Counter
	released [2]map[store.Outcome]prometheus.Counter // by leg
	outcomes map[outcome]prometheus.Counter          // of probes
}

// trunkMetrics are those of a trunk that its calls count in.
type trunkMetrics struct {
	reclaimed prometheus.Counter
	unproven  prometheus.Counter
	detection prometheus.Observer
}

// outcome is the labels of a probe.
type outcome struct{ method, result string }

func newMetrics(trunks map[string]Action) *metrics {
	m := &metrics{
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipvigil_calls_started_total",
			Help: "Calls whose INVITE was accepted.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_calls_ended_total",
			Help: "Calls that ended, by reason.",
		}, []string{"reason"}),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_supervisor_probes_total",
			Help: "Probes by method and what became of them.",
		}, []string{"method", "result"}),
		rtt: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sipvigil_supervisor_probe_rtt_seconds",
			Help:    "Time from a probe to its final response.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 32},
		}),
		releases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_supervisor_releases_total",
			Help: "Legs that were released, by how it went.",
		}, []string{"leg", "outcome"}),
		brake: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_supervisor_brake_total",
			Help: "Times that the brake began to hold teardown by silence, by reason.",
		}, []string{"reason"}),
		observed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_supervisor_observed_total",
			Help: "Calls found dead that action observe let go on, by the trunk of the dead leg, and whether that was right.",
		}, []string{"trunk", "verdict"}),
		disturbed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipvigil_supervisor_disturbed_total",
			Help: "Times that an ICMP error or a closed connection had a leg asked soon.",
		}),
		reclaimed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_trunk_channels_reclaimed_total",
			Help: "Channels of a trunk given back because a far end of their call was found dead.",
		}, []string{"trunk"}),
		unproven: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_trunk_unproven_seconds_total",
			Help: "Time that channels of a trunk were held after the last sign of life of a far end of their call.",
		}, []string{"trunk"}),
		detection: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sipvigil_trunk_detection_seconds",
			Help:    "Time from the last sign of life of the far end that was found dead to the release of its call.",
			Buckets: []float64{1, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 3600},
		}, []string{"trunk"}),
		byTrunk:  make(map[string]*trunkMetrics),
		byReason: make(map[store.Reason]prometheus.Counter),
		outcomes: make(map[outcome]prometheus.Counter),
	}
	m.fill(trunks)
	return m
}

// fill makes all series, so that each begins with 0.
func (m *metrics) fill(trunks map[string]Action) {
	for _, side := range store.Sides {
		m.released[side] = make(map[store.Outcome]prometheus.Counter)
		for _, o := range []store.Outcome{store.ReleaseConfirmed, store.ReleaseAlreadyGone, store.ReleaseUnconfirmed} {
			m.released[side][o] = m.releases.WithLabelValues(side.String(), string(o))
		}
	}
	for _, trunk := range append(slices.Collect(maps.Keys(trunks)), otherTrunk) {
		m.byTrunk[trunk] = &trunkMetrics{m.reclaimed.WithLabelValues(trunk), m.unproven.WithLabelValues(trunk), m.detection.WithLabelValues(trunk)}
		m.finding(trunk, true)
		m.finding(trunk, false)
	}
	for _, reason := range brakeReasons {
		m.brake.WithLabelValues(reason)
	}
	for _, r := range store.Reasons() {
		m.byReason[r] = m.ended.WithLabelValues(string(r))
	}
	for _, method := range methodNames {
		for _, r := range results() {
			m.outcomes[outcome{method, r}] = m.probes.WithLabelValues(method, r)
		}
	}
}

// register also registers what is read from s when it is asked for.
func (m *metrics) register(reg prometheus.Registerer, s *Supervisor) error {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return value()
		})
	}
	all := []prometheus.Collector{m.started, m.ended, m.probes, m.rtt, m.releases, m.brake, m.observed, m.disturbed, m.reclaimed, m.unproven, m.detection,
		gauge("sipvigil_calls_active", "Calls of this node that go on.", nil, func() float64 {
			return float64(len(s.calls))
		}),
		gauge("sipvigil_supervisor_held_calls", "Calls with a silent leg that the brake does not let end.", nil, func() float64 {
			return float64(s.heldCalls())
		}),
		gauge("sipvigil_supervisor_lag_seconds", "By how much the schedule is late.", nil, func() float64 {
			due, l := s.queue.first()
			if l == nil {
				return 0
			}
			return max(0, time.Since(s.made)-due).Seconds()
		}),
	}
	for _, side := range store.Sides {
		for _, l := range []store.Liveness{store.Unproven, store.Alive, store.Reachable, store.Suspect, store.Gone, store.Silent, store.Unsupported} {
			labels := prometheus.Labels{"leg": side.String(), "liveness": string(l)}
			all = append(all, gauge("sipvigil_supervisor_legs", "Legs of confirmed calls by liveness.", labels, func() float64 {
				return float64(s.counts[side][l])
			}))
		}
	}
	var faults []error
	for _, c := range all {
		faults = append(faults, reg.Register(c))
	}
	return errors.Join(faults...)
}

// found counts a call that was found dead, rightly or not.
func (m *metrics) found(trunk string, right bool) {
	m.finding(trunk, right).Inc()
}

func (m *metrics) finding(trunk string, right bool) prometheus.Counter {
	verdict := "wrong"
	if right {
		verdict = "right"
	}
	return m.observed.WithLabelValues(m.trunk(trunk), verdict)
}

// probe counts what became of a probe.
func (m *metrics) probe(method, result string) {
	c, known := m.outcomes[outcome{method, result}]
	if !known {
		c = m.probes.WithLabelValues(other, result)
	}
	c.Inc()
}

// end counts a call that ended.
func (m *metrics) end(c *store.Call) {
	ended := m.byReason[c.End.Reason]
	if ended == nil {
		ended = m.ended.WithLabelValues(other)
	}
	ended.Inc()
	for side, outcome := range c.End.Released {
		if released := m.released[side][outcome]; released != nil {
			released.Inc()
		}
	}
	m.reclaim(c)
}

// reclaim counts what a call was to its trunks. One that goes in and out by the
// same trunk has two channels of it.
func (m *metrics) reclaim(c *store.Call) {
	billed, proven := lifetimes(c)
	whose, dead := foundDead(c.End.Reason)
	for i, name := range [2]string{store.Caller: c.TrunkIn, store.Callee: c.TrunkOut} {
		t := m.byTrunk[m.trunk(name)]
		t.unproven.Add((billed - proven).Seconds())
		if !dead {
			continue
		}
		t.reclaimed.Inc()
		side := store.Side(i)
		if last := c.Legs[side].LastAlive; side == whose && !last.IsZero() {
			t.detection.Observe(c.End.At.Sub(last).Seconds())
		}
	}
}

// trunk is the label of a trunk.
func (m *metrics) trunk(name string) string {
	if _, known := m.byTrunk[name]; !known {
		return otherTrunk
	}
	return name
}
