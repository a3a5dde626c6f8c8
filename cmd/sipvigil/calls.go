package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

func (t *tool) calls() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "calls",
		Short: "List, show, probe and hang up calls of a running sipvigil",
		Long: `List, show, probe and hang up calls of a running sipvigil.

STATUS is the state of a call. A confirmed call shows how its legs fare instead,
the worse one if they differ; an ended call shows why it ended. EVIDENCE is how
long ago caller/callee last showed a sign of life.`,
	}
	t.serverFlags(cmd)
	list := t.listCommand("list")
	list.Short = "List calls"
	cmd.RunE, cmd.Args = list.RunE, list.Args
	listFlags(cmd)
	t.completeNames(cmd)
	cmd.AddCommand(list, t.showCommand(), t.hangupCommand(), t.releaseCommand(), t.probeCommand())
	return cmd
}

// serverFlags say whom a command asks, and how it prints the answer.
func (t *tool) serverFlags(cmd *cobra.Command) {
	server := t.getenv("SIPVIGIL_SERVER")
	if server == "" {
		server = defaultServer
	}
	cmd.PersistentFlags().String("server", server, "`URL` of the sipvigil to ask (SIPVIGIL_SERVER)")
	cmd.PersistentFlags().String("token-file", "", "`FILE` that holds the token for that sipvigil (or the token itself in SIPVIGIL_TOKEN)")
	cmd.PersistentFlags().StringP("output", "o", "table", "`FORMAT`: table, wide (nothing is shortened), json, jsonl or csv")
	complete(cmd, "output", formats...)
}

// listFlags are the filters of a list; the server judges their values.
func listFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.String("state", "", "only `STATE`: trying, early, confirmed, ending or terminated (default: all but terminated)")
	fs.String("liveness", "", "only `LIVENESS`: unproven, alive, reachable, suspect, gone, silent or unsupported")
	fs.String("trunk", "", "only from or to trunk `NAME`")
	fs.String("number", "", "only with this `TEXT` in a URI, or this Call-ID")
	fs.Bool("held", false, "only those that the brake lets go on although silent")
	fs.String("node", "", "only of node `NAME`")
	fs.String("older", "", "only begun at least `D` ago, such as 2h")
	fs.Int("limit", 0, "at most `N` calls in all (default: all)")
	watchFlag(cmd)
	complete(cmd, "state", "trying", "early", "confirmed", "ending", "terminated")
	complete(cmd, "liveness", "unproven", "alive", "reachable", "suspect", "gone", "silent", "unsupported")
}

// watchFlag is for a list that askAgain shows.
func watchFlag(cmd *cobra.Command) {
	cmd.Flags().Bool("watch", false, "show the list again when something changes, until Ctrl-C")
}

func (t *tool) listCommand(name string) *cobra.Command {
	cmd := &cobra.Command{Use: name, Args: arguments(0, 0)}
	listFlags(cmd)
	t.completeNames(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		limit, err := cmd.Flags().GetInt("limit")
		if err == nil && limit < 0 {
			err = fmt.Errorf("--limit: %d is below 0", limit)
		}
		query := make(url.Values)
		for _, name := range []string{"state", "liveness", "trunk", "number", "node", "older"} {
			if v := cmd.Flag(name).Value.String(); v != "" {
				query.Set(name, v)
			}
		}
		if held, _ := cmd.Flags().GetBool("held"); held {
			query.Set("held", "true")
		}
		return t.askAgain(cmd, err, func(ctx context.Context, c *client) (report, error) {
			l, err := c.list(ctx, query, limit)
			if err != nil {
				return report{}, err
			}
			if l.partial {
				fmt.Fprintln(t.stderr, "sipvigil: the store or a node cannot be reached: calls of other nodes are missing")
			}
			if l.more {
				fmt.Fprintf(t.stderr, "sipvigil: there are more than these %d calls\n", len(l.items))
			}
			return reportCalls(l)
		})
	}
	return cmd
}

func (t *tool) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show everything about one call, named by its id or by a Call-ID",
		Args:  arguments(1, 1),

		ValidArgsFunction: first(t.asked(knownCalls)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.ask(cmd, nil, func(ctx context.Context, c *client) (report, error) {
				body, err := c.show(ctx, args[0])
				if err != nil {
					return report{}, err
				}
				events, err := c.events(ctx, args[0])
				if err != nil { // only the node that has the call knows them
					fmt.Fprintf(t.stderr, "sipvigil: what happened to it is not known: %v\n", err)
				}
				return reportCall(body, events)
			})
		},
	}
}

func (t *tool) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release",
		Short: "End the calls that the brake holds now, one after the other",
		Long: `End the calls that the brake holds now, one after the other: those of all nodes,
or of one. The exit code is 1 when a node could not be asked.`,
		Args: arguments(0, 0),
	}
	reason := cmd.Flags().String("reason", "", "`TEXT` for the log of the server")
	node := cmd.Flags().String("node", "", "only those of the node `NAME`")
	t.completeNames(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var done web.Released
		err := t.ask(cmd, nil, func(ctx context.Context, c *client) (report, error) {
			body, err := c.release(ctx, *reason, *node)
			if err != nil {
				return report{}, err
			}
			if err := json.Unmarshal(body, &done); err != nil {
				return report{}, unreadable(err)
			}
			return reportRelease(body, &done), nil
		})
		if err != nil {
			return err
		}
		return releasedAll(&done)
	}
	return cmd
}

// releasedAll is nil when every node was asked.
func releasedAll(done *web.Released) error {
	var faults []error
	for _, n := range done.Nodes {
		if n.Failed != "" {
			faults = append(faults, failed(errors.New(clean(n.Failed))))
		}
	}
	if done.Partial {
		faults = append(faults, failed(errors.New("the store cannot be reached: calls of other nodes are left alone")))
	}
	return errors.Join(faults...)
}

func (t *tool) probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "probe ID",
		Short: "Ask both legs of a call now whether they are still there",
		Long: `Ask both legs of a call now whether they are still there.

The exit code is 0 when both legs answered 200, 1 when both answered but not
both with 200, 3 when a leg did not answer or could not be asked.`,
		Args: arguments(1, 1),

		ValidArgsFunction: first(t.asked(knownCalls)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p web.Probed
			err := t.ask(cmd, nil, func(ctx context.Context, c *client) (report, error) {
				body, err := c.probe(ctx, args[0])
				if err != nil {
					return report{}, err
				}
				if err := json.Unmarshal(body, &p); err != nil {
					return report{}, unreadable(err)
				}
				return reportProbe(body, &p), nil
			})
			if err != nil {
				return err
			}
			return probed(&p)
		},
	}
}

// probed is nil when both legs answered 200.
func probed(p *web.Probed) error {
	legs := []web.Answer{p.Caller, p.Callee}
	for i, side := range []string{"caller", "callee"} {
		if legs[i].Kind != "answered" {
			return exitError{exitNoAnswer, fmt.Errorf("no answer of the %s: %s", side, clean(legs[i].Kind))}
		}
	}
	for i, side := range []string{"caller", "callee"} {
		if legs[i].Status != 200 {
			return failed(fmt.Errorf("the %s answered %d", side, legs[i].Status))
		}
	}
	return nil
}

// client talks to the server that is named on the command line. faults are what
// is known to be wrong with the flags already.
func (t *tool) client(cmd *cobra.Command, faults ...error) (*client, error) {
	c, err := newClient(cmd.Flag("server").Value.String())
	token, tokenErr := t.token(cmd)
	if err := errors.Join(append(faults, err, tokenErr)...); err != nil {
		return nil, usage(err)
	}
	c.token = token
	return c, nil
}

// ask sends a request to the server that is named on the command line, and
// prints what came back in the format that is. wrong is what is known to be
// wrong with the flags already.
func (t *tool) ask(cmd *cobra.Command, wrong error, request func(context.Context, *client) (report, error)) error {
	format := cmd.Flag("output").Value.String()
	c, err := t.client(cmd, wrong, checkFormat(format))
	if err != nil {
		return err
	}
	defer c.close()
	return t.once(cmd.Context(), c, format, request)
}

func (t *tool) once(ctx context.Context, c *client, format string, request func(context.Context, *client) (report, error)) error {
	r, err := request(ctx, c)
	if err != nil {
		return err
	}
	if err := r.print(t.stdout, format, t.terminal, t.now()); err != nil {
		return failed(fmt.Errorf("write: %w", err))
	}
	return nil
}

func unreadable(err error) error {
	return usage(fmt.Errorf("the answer cannot be read: %w\nserver and tool may be of different versions", err))
}
