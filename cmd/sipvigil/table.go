package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sipvigil/b2bua/dialog"
	"sipvigil/supervisor/web"
)

// column is one column of a table.
type column struct {
	name  string
	least int // it may be shortened to this, 0 for never
	drop  int // it may be left out, those with the highest number first, 0 for never
}

// table is text in columns.
type table struct {
	columns []column
	rows    [][]string
	colours []string // of the rows, as far as it goes; "" for none
}

const gap = 2 // blanks between two columns

// print writes the table so that no line is longer than the terminal is wide.
// What does not fit is shortened, then columns are left out.
func (t table) print(w io.Writer, on terminal) error {
	widths := t.fit(on.width)
	var b strings.Builder
	line := func(colour string, cells func(i int) string) {
		var l strings.Builder
		for i, n := range widths {
			if n > 0 {
				fmt.Fprintf(&l, "%-*s%*s", n, shorten(cells(i), n), gap, "")
			}
		}
		text := strings.TrimRight(l.String(), " ")
		if on.width > 0 {
			text = shorten(text, on.width)
		}
		b.WriteString(on.paint(colour, text) + "\n")
	}
	line("", func(i int) string { return t.columns[i].name })
	for n, row := range t.rows {
		colour := ""
		if n < len(t.colours) {
			colour = t.colours[n]
		}
		line(colour, func(i int) string { return row[i] })
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fit returns the width of each column, 0 for those that are left out.
func (t table) fit(width int) []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.name)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	if width == 0 {
		return widths
	}
	natural := append([]int(nil), widths...)
	for total(widths) > width {
		if t.narrow(widths) {
			continue
		}
		last := t.expendable(widths)
		if last < 0 {
			break
		}
		for i := range widths { // there may be room again
			if widths[i] > 0 {
				widths[i] = natural[i]
			}
		}
		widths[last] = 0
	}
	return widths
}

// narrow makes the widest column that may be shortened one narrower.
func (t table) narrow(widths []int) bool {
	widest := -1
	for i, c := range t.columns {
		if c.least > 0 && widths[i] > c.least && (widest < 0 || widths[i] > widths[widest]) {
			widest = i
		}
	}
	if widest >= 0 {
		widths[widest]--
	}
	return widest >= 0
}

// expendable is the next column to leave out, or -1.
func (t table) expendable(widths []int) int {
	last := -1
	for i, c := range t.columns {
		if widths[i] > 0 && c.drop > 0 && (last < 0 || c.drop > t.columns[last].drop) {
			last = i
		}
	}
	return last
}

func total(widths []int) int {
	sum := -gap
	for _, n := range widths {
		if n > 0 {
			sum += n + gap
		}
	}
	return sum
}

// shorten cuts a text to n characters.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// wrap breaks a text between words where a line would be longer than width, 0
// for any. It stands behind so many blanks.
func wrap(s string, width, indent int) string {
	if width <= indent {
		return s
	}
	var b strings.Builder
	room := width - indent
	for i, word := range strings.Split(s, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i > 0 && n+1 > room:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			room = width - indent
		case i > 0:
			b.WriteByte(' ')
			room--
		}
		b.WriteString(word)
		room -= n
	}
	return b.String()
}

// clean takes out of a text what could do something to a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, s)
}

func callsTable(calls []web.Call, now time.Time) table {
	t := table{columns: []column{
		{name: "ID"},
		{name: "STATUS", least: 8},
		{name: "AGE", drop: 3},
		{name: "FROM", least: 11, drop: 1},
		{name: "TO", least: 11, drop: 2},
		{name: "EVIDENCE", drop: 4},
		{name: "IN", least: 6, drop: 5},
		{name: "OUT", least: 6, drop: 6},
		{name: "NODE", least: 6, drop: 7},
	}}
	for i := range calls {
		c := &calls[i]
		until := now
		if !c.Ended.IsZero() {
			until = c.Ended.Time
		}
		t.rows = append(t.rows, []string{
			clean(c.ID), clean(status(c)), ago(c.Started, until), clean(party(c.Caller.URI)), clean(party(c.Callee.URI)),
			ago(c.Caller.LastAlive, until) + "/" + ago(c.Callee.LastAlive, until),
			clean(c.TrunkIn), clean(c.TrunkOut), clean(c.Node),
		})
		t.colours = append(t.colours, colour(c))
	}
	return t
}

// status is the one thing to know about a call.
func status(c *web.Call) string {
	switch {
	case c.State == "terminated":
		return c.EndedBy
	case c.State != "confirmed":
		return c.State
	case c.Caller.Held != "" || c.Callee.Held != "":
		return c.Liveness + " (held)"
	case c.Caller.Liveness == c.Callee.Liveness:
		return c.Liveness
	case c.Caller.Liveness == c.Liveness:
		return c.Liveness + " caller"
	default:
		return c.Liveness + " callee"
	}
}

// party is who a name-addr stands for: its user, or the host without one.
func party(addr string) string {
	a, err := dialog.ParseAddr(addr)
	if err != nil {
		return addr
	}
	u, err := dialog.ParseURI(a.URI)
	switch {
	case err != nil:
		return a.URI
	case u.User != "":
		return u.User
	default:
		return u.Host
	}
}

// ago is how long before until something was, in five characters or so.
func ago(t web.Time, until time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return length(max(until.Sub(t.Time), 0))
}

// length is a time in five characters or so.
func length(d time.Duration) string {
	hours := int(d.Hours())
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case hours == 0:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case hours < 24:
		return fmt.Sprintf("%dh%02dm", hours, int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", hours/24, hours%24)
	}
}

func probeTable(p *web.Probed) table {
	t := table{columns: []column{{name: "LEG"}, {name: "ANSWER", least: 8}, {name: "METHOD"}, {name: "RTT"}}}
	for i, a := range []web.Answer{p.Caller, p.Callee} {
		answer := a.Kind
		if a.Status > 0 {
			answer = fmt.Sprint(a.Status)
		}
		if a.Reason != "" {
			answer += ": " + a.Reason
		}
		t.rows = append(t.rows, []string{[]string{"caller", "callee"}[i], clean(answer), clean(a.Method), rtt(a.RTT)})
	}
	return t
}

// eventsTable lists what happened to a call, the oldest first.
func eventsTable(events []web.Event) table {
	t := table{columns: []column{{name: "AT"}, {name: "LEG"}, {name: "EVENT"}, {name: "WHAT", least: 12}, {name: "RTT", drop: 1}}}
	for _, e := range events {
		t.rows = append(t.rows, []string{e.At.Stamp(), e.Leg, clean(e.Kind), clean(e.Text), took(&e)})
	}
	return t
}

// took is how long the answer to a probe was on its way, of which the server keeps
// whole milliseconds; empty for any other event.
func took(e *web.Event) string {
	switch {
	case e.RTT > 0:
		return rtt(e.RTT)
	case e.Kind == "answer":
		return "<1 ms"
	}
	return ""
}

func rtt(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", ms)
}
