package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

func (t *tool) trunks() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trunks",
		Short: "List the trunks of a running sipvigil, their addresses and their channels",
		Long: `List the trunks of a running sipvigil, and below each its addresses.

STATE of an address is up, down or unknown (nothing has come back yet), that of
a trunk also partial (some of its addresses are down). SINCE is for how long,
RTT how long the last answer took, LAST what was seen last, NEXT when it is
asked again. Trunks without monitor in the configuration are not watched.

CHANNELS is how many are in use on all nodes, and out of how many for trunks with
a capacity. STALE is how many calls may be lost already, because a far end is
suspect, silent or held; list them with calls --trunk NAME and --liveness or
--held. RECLAIMED is how many channels the nodes have given back since they
started because a far end was found dead.`,
		Args: arguments(0, 0),
	}
	t.serverFlags(cmd)
	cmd.AddCommand(t.trunkShow(), t.trunkMaintenance(), t.trunkReconcile())
	watchFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return t.askAgain(cmd, nil, func(ctx context.Context, c *client) (report, error) {
			var body json.RawMessage
			if err := c.do(ctx, shortTime, http.MethodGet, "/api/v1/trunks", &body); err != nil {
				return report{}, err
			}
			t.warn(body)
			return reportTrunks(body)
		})
	}
	return cmd
}

func reportTrunks(body json.RawMessage) (report, error) {
	var list struct {
		Trunks []json.RawMessage `json:"trunks"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return report{}, unreadable(err)
	}
	trunks := make([]web.Trunk, len(list.Trunks))
	for i, raw := range list.Trunks {
		if err := json.Unmarshal(raw, &trunks[i]); err != nil {
			return report{}, unreadable(err)
		}
	}
	return report{body, list.Trunks, trunkRows(trunks), func(w io.Writer, on terminal, now time.Time) error {
		return trunksTable(trunks, now).print(w, on)
	}}, nil
}

// warn says that numbers are too low, if they are.
func (t *tool) warn(body json.RawMessage) {
	var list web.Trunks
	if json.Unmarshal(body, &list) == nil && list.Partial { // what cannot be read is reported elsewhere
		fmt.Fprintln(t.stderr, "sipvigil: not all nodes have answered: what their calls use is missing")
	}
}

// trunkRows are the trunks with a row for each address, or one for none.
func trunkRows(trunks []web.Trunk) [][]string {
	header, none := web.Columns(web.Place{})
	rows := [][]string{slices.Concat([]string{"trunk", "trunk_state"}, header, []string{"in", "out", "capacity_in", "capacity_out",
		"capacity_total", "cps", "suspect", "silent", "held", "reclaimed", "reclaimed_seconds"})}
	for i := range trunks {
		k, u := &trunks[i], web.Usage{}
		if k.Usage != nil {
			u = *k.Usage
		}
		var usage []string
		for _, n := range []int{u.In, u.Out, u.Capacity.In, u.Capacity.Out, u.Capacity.Total, u.Capacity.CPS, u.Suspect, u.Silent, u.Held, u.Reclaimed} {
			usage = append(usage, strconv.Itoa(n))
		}
		usage = append(usage, fmt.Sprint(u.ReclaimedSeconds))
		name := []string{k.Name, k.State}
		for _, a := range k.Addresses {
			_, place := web.Columns(a)
			rows = append(rows, slices.Concat(name, place, usage))
		}
		if len(k.Addresses) == 0 {
			rows = append(rows, slices.Concat(name, none, usage))
		}
	}
	return rows
}

func trunksTable(trunks []web.Trunk, now time.Time) table {
	t := table{columns: []column{{name: "TRUNK", least: 12}, {name: "STATE"}, {name: "SINCE", drop: 4}, {name: "CHANNELS"}, {name: "STALE"}, {name: "RECLAIMED", drop: 5},
		{name: "RTT", drop: 2}, {name: "LAST", least: 8, drop: 1}, {name: "NEXT", drop: 3}}}
	for i := range trunks {
		k := &trunks[i]
		t.rows = append(t.rows, []string{clean(k.Name), inState(k.State, k.Maintenance), ago(k.Since, now), inUse(k.Usage), stale(k.Usage), reclaimed(k.Usage), "", "", ""})
		t.colours = append(t.colours, stateColour(k.State))
		for j := range k.Addresses {
			a := &k.Addresses[j]
			at := a.Transport + " " + a.Address
			if a.Address == "" {
				at = a.Target
			}
			next := "-"
			if !a.Next.IsZero() {
				next = ago(web.Time{Time: now}, a.Next.Time)
			}
			t.rows = append(t.rows, []string{"  " + clean(at), clean(a.State), ago(a.Since, now), "", "", "", rtt(a.RTT), clean(a.Last), next})
			t.colours = append(t.colours, stateColour(a.State))
		}
	}
	return t
}

// inUse is how many channels are in use, out of how many.
func inUse(u *web.Usage) string {
	switch {
	case u == nil:
		return "-"
	case u.Capacity.Total > 0:
		return fmt.Sprintf("%d/%d", u.In+u.Out, u.Capacity.Total)
	case u.Capacity.In > 0 || u.Capacity.Out > 0:
		return fmt.Sprintf("%s in, %s out", of(u.In, u.Capacity.In), of(u.Out, u.Capacity.Out))
	default:
		return strconv.Itoa(u.In + u.Out)
	}
}

// of is a part of so many, 0 for any number.
func of(n, most int) string {
	if most == 0 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d/%d", n, most)
}

func stale(u *web.Usage) string {
	if u == nil {
		return "-"
	}
	return strconv.Itoa(u.Suspect + u.Silent)
}

func reclaimed(u *web.Usage) string {
	if u == nil {
		return "-"
	}
	return strconv.Itoa(u.Reclaimed)
}

func (t *tool) trunkShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show one trunk: its addresses, its channels, what was won back, and whose calls are lost most",
		Args:  arguments(1, 1),

		ValidArgsFunction: first(t.asked(knownTrunks)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.ask(cmd, nil, func(ctx context.Context, c *client) (report, error) {
				var body json.RawMessage
				var list struct {
					Trunks []json.RawMessage `json:"trunks"`
				}
				if err := c.do(ctx, shortTime, http.MethodGet, "/api/v1/trunks", &body); err != nil {
					return report{}, err
				}
				if err := json.Unmarshal(body, &list); err != nil {
					return report{}, unreadable(err)
				}
				t.warn(body)
				var names []string
				for _, raw := range list.Trunks {
					var k web.Trunk
					if err := json.Unmarshal(raw, &k); err != nil {
						return report{}, unreadable(err)
					}
					if k.Name == args[0] {
						return reportTrunk(raw, &k), nil
					}
					names = append(names, k.Name)
				}
				return report{}, failed(fmt.Errorf("%s has no trunk %q, there are %s", c.name, args[0], clean(strings.Join(names, ", "))))
			})
		},
	}
}

func reportTrunk(body json.RawMessage, k *web.Trunk) report {
	return report{body, []json.RawMessage{body}, trunkRows([]web.Trunk{*k}), func(w io.Writer, on terminal, now time.Time) error {
		if err := trunksTable([]web.Trunk{*k}, now).print(w, on); err != nil || k.Usage == nil {
			return err
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
		return usageTable(k.Name, k.Usage).print(w, on)
	}}
}

// usageTable lists what the channels of a trunk are used for, and how to list the
// calls behind each number.
func usageTable(name string, u *web.Usage) table {
	t := table{columns: []column{{name: "CHANNELS"}, {name: "NUMBER"}, {name: "CALLS", least: 10, drop: 1}}}
	add := func(what, number, calls string) { t.rows = append(t.rows, []string{what, number, calls}) }
	list := "sipvigil calls --trunk " + clean(name)
	scope := ""
	if u.AllNodes {
		scope = ", all nodes"
	}
	add("in use by calls from it"+scope, of(u.In, u.Capacity.In), list)
	add("in use by calls to it"+scope, of(u.Out, u.Capacity.Out), list)
	if u.Capacity.Total > 0 {
		add("in use"+scope, of(u.In+u.Out, u.Capacity.Total), list)
	}
	if u.Capacity.CPS > 0 {
		add("calls that may begin in a second", strconv.Itoa(u.Capacity.CPS), "")
	}
	add("suspect calls", strconv.Itoa(u.Suspect), list+" --liveness suspect")
	add("silent calls", strconv.Itoa(u.Silent), list+" --liveness silent")
	add("held calls", strconv.Itoa(u.Held), list+" --held")
	add("reclaimed since the start", strconv.Itoa(u.Reclaimed), list+" --state terminated")
	add("seconds of these after the last sign of life", strconv.FormatFloat(u.ReclaimedSeconds, 'f', 0, 64), "")
	for _, worst := range u.WorstPeers {
		add("found dead at peer "+clean(worst.Name), strconv.Itoa(worst.Legs), "")
	}
	for _, worst := range u.WorstAgents {
		add("found dead with User-Agent "+clean(worst.Name), strconv.Itoa(worst.Legs), "")
	}
	return t
}
