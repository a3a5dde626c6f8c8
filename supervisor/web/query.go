package web

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sipvigil/store"
)

// Limits of what may be asked for.
const (
	maxText  = 256  // bytes of one query value, and of an operator's reason
	maxID    = 1024 // bytes of an id: Call-IDs have no limit of their own
	maxLimit = 1000 // calls of one page
)

var (
	states = []store.State{store.Trying, store.Early, store.Confirmed, store.Ending, store.Terminated}
	lives  = []store.Liveness{store.Unproven, store.Alive, store.Reachable, store.Suspect, store.Gone, store.Silent, store.Unsupported}
	sorts  = []store.Sort{"started", store.Newest, store.Worst}
)

// params collects the values of a query string, and every fault in them.
type params struct {
	values url.Values
	known  []string
	faults []string
}

// parseParams splits a query string.
func parseParams(raw string) *params {
	values, err := url.ParseQuery(raw)
	p := &params{values: values}
	if err != nil {
		p.fault("query string: %v", err)
	}
	return p
}

// parseQuery reads the query string of a list of calls.
func parseQuery(raw string) (store.Query, []string) {
	p := parseParams(raw)
	q := store.Query{
		State:    oneOf(p, "state", states),
		Liveness: oneOf(p, "liveness", lives),
		Trunk:    p.text("trunk"),
		Number:   p.text("number"),
		Held:     oneOf(p, "held", []string{"true"}) != "",
		Node:     p.text("node"),
		Older:    p.duration("older"),
		Sort:     oneOf(p, "sort", sorts),
		Limit:    p.count("limit", maxLimit),
		Cursor:   p.text("cursor"),
	}
	if q.Sort == "started" {
		q.Sort = store.Oldest
	}
	return q, p.done()
}

// text returns a value, empty when it is not given.
func (p *params) text(name string) string {
	p.known = append(p.known, name)
	values := p.values[name]
	switch {
	case len(values) == 0:
		return ""
	case len(values) > 1:
		p.fault("%s: given %d times, may be given once", name, len(values))
	case len(values[0]) > maxText:
		p.fault("%s: longer than %d bytes", name, maxText)
	case !printable(values[0]):
		p.fault("%s: has characters that cannot be printed", name)
	default:
		return values[0]
	}
	return ""
}

func (p *params) duration(name string) time.Duration {
	s := p.text(name)
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		p.fault("%s: %q is not a length of time such as 90s, 15m or 2h", name, s)
		return 0
	}
	return d
}

func (p *params) time(name string) time.Time {
	s := p.text(name)
	if s == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		p.fault("%s: %q is not a time such as 2026-03-01T12:00:00Z", name, s)
	}
	return at
}

func (p *params) count(name string, most int) int {
	s := p.text(name)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		p.fault("%s: %q is not a number from 1 to %d", name, s, most)
		return 0
	}
	return n
}

func oneOf[T ~string](p *params, name string, allowed []T) T {
	s := T(p.text(name))
	if s == "" || slices.Contains(allowed, s) {
		return s
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	p.fault("%s: %q is none of %s", name, s, strings.Join(names, ", "))
	return ""
}

// done adds the parameters that nobody asked for to the faults, and returns all.
func (p *params) done() []string {
	var unknown []string
	for name := range p.values {
		if !slices.Contains(p.known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	known := "none"
	if len(p.known) > 0 {
		known = strings.Join(p.known, ", ")
	}
	for _, name := range unknown {
		p.fault("%q: no such parameter, there are %s", name, known)
	}
	return p.faults
}

func (p *params) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

// printable says whether a text may go into logs, records and SIP headers.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
