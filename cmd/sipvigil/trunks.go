package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

func (t *tool) trunks() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trunks",
		Short: "List the trunks that a running sipvigil watches, and their addresses",
		Long: `List the trunks that a running sipvigil watches, and below each its addresses.

STATE of an address is up, down or unknown (nothing has come back yet), that of
a trunk also partial (some of its addresses are down). SINCE is for how long,
RTT how long the last answer took, LAST what was seen last, NEXT when it is
asked again. Trunks without monitor in the configuration are not watched.`,
		Args: cobra.NoArgs,
	}
	t.serverFlags(cmd)
	cmd.AddCommand(t.trunkMaintenance())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return t.ask(cmd, nil, func(ctx context.Context, c *client) (report, error) {
			var body json.RawMessage
			if err := c.do(ctx, shortTime, http.MethodGet, "/api/v1/trunks", &body); err != nil {
				return report{}, err
			}
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
	header, _ := flatten("", reflect.ValueOf(web.Place{}))
	rows := [][]string{append([]string{"trunk", "trunk_state"}, header...)}
	for i, raw := range list.Trunks {
		if err := json.Unmarshal(raw, &trunks[i]); err != nil {
			return report{}, unreadable(err)
		}
		for _, a := range trunks[i].Addresses {
			_, row := flatten("", reflect.ValueOf(a))
			rows = append(rows, append([]string{trunks[i].Name, trunks[i].State}, row...))
		}
	}
	return report{body, list.Trunks, rows, func(w io.Writer, width int, now time.Time) error {
		return trunksTable(trunks, now).print(w, width)
	}}, nil
}

func trunksTable(trunks []web.Trunk, now time.Time) table {
	t := table{columns: []column{{name: "TRUNK", least: 12}, {name: "STATE"}, {name: "SINCE"}, {name: "RTT", drop: 2}, {name: "LAST", least: 8, drop: 1}, {name: "NEXT", drop: 3}}}
	for i := range trunks {
		k := &trunks[i]
		t.rows = append(t.rows, []string{clean(k.Name), inState(k.State, k.Maintenance), ago(k.Since, now), "", "", ""})
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
			t.rows = append(t.rows, []string{"  " + clean(at), clean(a.State), ago(a.Since, now), rtt(a.RTT), clean(a.Last), next})
		}
	}
	return t
}
