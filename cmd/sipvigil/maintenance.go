package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

// lookAgain is how long a drain goes on between two looks.
const lookAgain = time.Second

func (t *tool) trunkMaintenance() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "maintenance NAME [on|off]",
		Short: "Take a trunk out of service, or put it back; without on or off: show it",
		Long: `Take a trunk out of service, or put it back; without on or off: show it.

No new call goes to a trunk in maintenance, its own calls are refused, and its
OPTIONS get the same answer. Calls that go on are left alone. It holds for all
nodes, and after restarts. With --drain the command waits until no call of the
trunk goes on, and says how many are left; ending it ends the waiting only.`,
		Args: arguments(1, 2),

		ValidArgsFunction: first(t.asked(knownTrunks), "on", "off"),
	}
	drain := cmd.Flags().Bool("drain", false, "wait until its calls have ended")
	cmd.Flags().String("reason", "", "`TEXT` for the log of the server")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return t.maintenance(cmd, "/api/v1/trunks/"+url.PathEscape(args[0])+"/maintenance", args[1:], *drain)
	}
	return cmd
}

func (t *tool) nodeMaintenance() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "maintenance [on|off]",
		Short: "Take a node out of service, or put it back; without on or off: show it",
		Long: `Take a node out of service, or put it back; without on or off: show it.

A node in maintenance refuses new calls, and what monitors it gets the same
answer. Its calls go on and are watched. It holds after restarts. With --drain
the command waits until no call of the node goes on.`,
		Args: arguments(0, 1),

		ValidArgsFunction: first(cobra.FixedCompletions([]cobra.Completion{"on", "off"}, cobra.ShellCompDirectiveNoFileComp)),
	}
	name := cmd.Flags().String("node", "-", "`NAME` of the node, - for the one that answers")
	drain := cmd.Flags().Bool("drain", false, "wait until its calls have ended")
	cmd.Flags().String("reason", "", "`TEXT` for the log of the server")
	t.completeNames(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return t.maintenance(cmd, "/api/v1/nodes/"+url.PathEscape(*name)+"/maintenance", args, *drain)
	}
	return cmd
}

// maintenance shows, or sets and shows, what is at this path.
func (t *tool) maintenance(cmd *cobra.Command, path string, word []string, drain bool) error {
	var wrong error
	body, method := []byte(nil), http.MethodGet
	on := len(word) > 0 && word[0] == "on"
	switch {
	case !on && drain:
		wrong = errors.New("--drain goes with on")
	case on || len(word) > 0 && word[0] == "off":
		method = http.MethodPut
		body, wrong = json.Marshal(web.Maintain{On: &on, Drain: drain, Reason: cmd.Flag("reason").Value.String()})
	case len(word) > 0:
		wrong = fmt.Errorf("%q is neither on nor off", word[0])
	}
	return t.ask(cmd, wrong, func(ctx context.Context, c *client) (report, error) {
		var raw json.RawMessage
		var m web.Maintained
		err := c.send(ctx, shortTime, method, path, body, &raw)
		if err == nil {
			err = json.Unmarshal(raw, &m)
		}
		meter := t.meter()
		defer meter.clear()
		for most := 0; err == nil && drain && m.State == web.Draining; {
			most = max(most, m.Calls)
			meter.show(fmt.Sprintf("%s %s is draining, %s left", m.Scope, clean(m.Name), calls(m.Calls)), most-m.Calls, most)
			select {
			case <-ctx.Done():
				meter.clear()
				return report{}, failed(fmt.Errorf("%s %s stays in maintenance, %s left", m.Scope, clean(m.Name), calls(m.Calls)))
			case <-time.After(lookAgain):
			}
			if err = c.do(ctx, shortTime, http.MethodGet, path, &raw); err == nil {
				err = json.Unmarshal(raw, &m)
			}
		}
		if err != nil {
			return report{}, err
		}
		if drain && m.State != web.Drained {
			return report{}, failed(fmt.Errorf("%s %s is not to be drained any more: it is %s", m.Scope, clean(m.Name), clean(m.State)))
		}
		return reportMaintained(raw, &m), nil
	})
}

func reportMaintained(raw json.RawMessage, m *web.Maintained) report {
	header, row := web.Columns(*m)
	return report{raw, []json.RawMessage{raw}, [][]string{header, row}, func(w io.Writer, on terminal, now time.Time) error {
		t := table{columns: []column{{name: "OF"}, {name: "NAME", least: 8}, {name: "STATE"}, {name: "SINCE"}, {name: "CALLS"}}}
		t.rows = [][]string{{clean(m.Scope), clean(m.Name), clean(m.State), ago(m.Since, now), strconv.Itoa(m.Calls)}}
		return t.print(w, on)
	}}
}

// inState is a state in a list, with what is to be known besides.
func inState(state, maintenance string) string {
	if maintenance == "" {
		return clean(state)
	}
	return clean(state + ", " + maintenance)
}

func calls(n int) string {
	if n == 1 {
		return "1 call"
	}
	return strconv.Itoa(n) + " calls"
}
