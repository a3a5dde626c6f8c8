//go:build chaos

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"sipvigil/test/ua"
)

// settle waits until all is as it should be.
func (f *traffic) settle(nodes []*sipvigil) {
	t := f.t
	f.mu.Lock()
	calls := f.calls
	f.mu.Unlock()
	live := make(map[string]*course) // by Call-ID of the caller
	deadline := time.Now().Add(90 * time.Second)
	for _, c := range calls {
		if c.alive() {
			live[c.legs[0].CallID] = c
			continue
		}
		for i, leg := range c.legs {
			if c.how == "silent" || c.how == "forgotten" {
				if leg2 := c.legs[1-i]; isEnded(leg2) || isEnded(leg) {
					continue
				}
			}
			select {
			case <-leg.Ended():
			case <-time.After(time.Until(deadline)):
				t.Errorf("leg %d of a call that ended (%s at %s) was never released\n%s", i, c.how, clock(c.left), history(c))
			}
		}
	}
	t.Logf("%d calls, %d live", len(calls), len(live))
	var listed, active int
	at := func() bool {
		listed, active = 0, 0
		for _, n := range nodes[0].spread() {
			listed += n
		}
		for _, d := range nodes {
			active += int(d.metric("sipvigil_calls_active"))
		}
		return listed == len(live) && active == len(live)
	}
	for until := time.Now().Add(2 * time.Minute); !at(); time.Sleep(time.Second) {
		if time.Now().After(until) {
			t.Errorf("of %d calls that live %d are listed, and nodes have %d", len(live), listed, active)
			break
		}
	}
	for _, c := range calls {
		f.numbers(c)
	}
	f.once(calls, live)
	for _, c := range live {
		c.leave("end")
		f.all.Go(func() { _ = c.legs[0].Bye(limit(t, patience)) })
	}
	f.all.Wait()
	t.Logf("%v", f.odd)
	if err := errors.Join(f.pbx.Faults(), f.carrier.Faults()); err != nil {
		t.Error(err)
	}
}

func isEnded(d *ua.Dialog) bool {
	select {
	case <-d.Ended():
		return true
	default:
		return false
	}
}

// numbers demands that they rise in each direction.
func (f *traffic) numbers(c *course) {
	for i, leg := range c.legs {
		var last ua.Received
		for _, r := range leg.Received() {
			if r.Retransmission || r.Method == "ACK" || r.Method == "CANCEL" {
				continue
			}
			switch {
			case last.Message == nil:
			case r.CSeq <= last.CSeq:
				f.t.Errorf("leg %d: %s %s has CSeq %d from %s, after %d from %s at %s\n%s", i, clock(r.At), r.Method, r.CSeq, asker(r),
					last.CSeq, asker(last), clock(last.At), history(c))
				last = r
				continue
			case r.CSeq > last.CSeq+1:
				f.note("gap")
			}
			last = r
		}
	}
}

// once tells of calls that have not one record, or live and have one. That may be:
// who ends a call while the store is away, and is killed or stands still before it
// knows, leaves it to another.
func (f *traffic) once(calls []*course, live map[string]*course) {
	time.Sleep(2 * time.Second)
	records := make(map[string][]string)
	for i := range 3 {
		body, _ := os.ReadFile(f.cdrs(i))
		for line := range strings.Lines(string(body)) {
			var r struct {
				ID      string
				Node    string
				Ended   string
				EndedBy string `json:"ended_by"`
				Caller  struct {
					CallID string `json:"call_id"`
				}
			}
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				f.t.Errorf("record %q: %v", line, err)
			}
			records[r.Caller.CallID] = append(records[r.Caller.CallID], r.ID+" "+r.Node+" "+r.Ended+" "+r.EndedBy)
		}
	}
	for _, c := range calls {
		list := records[c.legs[0].CallID]
		want := 1
		if live[c.legs[0].CallID] != nil {
			want = 0
		}
		f.note(fmt.Sprintf("records %d of %d", len(list), want))
		if len(list) != want {
			f.t.Logf("%d records of a call that should have %d (%s at %s): %q", len(list), want, c.how, clock(c.left), list)
		}
	}
}

// history is the end of what the phones were sent.
func history(c *course) string {
	var b strings.Builder
	for i, leg := range c.legs {
		fmt.Fprintf(&b, "leg %d %s:", i, leg.CallID)
		all := leg.Received()
		for _, r := range all[max(0, len(all)-12):] {
			again := ""
			if r.Retransmission {
				again = " again"
			}
			fmt.Fprintf(&b, "\n  %s %s %d from %s%s", clock(r.At), r.Method, r.CSeq, asker(r), again)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// clock is a time of day as the logs have it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
