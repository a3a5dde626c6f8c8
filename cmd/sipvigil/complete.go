package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

const (
	completeTime = 2 * time.Second // a shell waits
	mostComplete = 1000            // what it is told of
)

// complete names the values of a flag to the shell.
func complete(cmd *cobra.Command, flag string, values ...cobra.Completion) {
	completeBy(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func completeBy(cmd *cobra.Command, flag string, values cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, values); err != nil {
		panic(err) // there is no such flag
	}
}

// completeNames is complete for the flags --trunk and --node, whose values the
// server knows.
func (t *tool) completeNames(cmd *cobra.Command) {
	for flag, names := range map[string]func(context.Context, *client) []cobra.Completion{"trunk": knownTrunks, "node": knownNodes} {
		if cmd.Flags().Lookup(flag) != nil {
			completeBy(cmd, flag, t.asked(names))
		}
	}
}

// asked names what the server tells. One that cannot be reached has nothing to
// say: a shell has no place for errors.
func (t *tool) asked(names func(context.Context, *client) []cobra.Completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c, err := t.client(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.close()
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
		defer cancel()
		return names(ctx, c), cobra.ShellCompDirectiveNoFileComp
	}
}

// first is for a command with one argument, or whose second is one of words.
func first(names cobra.CompletionFunc, words ...cobra.Completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return names(cmd, args, begin)
		case 1:
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// knownCalls are the ids of calls that go on, with who speaks to whom.
func knownCalls(ctx context.Context, c *client) (list []cobra.Completion) {
	l, err := c.list(ctx, make(url.Values), mostComplete)
	if err != nil {
		return nil
	}
	for _, raw := range l.items {
		var call web.Call
		if json.Unmarshal(raw, &call) == nil {
			list = append(list, cobra.CompletionWithDesc(clean(call.ID), clean(party(call.Caller.URI)+" → "+party(call.Callee.URI)+", "+status(&call))))
		}
	}
	return list
}

func knownTrunks(ctx context.Context, c *client) (list []cobra.Completion) {
	names, err := c.trunkNames(ctx)
	if err != nil {
		return nil
	}
	for _, name := range names {
		list = append(list, clean(name))
	}
	return list
}

func knownNodes(ctx context.Context, c *client) (list []cobra.Completion) {
	var nodes web.Nodes
	if err := c.do(ctx, completeTime, http.MethodGet, "/api/v1/nodes", &nodes); err != nil {
		return nil
	}
	for i := range nodes.Nodes {
		list = append(list, cobra.CompletionWithDesc(clean(nodes.Nodes[i].Name), clean(nodes.Nodes[i].State)))
	}
	return list
}
