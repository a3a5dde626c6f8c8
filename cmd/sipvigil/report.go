package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"sipvigil/supervisor/web"
)

var formats = []string{"table", "wide", "json", "jsonl", "csv"}

func checkFormat(format string) error {
	if !slices.Contains(formats, format) {
		return fmt.Errorf("--output: %q is none of %s", format, strings.Join(formats, ", "))
	}
	return nil
}

// report is the answer to a command in all the forms that it can be printed in.
type report struct {
	whole any               // of json
	items []json.RawMessage // of jsonl, one a line
	rows  [][]string        // of csv, below a header
	table func(w io.Writer, on terminal, now time.Time) error
}

func (r *report) print(w io.Writer, format string, on terminal, now time.Time) error {
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r.whole)
	case "jsonl":
		var b bytes.Buffer
		for _, item := range r.items {
			if err := json.Compact(&b, item); err != nil {
				return err
			}
			b.WriteByte('\n')
		}
		_, err := w.Write(b.Bytes())
		return err
	case "csv":
		return csv.NewWriter(w).WriteAll(r.rows)
	case "wide":
		return r.table(w, terminal{colour: on.colour}, now)
	default:
		return r.table(w, on, now)
	}
}

func reportCalls(l listing) (report, error) {
	calls := make([]web.Call, len(l.items))
	header, _ := web.Columns(web.Call{})
	rows := [][]string{header}
	for i, raw := range l.items {
		if err := json.Unmarshal(raw, &calls[i]); err != nil {
			return report{}, unreadable(err)
		}
		_, row := web.Columns(calls[i])
		rows = append(rows, row)
	}
	whole := struct {
		Calls   []json.RawMessage `json:"calls"`
		Partial bool              `json:"partial,omitempty"`
	}{l.items, l.partial}
	if whole.Calls == nil {
		whole.Calls = []json.RawMessage{}
	}
	return report{whole, l.items, rows, func(w io.Writer, on terminal, now time.Time) error {
		return callsTable(calls, now).print(w, on)
	}}, nil
}

func reportCall(body json.RawMessage, events []web.Event) (report, error) {
	var c web.Call
	if err := json.Unmarshal(body, &c); err != nil {
		return report{}, unreadable(err)
	}
	header, row := web.Columns(c)
	return report{body, []json.RawMessage{body}, [][]string{header, row}, func(w io.Writer, on terminal, now time.Time) error {
		if err := printCall(w, &c, on, now); err != nil || len(events) == 0 {
			return err
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
		return eventsTable(events).print(w, on)
	}}, nil
}

func reportRelease(body json.RawMessage, held *web.Released) report {
	rows := [][]string{{"calls"}, {strconv.Itoa(held.Calls)}}
	if len(held.Nodes) > 0 {
		rows = [][]string{{"node", "calls", "failed"}}
	}
	for _, n := range held.Nodes {
		rows = append(rows, []string{n.Node, strconv.Itoa(n.Calls), n.Failed})
	}
	return report{body, []json.RawMessage{body}, rows, func(w io.Writer, on terminal, _ time.Time) error {
		text := fmt.Sprintf("%d held calls end now, one after the other, unless they answer meanwhile.\n", held.Calls)
		switch held.Calls {
		case 0:
			text = "No call is held.\n"
		case 1:
			text = "1 held call ends now, unless it answers meanwhile.\n"
		}
		if _, err := io.WriteString(w, text); err != nil || len(held.Nodes) < 2 {
			return err
		}
		t := table{columns: []column{{name: "NODE"}, {name: "CALLS"}}}
		for _, n := range held.Nodes {
			calls := strconv.Itoa(n.Calls)
			if n.Failed != "" {
				calls = "-"
			}
			t.rows = append(t.rows, []string{clean(n.Node), calls})
		}
		return t.print(w, on)
	}}
}

func reportProbe(body json.RawMessage, p *web.Probed) report {
	header, caller := web.Columns(p.Caller)
	_, callee := web.Columns(p.Callee)
	rows := [][]string{
		append([]string{"leg"}, header...), append([]string{"caller"}, caller...), append([]string{"callee"}, callee...),
	}
	return report{body, []json.RawMessage{body}, rows, func(w io.Writer, on terminal, _ time.Time) error {
		return probeTable(p).print(w, on)
	}}
}
