package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/web"
)

// endings are the reasons for which calls end, as shells complete them.
func endings() (list []cobra.Completion) {
	for _, r := range store.Reasons() {
		list = append(list, string(r))
	}
	return list
}

func (t *tool) cdrs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cdrs",
		Short: "List and search the records of calls that have ended",
		Long: `List and search the records of calls that have ended, the newest first.

With Redis these are those of all nodes, without it the last 10,000 of the node
that is asked; older ones are in its CDR file. BILLED is from the answer to the
end, PROVEN from the answer to the last sign of life of the leg that fell silent
first.`,
		Args: arguments(0, 0),
	}
	t.serverFlags(cmd)
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.String("number", "", "only with this `TEXT` in a URI, or of this call by its id or a Call-ID")
	fs.String("trunk", "", "only from or to trunk `NAME`")
	fs.String("node", "", "only of node `NAME`")
	fs.String("ended-by", "", "only ended by `REASON`, such as callee-silent")
	fs.String("since", "", "only ended since `TIME`, such as 2026-03-01T12:00:00Z, or 2h for two hours ago")
	fs.String("until", "", "only ended before `TIME`")
	limit := fs.Int("limit", 100, "at most `N` records, 0 for all")
	watchFlag(cmd)
	complete(cmd, "ended-by", endings()...)
	t.completeNames(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var faults []error
		if *limit < 0 {
			faults = append(faults, fmt.Errorf("--limit: %d is below 0", *limit))
		}
		query := make(url.Values)
		for param, flag := range map[string]string{"number": "number", "trunk": "trunk", "node": "node", "ended_by": "ended-by"} {
			if v := cmd.Flag(flag).Value.String(); v != "" {
				query.Set(param, v)
			}
		}
		for _, name := range []string{"since", "until"} {
			at, err := t.pointInTime(cmd.Flag(name).Value.String())
			if err != nil {
				faults = append(faults, fmt.Errorf("--%s: %w", name, err))
			} else if at != "" {
				query.Set(name, at)
			}
		}
		return t.askAgain(cmd, errors.Join(faults...), func(ctx context.Context, c *client) (report, error) {
			query.Del("cursor")
			l, err := c.pages(ctx, "cdrs", query, *limit)
			if err != nil {
				return report{}, err
			}
			if l.more {
				fmt.Fprintf(t.stderr, "sipvigil: there are more than these %d records\n", len(l.items))
			}
			return reportCDRs(l)
		})
	}
	return cmd
}

// pointInTime is a time as the server takes it, that was given as one or as how long
// ago it was.
func (t *tool) pointInTime(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return t.now().Add(-d).UTC().Format(time.RFC3339), nil
	}
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return "", fmt.Errorf("%q is neither a time such as 2026-03-01T12:00:00Z nor a length of time such as 2h", text)
	}
	return text, nil
}

func reportCDRs(l listing) (report, error) {
	records := make([]supervisor.CDR, len(l.items))
	header, _ := web.Columns(supervisor.CDR{})
	rows := [][]string{header}
	for i, raw := range l.items {
		if err := json.Unmarshal(raw, &records[i]); err != nil {
			return report{}, unreadable(err)
		}
		_, row := web.Columns(records[i])
		rows = append(rows, row)
	}
	whole := map[string]any{"cdrs": append([]json.RawMessage{}, l.items...)}
	return report{whole, l.items, rows, func(w io.Writer, on terminal, _ time.Time) error {
		return cdrsTable(records).print(w, on)
	}}, nil
}

func cdrsTable(records []supervisor.CDR) table {
	t := table{columns: []column{
		{name: "ENDED"},
		{name: "BY", least: 15},
		{name: "FROM", least: 11, drop: 1},
		{name: "TO", least: 11, drop: 2},
		{name: "BILLED"},
		{name: "PROVEN", drop: 3},
		{name: "IN", least: 6, drop: 4},
		{name: "OUT", least: 6, drop: 5},
		{name: "NODE", least: 6, drop: 6},
		{name: "ID", drop: 7},
	}}
	for i := range records {
		r := &records[i]
		ended := r.Ended
		if at, err := time.Parse(time.RFC3339, ended); err == nil {
			ended = at.UTC().Format(time.RFC3339)
		}
		billed, proven := "-", "-"
		if r.Answered != "" {
			billed, proven = seconds(r.Billed), seconds(r.Proven)
		}
		t.rows = append(t.rows, []string{clean(ended), clean(r.EndedBy), clean(party(r.Caller.URI)), clean(party(r.Callee.URI)),
			billed, proven, clean(r.TrunkIn), clean(r.TrunkOut), clean(r.Node), clean(r.ID)})
		t.colours = append(t.colours, endColour(r.EndedBy))
	}
	return t
}

func seconds(n float64) string { return length(time.Duration(n * float64(time.Second))) }
