package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

func (t *tool) progress() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "progress",
		Short: "Show how far those things are that take a while",
		Long: `Show how far those things are that take a while, on any of the nodes that share
the store, and those that have ended within the last minute.

WHAT is start (calls of an earlier run are read back), adoption (of the calls of
a node that is gone), hangup (of a batch), release (of what the brake held), or
drain (of a trunk or node in maintenance, or a node that stops). DONE is how many
calls that was done to, LEFT how long the rest takes if it goes on like that.`,
		Args: arguments(0, 0),
	}
	t.serverFlags(cmd)
	watchFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return t.askAgain(cmd, nil, func(ctx context.Context, c *client) (report, error) {
			var body json.RawMessage
			if err := c.do(ctx, shortTime, http.MethodGet, "/api/v1/progress", &body); err != nil {
				return report{}, err
			}
			return reportProgress(body)
		})
	}
	return cmd
}

func reportProgress(body json.RawMessage) (report, error) {
	var raw struct {
		Progress []json.RawMessage `json:"progress"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return report{}, unreadable(err)
	}
	list := make([]web.Progress, len(raw.Progress))
	header, _ := web.Columns(web.Progress{})
	rows := [][]string{header}
	for i := range list {
		if err := json.Unmarshal(raw.Progress[i], &list[i]); err != nil {
			return report{}, unreadable(err)
		}
		_, row := web.Columns(list[i])
		rows = append(rows, row)
	}
	return report{body, raw.Progress, rows, func(w io.Writer, on terminal, now time.Time) error {
		return progressTable(list, now).print(w, on)
	}}, nil
}

func progressTable(list []web.Progress, now time.Time) table {
	t := table{columns: []column{{name: "WHAT"}, {name: "OF", least: 12}, {name: "NODE", least: 8, drop: 2}, {name: "DONE"}, {name: "TOOK"},
		{name: "LEFT", drop: 1}}}
	for i := range list {
		p := &list[i]
		until, left, colour := now, rest(p, now), ""
		if !p.Ended.IsZero() {
			until, left = p.Ended.Time, "ended"
			if p.Done < p.Total {
				colour = yellow
			}
		}
		t.rows = append(t.rows, []string{clean(p.What), clean(p.Of), clean(p.Node), part(p.Done, p.Total), ago(p.Began, until), left})
		t.colours = append(t.colours, colour)
	}
	return t
}

// part is how many are done, of how many if that is known.
func part(done, total int) string {
	if total == 0 {
		return fmt.Sprint(done)
	}
	return fmt.Sprintf("%d/%d, %d%%", done, total, 100*done/total)
}

// rest is how long something takes yet if it goes on as it did.
func rest(p *web.Progress, now time.Time) string {
	took := now.Sub(p.Began.Time)
	if p.Done <= 0 || p.Total < p.Done || took <= 0 {
		return "-"
	}
	return length(time.Duration(float64(took) / float64(p.Done) * float64(p.Total-p.Done)))
}
