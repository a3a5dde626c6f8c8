package daemon

import (
	"cmp"
	"time"

	"sipvigil/b2bua"
	"sipvigil/b2bua/locate"
	"sipvigil/supervisor"
	"sipvigil/supervisor/links"
)

// watched are the trunks whose addresses are watched.
func watched(trunks []Trunk) []links.Trunk {
	var list []links.Trunk
	for i := range trunks {
		if t := &trunks[i]; t.Monitor != nil {
			list = append(list, links.Trunk{Name: t.Name, Targets: t.Targets, Preset: t.Monitor.Preset, Config: t.Monitor.links(noFault)})
		}
	}
	return list
}

// noFault is a report of what Validate has refused already.
func noFault(string, string, ...any) {}

// links is the configuration on top of its preset, or of the default.
func (m *Monitor) links(fault report) links.Config {
	c := links.Default()
	if p, ok := links.Preset(m.Preset); ok {
		c = p
	}
	c.Probe, c.Mode = cmp.Or(links.Probe(m.Probe), c.Probe), cmp.Or(links.Mode(m.Mode), c.Mode)
	give(&c.Interval, m.Interval)
	give(&c.IntervalDown, m.IntervalDown)
	give(&c.Jitter, m.Jitter)
	give(&c.Timeout, m.Timeout)
	give(&c.DownAfter, m.DownAfter)
	give(&c.UpAfter, m.UpAfter)
	give(&c.InboundCounts, m.InboundCounts)
	give(&c.Demote, m.Demote)
	if m.DownCodes != nil {
		c.DownCodes = nil
		for i, s := range m.DownCodes {
			code, err := links.ParseCode(s)
			if err != nil {
				fault(item("down_codes", i), "%v", err)
				continue
			}
			c.DownCodes = append(c.DownCodes, code)
		}
	}
	return c
}

// give sets what is given.
func give[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}

// lines joins the agent and the links: each knows only its own words.
type lines struct {
	agent *b2bua.Agent
	links *links.Links
}

// Use implements [b2bua.Links].
func (l *lines) Use(trunk string, hop locate.Hop) b2bua.Use {
	switch l.links.Use(trunk, links.Place(hop)) {
	case links.UseNever:
		return b2bua.UseNever
	case links.UseLast:
		return b2bua.UseLast
	default:
		return b2bua.UseFirst
	}
}

// Heard implements [b2bua.Links].
func (l *lines) Heard(trunk string, hop locate.Hop, t b2bua.Traffic) {
	l.links.Heard(trunk, links.Place(hop), traffic(t))
}

// Find implements [links.Prober].
func (l *lines) Find(target string, found func([]links.Place, time.Time, error)) {
	l.agent.Locate(target, func(hops []locate.Hop, until time.Time, err error) {
		at := make([]links.Place, len(hops))
		for i := range hops {
			at[i] = links.Place(hops[i])
		}
		found(at, until, err)
	})
}

// pingWith are the agent's words for probes.
var pingWith = map[links.Probe]string{
	links.Options: b2bua.PingOptions, links.Register: b2bua.PingRegister,
	links.CRLF: b2bua.PingCRLF, links.TCP: b2bua.PingTCP,
}

// Ping implements [links.Prober].
func (l *lines) Ping(p links.Ping, answered func(links.Traffic)) {
	l.agent.Ping(b2bua.Ping{
		Trunk: p.Trunk, Target: p.Target, Hop: locate.Hop(p.Place), With: pingWith[p.Probe], Timeout: p.Timeout,
	}, func(t b2bua.Traffic) { answered(traffic(t)) })
}

func traffic(t b2bua.Traffic) links.Traffic {
	kind := map[b2bua.TrafficKind]links.Kind{
		b2bua.Answer: links.Answered, b2bua.NoReply: links.NoReply, b2bua.Unsent: links.Unsent, b2bua.Inbound: links.Inbound,
	}[t.Kind]
	return links.Traffic{Kind: kind, Method: t.Method, Status: t.Status, Phrase: t.Phrase,
		RetryAfter: t.RetryAfter, Reason: t.Reason, RTT: t.RTT}
}

// doubt is a [supervisor.Doubting].
func (l *lines) doubt(trunk string, since time.Time) (supervisor.Doubt, time.Time) {
	d, mended := l.links.Doubt(trunk, since)
	return map[links.Doubt]supervisor.Doubt{
		links.NoDoubt: supervisor.NoDoubt, links.Asking: supervisor.Asking, links.Failing: supervisor.Failing,
	}[d], mended
}
