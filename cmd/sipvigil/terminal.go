package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal is what is known of where a command writes to. The zero one is a
// file, or another program.
type terminal struct {
	width  int  // columns that a line may take, 0 for any number
	height int  // lines that it shows, 0 for any number
	colour bool // may be used
}

// What a terminal makes of a line.
const (
	plain   = "\x1b[0m"
	reverse = "\x1b[7m"
	bold    = "\x1b[1m"
	red     = "\x1b[31m"
	yellow  = "\x1b[33m"
	green   = "\x1b[32m"
)

// terminalOf looks at a file. Colour is for terminals only, and not for those
// whose user does not want any: https://no-color.org.
func terminalOf(f *os.File, getenv func(string) string) terminal {
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return terminal{}
	}
	return terminal{width: width, height: height, colour: coloured(getenv)}
}

func coloured(getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// screenful is as much of a text as can be seen at once, with the cursor below it.
func (t terminal) screenful(text string) string {
	lines := strings.SplitAfter(text, "\n")
	if t.height == 0 || len(lines) <= t.height {
		return text
	}
	most := max(t.height-2, 0)
	return strings.Join(lines[:most], "") + fmt.Sprintf("and %d more lines, which are shown without --watch\n", len(lines)-1-most)
}

// paint gives a text a colour, if there is one.
func (t terminal) paint(colour, text string) string {
	if colour == "" || !t.colour {
		return text
	}
	return colour + text + plain
}

// stateColour is that of the state of a trunk, an address, a node or the store
// that needs a look.
func stateColour(state string) string {
	switch state {
	case "down", "dead":
		return red
	case "partial", "draining", "left", "degraded":
		return yellow
	}
	return ""
}

// endColour is that of an end that nobody asked for.
func endColour(endedBy string) string {
	switch endedBy {
	case "caller-gone", "callee-gone", "caller-silent", "callee-silent":
		return red
	case "no-ack", "session-expired":
		return yellow
	}
	return ""
}
