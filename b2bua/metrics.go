package b2bua

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests   *prometheus.CounterVec
	responses  *prometheus.CounterVec
	byMethod   map[string]prometheus.Counter // of requests
	byClass    [5]prometheus.Counter         // of responses, from 2xx on
	malformed  prometheus.Counter
	overflowed prometheus.Counter
	rejected   *prometheus.CounterVec
	outside    *prometheus.CounterVec
	panics     prometheus.Counter

	challenges  *prometheus.CounterVec
	strangers   *prometheus.CounterVec
	spoofed     prometheus.Counter
	connections *prometheus.GaugeVec
	closed      *prometheus.CounterVec
	surplus     prometheus.Counter
	forwarded   prometheus.Counter
	unmirrored  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_requests_total",
			Help: "SIP requests received, without retransmissions.",
		}, []string{"method"}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_responses_total",
			Help: "Final SIP responses sent, by class (2xx to 6xx).",
		}, []string{"class"}),
		malformed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_malformed_total",
			Help: "Messages that were dropped because they could not be read.",
		}),
		overflowed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_overflowed_total",
			Help: "Datagrams that found the receive buffer full (on Linux).",
		}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_calls_rejected_total",
			Help: "INVITEs refused before a callee was asked.",
		}, []string{"reason"}),
		outside: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_outside_total",
			Help: "Requests outside of calls, by what became of them.",
		}, []string{"result"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_panics_total",
			Help: "Panics in handlers; each cost one request.",
		}),
		challenges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_challenges_total",
			Help: "401 and 407 from trunks that have credentials, by what came of them: answered, refused (the credentials are wrong), failed (could not be answered).",
		}, []string{"trunk", "result"}),
		strangers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_strangers_total",
			Help: "Messages that belong to no call, from sources that no trunk has: rejected with an answer, or dropped.",
		}, []string{"result"}),
		spoofed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_spoofed_total",
			Help: "Requests inside calls that came from elsewhere than the far end.",
		}),
		surplus: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_surplus_answers_total",
			Help: "Calls answered by one more fork downstream, which were ended there.",
		}),
		unmirrored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_unmirrored_total",
			Help: "Messages of which the capture server got no copy: it is not there, they are too long, or too many waited.",
		}),
		forwarded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_forwarded_total",
			Help: "Requests inside calls that were passed on to the node that owns the call.",
		}),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sipvigil_b2bua_connections",
			Help: "Connections that are open.",
		}, []string{"transport"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipvigil_b2bua_connections_closed_total",
			Help: "Connections that were not accepted, or closed for what came or did not come.",
		}, []string{"reason"}),
	}
	for _, result := range []string{"rejected", "dropped"} {
		m.strangers.WithLabelValues(result)
	}
	for _, result := range []string{
		"relayed", "source", "max_forwards", "loop", "extension", "forged", "flow", "no_route", "busy",
	} {
		m.outside.WithLabelValues(result)
	}
	m.bind()
	reg.MustRegister(m.requests, m.responses, m.malformed, m.overflowed, m.rejected, m.outside, m.panics, m.challenges, m.strangers, m.spoofed,
		m.surplus, m.forwarded, m.unmirrored, m.connections, m.closed)
	for _, transport := range []string{"tcp", "tls", "ws", "wss"} {
		m.connections.WithLabelValues(transport)
	}
	for _, reason := range []string{"limit", "handshake", "framing", "slow"} {
		m.closed.WithLabelValues(reason)
	}
	return m
}

// challengesOf shows the series of a trunk before the first challenge.
func (m *metrics) challengesOf(trunk string) {
	for _, result := range []string{"answered", "refused", "failed"} {
		m.challenges.WithLabelValues(trunk, result)
	}
}

// request counts a request. Its label's values are a closed set.
func (m *metrics) request(method string) {
	if c := m.byMethod[method]; c != nil {
		c.Inc()
		return
	}
	m.byMethod["other"].Inc()
}

// response counts a final response.
func (m *metrics) response(status int) { m.byClass[min(max(status/100, 2), 6)-2].Inc() }

// bind finds the series that each message of a call counts in.
func (m *metrics) bind() {
	m.byMethod = map[string]prometheus.Counter{"other": m.requests.WithLabelValues("other")}
	for method := range known {
		m.byMethod[method] = m.requests.WithLabelValues(method)
	}
	for _, method := range []string{"REGISTER", "PUBLISH"} {
		m.byMethod[method] = m.requests.WithLabelValues(method)
	}
	for i := range m.byClass {
		m.byClass[i] = m.responses.WithLabelValues(strconv.Itoa(i+2) + "xx")
	}
}
