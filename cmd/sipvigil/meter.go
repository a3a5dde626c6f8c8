package main

import (
	"fmt"
	"io"
	"strings"
)

// meter shows how far something is that a command waits for: on a terminal in
// one line that changes, elsewhere in a line for each change.
type meter struct {
	w    io.Writer
	on   terminal
	last string
}

func (t *tool) meter() *meter { return &meter{w: t.stderr, on: t.errors} }

const barWidth = 20

// show says how it fares, and draws that so many of all calls are done.
func (m *meter) show(text string, done, total int) {
	switch {
	case m.on.width > 0:
		full := 0
		if total > 0 {
			full = barWidth * min(done, total) / total
		}
		room := max(1, m.on.width-barWidth-3) // the last column stays free
		fmt.Fprint(m.w, lineStart+shorten(text, room)+"  "+m.bar(full)+strings.Repeat("░", barWidth-full))
	case text != m.last:
		fmt.Fprintln(m.w, "sipvigil: "+text)
	}
	m.last = text
}

// bar is the part of the bar that is full.
func (m *meter) bar(full int) string {
	if full == 0 {
		return ""
	}
	return m.on.paint(green, strings.Repeat("█", full))
}

// lineStart begins the line of a terminal anew.
const lineStart = "\r\x1b[K"

// clear takes the line away.
func (m *meter) clear() {
	if m.last != "" && m.on.width > 0 {
		fmt.Fprint(m.w, lineStart)
	}
	m.last = ""
}
