package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

func (t *tool) hangupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hangup ID...",
		Short: "End calls with BYE on both legs",
		Long: `End calls with BYE on both legs. Each is named by its id or by a Call-ID.

Several calls are ended one after the other, and the command waits until all are
and shows how far it is; ending the command ends the waiting only. The exit code
is 1 when a call could not be ended.`,
		Args: arguments(1, anyNumber),

		ValidArgsFunction: t.asked(knownCalls),
	}
	reason := cmd.Flags().String("reason", "", "`TEXT` that is kept with the calls")
	pace := cmd.Flags().Float64("per-second", 10, "of several calls end `N` a second")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return t.hangupMany(cmd, web.BatchRequest{IDs: args, Reason: *reason, PerSecond: *pace})
		}
		return t.ask(cmd, nil, func(ctx context.Context, c *client) (report, error) {
			body, err := c.hangup(ctx, args[0], *reason)
			if err != nil {
				return report{}, err
			}
			return reportHangup(body)
		})
	}
	return cmd
}

// batchPause is how long a batch goes on between two looks.
const batchPause = 500 * time.Millisecond

// hangupMany has a batch of calls ended, and waits for it.
func (t *tool) hangupMany(cmd *cobra.Command, ask web.BatchRequest) error {
	var b web.Batch
	err := t.ask(cmd, nil, func(ctx context.Context, c *client) (report, error) {
		body, err := json.Marshal(ask)
		if err != nil {
			return report{}, err
		}
		var raw json.RawMessage
		look := func(method, path string, body []byte) error {
			if err := c.send(ctx, shortTime, method, path, body, &raw); err != nil {
				return err
			}
			b = web.Batch{}
			if err := json.Unmarshal(raw, &b); err != nil {
				return unreadable(err)
			}
			return nil
		}
		if err := look(http.MethodPost, "/api/v1/calls/hangup", body); err != nil {
			return report{}, err
		}
		m := t.meter()
		defer m.clear()
		for b.State == "running" {
			done := b.Ended + b.Gone + b.Failed
			m.show(fmt.Sprintf("batch %s: %d of %s", clean(b.ID), done, calls(b.Total)), done, b.Total)
			select {
			case <-ctx.Done():
				m.clear()
				return report{}, failed(fmt.Errorf("batch %s goes on; sipvigil progress shows how far it is", clean(b.ID)))
			case <-time.After(batchPause):
			}
			if err := look(http.MethodGet, "/api/v1/batches/"+b.ID, nil); err != nil {
				return report{}, err
			}
		}
		return reportBatch(raw, &b), nil
	})
	switch {
	case err != nil:
		return err
	case b.Failed > 0:
		return failed(fmt.Errorf("calls that could not be ended: %d", b.Failed))
	case b.State == "stopped":
		return failed(errors.New("the batch was stopped"))
	}
	return nil
}

func reportBatch(raw json.RawMessage, b *web.Batch) report {
	rows := [][]string{{"id", "state", "total", "ended", "gone", "failed"},
		{b.ID, b.State, strconv.Itoa(b.Total), strconv.Itoa(b.Ended), strconv.Itoa(b.Gone), strconv.Itoa(b.Failed)}}
	return report{raw, []json.RawMessage{raw}, rows, func(w io.Writer, on terminal, _ time.Time) error {
		tell := fmt.Sprintf("%s being ended; gone already: %d; could not be ended: %d.\n", are(b.Ended), b.Gone, b.Failed)
		if _, err := io.WriteString(w, tell); err != nil || len(b.Failures) == 0 {
			return err
		}
		t := table{columns: []column{{name: "CALL"}, {name: "WHY NOT", least: 12}}}
		for _, f := range b.Failures {
			t.rows = append(t.rows, []string{clean(f.ID), clean(f.Detail)})
		}
		return t.print(w, on)
	}}
}

func are(n int) string {
	if n == 1 {
		return "1 call is"
	}
	return strconv.Itoa(n) + " calls are"
}

func reportHangup(body json.RawMessage) (report, error) {
	var c struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return report{}, unreadable(err)
	}
	return report{body, []json.RawMessage{body}, [][]string{{"id"}, {c.ID}}, func(w io.Writer, _ terminal, _ time.Time) error {
		_, err := fmt.Fprintf(w, "Call %s is being ended.\n", clean(c.ID))
		return err
	}}, nil
}
