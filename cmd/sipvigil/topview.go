package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"sipvigil/supervisor/web"
)

// colourless takes the colours out of a style.
var colourless = strings.NewReplacer(red, "", yellow, "", green, "")

// Lines of the screen that are not those of calls: the head, the names of the
// columns, and the keys.
const frameLines = 4

// lines is how many calls have room.
func (s *screen) lines() int { return max(1, s.height-frameLines) }

// View implements tea.Model.
func (s *screen) View() tea.View {
	v := tea.NewView(s.text())
	v.AltScreen = true
	return v
}

// text is what stands on the screen.
func (s *screen) text() string {
	var b strings.Builder
	line := func(style, text string) {
		text = shorten(text, s.width)
		if !s.colour {
			style = colourless.Replace(style)
		}
		if style != "" {
			text = style + text + strings.Repeat(" ", max(0, s.width-utf8.RuneCountInString(text))) + plain
		}
		b.WriteString(text + "\n")
	}
	line(bold, s.head())
	switch {
	case len(s.overview.Brake) > 0:
		line(red, fmt.Sprintf("brake: %s, %d calls held", s.overview.Brake[0].Reason, s.overview.Held))
	case s.overview.Idle != "":
		line(red, "calls are not watched: "+clean(s.overview.Idle))
	case s.overview.Store.Error != "":
		line(yellow, "store: "+clean(s.overview.Store.Error))
	default:
		line("", s.work())
	}
	if s.open != "" {
		s.viewCall(line)
	} else {
		s.viewList(line)
	}
	return b.String() + shorten(s.foot(), s.width)
}

// work is what takes a while, "" for nothing.
func (s *screen) work() string {
	var texts []string
	for _, p := range s.doing {
		texts = append(texts, clean(fmt.Sprintf("%s of %s: %s", p.What, p.Of, part(p.Done, p.Total))))
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}

func (s *screen) head() string {
	o := &s.overview
	return fmt.Sprintf("%d calls, %.1f/s  live %d, suspect %d, held %d  reclaimed today %d  nodes %d up, %d dead  %s",
		o.Active, o.PerSecond, o.Live, o.Suspect, o.Held, o.ReclaimedToday, o.Nodes.Up, o.Nodes.Dead, s.client.name)
}

func (s *screen) foot() string {
	switch {
	case s.typing:
		return "filter: " + s.filter + "▏ (Enter keeps it, Esc drops it)"
	case len(s.confirm) > 0:
		return fmt.Sprintf("hang up %d calls with BYE on both legs? y for yes, any other key for no", len(s.confirm))
	case s.notice != "":
		return s.notice
	case s.open != "":
		return "Esc list  p probe  h hang up  q back"
	case s.filter != "":
		return fmt.Sprintf("F7 filter: %s (%d of %d)  Enter open  Space mark  p probe  h hang up  q quit", s.filter, len(s.order), len(s.calls))
	}
	return fmt.Sprintf("F7 filter  Enter open  Space mark (%d)  p probe  h hang up  q quit", len(s.marked))
}

func (s *screen) viewList(line func(style, text string)) {
	last := min(s.first+s.lines(), len(s.order))
	shown := make([]web.Call, 0, s.lines())
	for _, c := range s.order[s.first:last] {
		shown = append(shown, *c)
	}
	t := callsTable(shown, s.now())
	t.columns[0].drop = 9 // the id: Enter shows it
	var b strings.Builder
	_ = t.print(&b, terminal{width: s.width - 2}) // to memory
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	line(reverse, "  "+lines[0])
	for i, text := range lines[1:] {
		c := s.order[s.first+i]
		mark, style := "  ", colour(c)
		if s.marked[c.ID] {
			mark = "* "
		}
		if s.first+i == s.cursor {
			style += reverse
		}
		line(style, mark+text)
	}
	for range s.lines() - len(lines) + 1 {
		line("", "")
	}
}

// colour is that of a call that needs a look.
func colour(c *web.Call) string {
	switch {
	case c.State == "terminated":
		return endColour(c.EndedBy)
	case c.Liveness == "gone" || c.Liveness == "silent" || c.Caller.Held != "" || c.Callee.Held != "":
		return red
	case c.Liveness == "suspect":
		return yellow
	case c.Liveness == "alive":
		return green
	}
	return ""
}

// viewCall shows a call: what it is, and as a ladder what happened on each leg.
func (s *screen) viewCall(line func(style, text string)) {
	room := s.lines() + 1
	put := func(style, text string) {
		if room > 0 {
			line(style, text)
			room--
		}
	}
	if c := s.calls[s.open]; c != nil {
		put(reverse, fmt.Sprintf("%s  %s → %s  %s  %s → %s  on %s", c.ID, clean(party(c.Caller.URI)), clean(party(c.Callee.URI)), status(c),
			clean(c.TrunkIn), clean(c.TrunkOut), clean(c.Node)))
		for _, l := range []struct {
			side string
			leg  *web.Leg
		}{{"caller", &c.Caller}, {"callee", &c.Callee}} {
			put("", fmt.Sprintf("%s  %s %s  cseq ours %d theirs %d  %s  %s", l.side, clean(l.leg.Peer), clean(l.leg.Transport), l.leg.LocalCSeq, l.leg.RemoteCSeq,
				clean(l.leg.Liveness), clean(l.leg.Calibration)))
			put("", fmt.Sprintf("        evidence %s %s ago  rtt %s  %s", clean(l.leg.LastEvidence), ago(l.leg.LastAlive, s.now()), rtt(l.leg.RTT), clean(l.leg.Held)))
		}
	} else {
		put(reverse, s.open+"  has ended")
	}
	put("", "")
	put(bold, fmt.Sprintf("%-12s  %-28s  %-10s  %-28s", "", "caller", "sipvigil", "callee"))
	events := s.events[max(0, len(s.events)-room):]
	for i := range events {
		put("", rung(&events[i]))
	}
	for room > 0 {
		put("", "")
	}
}

// rung is one event of the ladder: an answer comes from its leg, a miss does not.
func rung(e *web.Event) string {
	text := e.Text
	if text == "" {
		text = e.Kind
	}
	text = shorten(clean(strings.TrimSpace(text+" "+took(e))), 24)
	arrow := map[string][2]string{"answer": {"──►", "◄──"}, "evidence": {"──►", "◄──"}, "miss": {"✕··", "··✕"}}[e.Kind]
	at := e.At.Format("15:04:05.000")
	switch {
	case e.Leg == "caller":
		return fmt.Sprintf("%s  %-24s %s  │", at, text, arrow[0])
	case e.Leg == "callee":
		return fmt.Sprintf("%s  %28s  │        %s %s", at, "", arrow[1], text)
	}
	return fmt.Sprintf("%s  %28s  ├─ %s", at, "", text)
}
