package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sipvigil/supervisor"
	"sipvigil/supervisor/web"
)

var eventKinds = []string{"call", "ended", "trunk", "node", "store", "brake", "batch", "progress", "overview", "reset"}

func (t *tool) events() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happens at a running sipvigil, as it happens",
		Long: `Show what happens at a running sipvigil, as it happens, until Ctrl-C: calls that
begin, change and end, trunks, nodes, the store and the brake. A connection that
breaks is made anew, and what happened meanwhile is shown then.`,
		Args: arguments(0, 0),
	}
	t.serverFlags(cmd)
	only := cmd.Flags().StringSlice("type", nil, "only these `TYPES`: "+strings.Join(eventKinds, ", ")+" (default: all but overview)")
	complete(cmd, "type", eventKinds...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var faults []error
		for _, kind := range *only {
			if !slices.Contains(eventKinds, kind) {
				faults = append(faults, fmt.Errorf("--type: %q is none of %s", kind, strings.Join(eventKinds, ", ")))
			}
		}
		format := cmd.Flag("output").Value.String()
		if format == "csv" {
			faults = append(faults, errors.New("--output: events have no columns; use table or jsonl"))
		}
		c, err := t.client(cmd, append(faults, checkFormat(format))...)
		if err != nil {
			return err
		}
		defer c.close()
		away := false
		return c.follow(cmd.Context(), func(e streamed) error {
			if len(*only) == 0 && e.Event == "overview" || len(*only) > 0 && !slices.Contains(*only, e.Event) {
				return nil
			}
			return t.printEvent(e, format)
		}, func(err error) {
			if err != nil {
				t.lost(err)
			} else if away {
				fmt.Fprintf(t.stderr, "sipvigil: %s answers again\n", c.name)
			}
			away = err != nil
		})
	}
	return cmd
}

// lost says why a server does not answer any more, and that it is tried again.
func (t *tool) lost(err error) {
	first, _, _ := strings.Cut(err.Error(), "\n")
	fmt.Fprintf(t.stderr, "sipvigil: %s; trying again\n", clean(first))
}

func (t *tool) printEvent(e streamed, format string) error {
	var line string
	if format == "table" || format == "wide" {
		text, err := eventText(e)
		if err != nil {
			return err
		}
		line = fmt.Sprintf("%s  %-8s  %s", t.now().Format("15:04:05"), clean(e.Event), text)
		if t.width > 0 && format == "table" {
			line = shorten(line, t.width)
		}
		line = t.paint(eventColour(e), line)
	} else {
		b, err := json.Marshal(e)
		if err != nil {
			return unreadable(err)
		}
		line = string(b)
	}
	if _, err := io.WriteString(t.stdout, line+"\n"); err != nil {
		return failed(fmt.Errorf("write: %w", err))
	}
	return nil
}

// eventColour is that of an event that needs a look.
func eventColour(e streamed) string {
	var of struct {
		web.Call
		Engaged bool `json:"engaged"`
	}
	if json.Unmarshal(e.Data, &of) != nil {
		return ""
	}
	switch e.Event {
	case "call":
		return colour(&of.Call)
	case "ended":
		return endColour(of.EndedBy)
	case "trunk", "node", "store":
		return stateColour(of.State)
	case "brake":
		if of.Engaged {
			return red
		}
	}
	return ""
}

// eventText is an event on one line.
func eventText(e streamed) (string, error) {
	switch e.Event {
	case "call":
		var c web.Call
		if err := json.Unmarshal(e.Data, &c); err != nil {
			return "", unreadable(err)
		}
		text := fmt.Sprintf("%s  %s → %s  %s", c.ID, party(c.Caller.URI), party(c.Callee.URI), status(&c))
		for _, l := range []struct {
			side string
			leg  *web.Leg
		}{{"caller", &c.Caller}, {"callee", &c.Callee}} {
			if l.leg.LastEvidence != "" {
				text += fmt.Sprintf("  %s: %s", l.side, l.leg.LastEvidence)
			}
			if l.leg.Held != "" {
				text += ", " + l.leg.Held
			}
		}
		return clean(text), nil
	case "ended":
		var r supervisor.CDR
		if err := json.Unmarshal(e.Data, &r); err != nil {
			return "", unreadable(err)
		}
		text := fmt.Sprintf("%s  %s → %s  %s", r.ID, party(r.Caller.URI), party(r.Callee.URI), r.EndedBy)
		if r.Text != "" {
			text += ", " + r.Text
		}
		return clean(text), nil
	case "reset":
		var r web.Reset
		if err := json.Unmarshal(e.Data, &r); err != nil {
			return "", unreadable(err)
		}
		if r.Node != "" {
			return clean("more may have happened on " + r.Node + " than is shown"), nil
		}
		return "more happened than can be shown", nil
	}
	return fields(e.Data)
}

// fields is an object on one line: what it holds, in its order.
func fields(object json.RawMessage) (string, error) {
	dec := json.NewDecoder(strings.NewReader(string(object)))
	if _, err := dec.Token(); err != nil {
		return "", unreadable(err)
	}
	var parts []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return "", unreadable(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return "", unreadable(err)
		}
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		if text != "" {
			parts = append(parts, fmt.Sprintf("%v: %s", key, text))
		}
	}
	return clean(strings.Join(parts, ", ")), nil
}
