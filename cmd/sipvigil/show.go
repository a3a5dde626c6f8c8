package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sipvigil/supervisor/web"
)

// printCall writes everything about one call. The legs stand side by side where
// they fit, else one below the other: nothing is shortened.
func printCall(w io.Writer, c *web.Call, on terminal, now time.Time) error {
	var b strings.Builder
	for _, f := range callFields(c, now) {
		if f[1] != "" {
			fmt.Fprintf(&b, "%-9s  %s\n", f[0], clean(f[1]))
		}
	}
	b.WriteByte('\n')
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}

	legs := table{columns: []column{{name: ""}, {name: "CALLER"}, {name: "CALLEE"}}}
	caller, callee := legFields(&c.Caller, now), legFields(&c.Callee, now)
	for i, f := range caller {
		legs.rows = append(legs.rows, []string{f[0], clean(f[1]), clean(callee[i][1])})
	}
	if on.width == 0 || total(legs.fit(0)) <= on.width {
		return legs.print(w, terminal{})
	}
	return below(w, caller, callee)
}

func below(w io.Writer, caller, callee [][2]string) error {
	var b strings.Builder
	for i, fields := range [][][2]string{caller, callee} {
		fmt.Fprintf(&b, "%s\n", []string{"CALLER", "CALLEE"}[i])
		for _, f := range fields {
			fmt.Fprintf(&b, "%s\n", strings.TrimRight(fmt.Sprintf("%-11s  %s", f[0], clean(f[1])), " "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func callFields(c *web.Call, now time.Time) [][2]string {
	ended := moment(c.Ended, now)
	if c.EndedBy != "" {
		why := c.EndedBy
		if status := fmt.Sprint(c.EndStatus); c.EndStatus > 0 && !strings.HasPrefix(c.EndText, status) {
			why += ", " + status
		}
		if c.EndText != "" {
			why += ", " + c.EndText
		}
		ended = strings.TrimPrefix(ended+", "+why, ", ")
	}
	trunks := ""
	if c.TrunkIn != "" || c.TrunkOut != "" {
		trunks = c.TrunkIn + " → " + c.TrunkOut
	}
	return [][2]string{
		{"id", c.ID},
		{"state", c.State},
		{"liveness", c.Liveness},
		{"node", c.Node},
		{"trunks", trunks},
		{"started", moment(c.Started, now)},
		{"answered", moment(c.Answered, now)},
		{"ended", ended},
	}
}

func legFields(l *web.Leg, now time.Time) [][2]string {
	return [][2]string{
		{"uri", l.URI},
		{"call-id", l.CallID},
		{"peer", strings.TrimSpace(l.Peer + " " + l.Transport)},
		{"target", l.Target},
		{"user agent", l.UserAgent},
		{"cseq", fmt.Sprintf("local %d, remote %d", l.LocalCSeq, l.RemoteCSeq)},
		{"liveness", l.Liveness},
		{"last alive", moment(l.LastAlive, now)},
		{"evidence", l.LastEvidence},
		{"held", l.Held},
		{"misses", fmt.Sprint(l.Misses)},
		{"rtt", rtt(l.RTT)},
		{"method", l.Method},
		{"calibration", l.Calibration},
		{"session", session(l)},
		{"released", l.Released},
	}
}

// session is a leg's session timer, empty without one.
func session(l *web.Leg) string {
	if l.Refresher == "" {
		return ""
	}
	return fmt.Sprintf("expires after %ds, refreshed by %s", l.SessionExpires, l.Refresher)
}

// moment is a time, and how long ago that was.
func moment(t web.Time, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Stamp() + " (" + ago(t, now) + " ago)"
}
