package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

func (t *tool) nodes() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes that share the store of a running sipvigil",
		Long: `List the nodes that share the store of a running sipvigil.

STATE is up, draining (it is about to stop), left (it has stopped in order) or
dead (it did not renew its lease). The others adopt the calls of a node that
has left or is dead. SINCE is for how long it has run, SEEN how long ago it
renewed its lease, DOING what takes a while there and how far it is, as
sipvigil progress shows it.`,
		Args: arguments(0, 0),
	}
	t.serverFlags(cmd)
	cmd.AddCommand(t.nodeMaintenance())
	watchFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return t.askAgain(cmd, nil, func(ctx context.Context, c *client) (report, error) {
			var body json.RawMessage
			if err := c.do(ctx, shortTime, http.MethodGet, "/api/v1/nodes", &body); err != nil {
				return report{}, err
			}
			return reportNodes(body)
		})
	}
	return cmd
}

func reportNodes(body json.RawMessage) (report, error) {
	var list struct {
		Nodes []json.RawMessage `json:"nodes"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return report{}, unreadable(err)
	}
	nodes := make([]web.Node, len(list.Nodes))
	header, _ := web.Columns(web.Node{})
	rows := [][]string{header}
	for i, raw := range list.Nodes {
		if err := json.Unmarshal(raw, &nodes[i]); err != nil {
			return report{}, unreadable(err)
		}
		_, row := web.Columns(nodes[i])
		rows = append(rows, row)
	}
	return report{body, list.Nodes, rows, func(w io.Writer, on terminal, now time.Time) error {
		return nodesTable(nodes, now).print(w, on)
	}}, nil
}

func nodesTable(nodes []web.Node, now time.Time) table {
	t := table{columns: []column{{name: "NODE", least: 8}, {name: "STATE"}, {name: "CALLS"}, {name: "SINCE"}, {name: "SEEN"},
		{name: "DOING", least: 12, drop: 1}, {name: "EPOCH", drop: 2}, {name: "ADDRESS", drop: 3}}}
	for i := range nodes {
		n := &nodes[i]
		t.rows = append(t.rows, []string{clean(n.Name), inState(n.State, n.Maintenance), strconv.Itoa(n.Calls), ago(n.Since, now), ago(n.Seen, now),
			clean(n.Doing), strconv.FormatInt(n.Epoch, 10), clean(n.Addr)})
		t.colours = append(t.colours, stateColour(n.State))
	}
	return t
}
