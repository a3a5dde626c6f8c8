package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

func (t *tool) trunkReconcile() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reconcile NAME",
		Short: "Compare the calls of a trunk with what its carrier believes in",
		Long: `Compare the calls of a trunk with what its carrier believes in.

With --csv, a list of the carrier's Call-IDs, it shows which calls only one side
has. The list has one Call-ID a line, or a column of them that is named in the
first line: call_id, call-id or callid in any spelling, else name it with
--column. Columns are separated by commas, semicolons or tabs; - is standard
input. Take the list as shortly before as you can: what began or ended since
shows up, too.

With --carrier-count, when the carrier tells only how many channels are in use,
it shows which calls are the likeliest to be on one side only: those of ours
whose far end is not proven to be there, and those whose BYE the carrier did not
confirm, as far as the nodes remember them.

The exit code is 0 when both sides agree, 1 when they do not.`,
		Args: arguments(1, 1),

		ValidArgsFunction: first(t.asked(knownTrunks)),
	}
	count := cmd.Flags().Int("carrier-count", -1, "`N` channels are in use, as the carrier says")
	file := cmd.Flags().String("csv", "", "`FILE` with the carrier's Call-IDs, - for standard input")
	column := cmd.Flags().String("column", "", "`NAME` of the column with the Call-IDs")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		counted := cmd.Flags().Changed("carrier-count")
		var wrong error
		switch {
		case counted == (*file != ""):
			wrong = errors.New("give one of --carrier-count and --csv")
		case counted && *count < 0:
			wrong = fmt.Errorf("--carrier-count: %d is below 0", *count)
		case *column != "" && *file == "":
			wrong = errors.New("--column is for --csv")
		}
		var theirs []string
		if wrong == nil && !counted {
			theirs, wrong = readCallIDs(cmd.InOrStdin(), *file, *column)
		}
		var differ string
		err := t.ask(cmd, wrong, func(ctx context.Context, c *client) (report, error) {
			s, err := c.sides(ctx, args[0], counted)
			if err != nil {
				return report{}, err
			}
			if s.partial {
				fmt.Fprintln(t.stderr, "sipvigil: not all nodes can be reached: calls that ended at others are missing")
			}
			if counted {
				s.count(*count)
			} else {
				s.match(theirs)
			}
			differ = s.verdict()
			return s.report()
		})
		if err == nil && differ != "" {
			err = failed(errors.New(differ))
		}
		return err
	}
	return cmd
}

// sides is what both sides believe in.
type sides struct {
	Trunk   string `json:"trunk"`
	Ours    int    `json:"ours"`    // channels that our calls use
	Carrier int    `json:"carrier"` // channels that the carrier's calls use
	Both    int    `json:"both"`    // known to be on both sides
	// Calls that only one side has, or that are the likeliest to be so.
	Only []lone `json:"only"`

	channels []lone // ours, one for each leg at the trunk
	unproven []lone // ended by us, but the carrier has not confirmed that
	partial  bool   // of these some may be missing
}

// lone is a channel that one side has.
type lone struct {
	Side     string   `json:"side"` // ours or carrier
	CallID   string   `json:"call_id"`
	Call     string   `json:"call"`  // our id of it
	State    string   `json:"state"` // how it fares here, or why it ended
	Started  web.Time `json:"started,omitzero"`
	Evidence web.Time `json:"evidence,omitzero"` // when the carrier last showed a sign of life
	Number   string   `json:"number"`            // of the other party
	Sure     bool     `json:"sure"`              // it is not on the other side; else that is only likely
}

// The values of lone.Side.
const (
	ours     = "ours"
	carriers = "carrier"
)

// sides reads the channels of a trunk, of all nodes.
func (c *client) sides(ctx context.Context, trunk string, ended bool) (*sides, error) {
	s := &sides{Trunk: trunk, Only: []lone{}}
	names, err := c.trunkNames(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, trunk) {
		return nil, failed(fmt.Errorf("%s has no trunk %q, there are %s", c.name, trunk, clean(strings.Join(names, ", "))))
	}
	l, err := c.list(ctx, url.Values{"trunk": {trunk}}, 0)
	switch {
	case err != nil:
		return nil, err
	case l.partial:
		return nil, failed(fmt.Errorf("%s cannot reach the store: the calls of other nodes are not known, and nothing can be compared", c.name))
	}
	if s.channels, err = channelsAt(trunk, l.items); err != nil || !ended {
		return s, err
	}
	if l, err = c.list(ctx, url.Values{"trunk": {trunk}, "state": {"terminated"}}, 0); err != nil {
		return nil, err
	}
	s.partial = l.partial
	legs, err := channelsAt(trunk, l.items)
	for _, leg := range legs {
		if leg.State != "" {
			s.unproven = append(s.unproven, leg)
		}
	}
	return s, err
}

// trunkNames are those of the server.
func (c *client) trunkNames(ctx context.Context) ([]string, error) {
	var list web.Trunks
	if err := c.do(ctx, shortTime, "GET", "/api/v1/trunks", &list); err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Trunks {
		names = append(names, list.Trunks[i].Name)
	}
	return names, nil
}

// channelsAt are the legs of calls at a trunk. Of calls that have ended, the
// state is empty where the far end has confirmed it.
func channelsAt(trunk string, calls []json.RawMessage) ([]lone, error) {
	var all []lone
	for _, raw := range calls {
		var c web.Call
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, unreadable(err)
		}
		add := func(at, other *web.Leg) {
			state := at.Liveness
			switch {
			case c.State == "terminated" && at.Released == "unconfirmed":
				state = "ended by " + c.EndedBy + ", release " + at.Released
			case c.State == "terminated":
				state = ""
			case c.State != "confirmed":
				state = c.State
			}
			all = append(all, lone{Side: ours, CallID: at.CallID, Call: c.ID, State: state, Started: c.Started,
				Evidence: at.LastAlive, Number: party(other.URI)})
		}
		if c.TrunkIn == trunk {
			add(&c.Caller, &c.Callee)
		}
		if c.TrunkOut == trunk {
			add(&c.Callee, &c.Caller)
		}
	}
	return all, nil
}

// match compares with the carrier's Call-IDs.
func (s *sides) match(theirs []string) {
	s.Ours, s.Carrier = len(s.channels), len(theirs)
	listed := make(map[string]bool, len(theirs))
	for _, id := range theirs {
		listed[id] = true
	}
	for _, ch := range s.channels {
		if listed[ch.CallID] {
			delete(listed, ch.CallID)
			s.Both++
			continue
		}
		ch.Sure = true
		s.Only = append(s.Only, ch)
	}
	for _, id := range theirs {
		if listed[id] {
			s.Only = append(s.Only, lone{Side: carriers, CallID: id, Sure: true})
		}
	}
}

// doubtful are the states of a leg in which its far end is not proven to be
// there, the worst first.
var doubtful = []string{"silent", "gone", "suspect", "unsupported", "unproven", "reachable"}

// count compares with the number of the carrier's channels.
func (s *sides) count(theirs int) {
	s.Ours, s.Carrier = len(s.channels), theirs
	s.Both = min(s.Ours, s.Carrier)
	switch {
	case s.Ours > s.Carrier:
		worst := slices.DeleteFunc(slices.Clone(s.channels), func(c lone) bool { return !slices.Contains(doubtful, c.State) })
		slices.SortStableFunc(worst, func(a, b lone) int {
			return cmp.Or(slices.Index(doubtful, a.State)-slices.Index(doubtful, b.State), a.Evidence.Compare(b.Evidence.Time))
		})
		s.Only = append(s.Only, worst...)
	case s.Carrier > s.Ours:
		for _, ch := range s.unproven {
			ch.Side = carriers
			s.Only = append(s.Only, ch)
		}
	}
}

// verdict says how the sides differ, "" when they do not.
func (s *sides) verdict() string {
	n, more := s.Ours-s.Carrier, "here"
	if n < 0 {
		n, more = -n, "at the carrier"
	}
	sure := 0
	for _, one := range s.Only {
		if one.Sure {
			sure++
		}
	}
	switch {
	case sure > 0:
		return fmt.Sprintf("trunk %s: %d here, %d at the carrier, %d calls are on one side only", clean(s.Trunk), s.Ours, s.Carrier, sure)
	case n > 0:
		return fmt.Sprintf("trunk %s: %d here, %d at the carrier, %d more %s", clean(s.Trunk), s.Ours, s.Carrier, n, more)
	default:
		return ""
	}
}

func (s *sides) report() (report, error) {
	rows := [][]string{{"side", "call_id", "call", "state", "started", "evidence", "number", "sure"}}
	var items []json.RawMessage
	for i := range s.Only {
		o := &s.Only[i]
		raw, err := json.Marshal(o)
		if err != nil {
			return report{}, err
		}
		items = append(items, raw)
		rows = append(rows, []string{o.Side, web.Inert(o.CallID), o.Call, o.State, o.Started.Stamp(), o.Evidence.Stamp(), web.Inert(o.Number), fmt.Sprint(o.Sure)})
	}
	return report{s, items, rows, func(w io.Writer, on terminal, now time.Time) error { return s.table(now).print(w, on) }}, nil
}

func (s *sides) table(now time.Time) table {
	t := table{columns: []column{{name: "ONLY"}, {name: "CALL-ID", least: 16}, {name: "STATE", least: 10}, {name: "AGE"},
		{name: "EVIDENCE", drop: 2}, {name: "NUMBER", least: 8, drop: 3}, {name: "CALL", least: 12, drop: 1}}}
	for i := range s.Only {
		o := &s.Only[i]
		side := o.Side
		if !o.Sure {
			side += "?"
		}
		t.rows = append(t.rows, []string{side, clean(o.CallID), clean(cmp.Or(o.State, "-")), ago(o.Started, now), ago(o.Evidence, now), clean(o.Number), clean(o.Call)})
	}
	return t
}
