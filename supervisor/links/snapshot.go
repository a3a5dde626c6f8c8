package links

import "time"

// Health is what is known of a trunk.
type Health struct {
	Name      string
	Preset    string
	Probe     Probe
	State     State
	Since     time.Time // of State
	Addresses []Address
}

// Address is what is known of one address of a trunk.
type Address struct {
	Target string
	Place  Place // without an address when the target has none
	State  State
	Use    Use
	Since  time.Time     // of State
	RTT    time.Duration // of the last answer to a question, 0 without
	Last   string        // what was seen last, for people
	LastAt time.Time
	Next   time.Time // when it is asked next, zero if it never is or is being asked
}

// Health lists all trunks in the order of the configuration.
func (l *Links) Health() []Health {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Health, len(l.trunks))
	for i, t := range l.trunks {
		h := Health{t.Name, t.Preset, t.Probe, t.state, t.since, nil}
		for _, g := range t.targets {
			list := t.of(g)
			for _, k := range list {
				h.Addresses = append(h.Addresses, k.snapshot())
			}
			if len(list) == 0 && g.fault != "" {
				h.Addresses = append(h.Addresses, Address{Target: g.uri, State: Down, Use: UseNever, Last: g.fault, Next: g.due})
			}
		}
		all[i] = h
	}
	return all
}

// snapshot is the link as it stands. Called locked.
func (k *link) snapshot() Address {
	t := k.target.trunk
	a := Address{Target: k.target.uri, Place: k.place, State: k.state, Since: k.since, RTT: k.rtt, LastAt: k.lastAt, Use: k.use()}
	if !k.lastAt.IsZero() {
		a.Last = k.last.String()
	}
	if !k.asking && (t.Probe != None || k.state == Down) {
		a.Next = k.due
	}
	return a
}

// use says what an address is good for. Called locked.
func (k *link) use() Use {
	switch {
	case k.state != Down:
		return UseFirst
	case k.target.trunk.Demote:
		return UseLast
	default:
		return UseNever
	}
}

// State is the state of a trunk, Unknown for one that is not watched.
func (l *Links) State(name string) State {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.byName[name]; t != nil {
		return t.state
	}
	return Unknown
}

// Doubt says whether the silence of a call behind a trunk may be the trunk's.
type Doubt uint8

// The doubts.
const (
	NoDoubt Doubt = iota // it has answered since, or is not asked
	Asking               // it has not answered since, and is being asked now
	Failing              // none of its addresses answers
)

// Doubt says what a trunk itself has shown since a time, and when one of its
// addresses last began to answer again. What is not known yet it asks.
func (l *Links) Doubt(name string, since time.Time) (d Doubt, mended time.Time) {
	now, quiet := time.Now(), l.hushed(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.byName[name]
	if t == nil || len(t.links) == 0 || quiet {
		return NoDoubt, time.Time{}
	}
	failing, proved := 0, false
	for _, k := range t.links {
		mended = latest(mended, k.mended)
		if k.failing() {
			failing++
		} else if k.proved.After(since) {
			proved = true
		}
	}
	switch {
	case failing == len(t.links):
		return Failing, mended
	case proved || t.Probe == None:
		return NoDoubt, mended
	}
	for _, k := range t.links {
		if !k.asking && !k.failing() && !k.hurry {
			k.due, k.hurry = now, true
		}
	}
	l.nudge()
	return Asking, mended
}
