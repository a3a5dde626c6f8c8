package web

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// The table of all calls is what the page begins with: 50,000 of them in a few
// megabytes, a batch a line, so that the first are shown while others are on
// their way. Each line is
//
//	{"texts": [TEXT…], "calls": [ROW…]}
//
// and a row an array: id, state, URI of the caller, of the callee, trunk in,
// trunk out, node, started, answered, caller, callee. A leg is an array:
// liveness, misses, last alive, last evidence, strip, why held. Texts that
// repeat are numbers: their place among the texts of all lines so far. Times
// are milliseconds since 1970, 0 for none. The last line is {"end": true}, with
// "partial": true when only this node's calls are there. The parameter node
// leaves the calls of other nodes out.

const (
	batchRows = 400
	tableTime = 25 * time.Second // to write a table to a slow reader
	mostTexts = 1 << 14          // beyond them texts are written out
)

func (s *Server) table(w http.ResponseWriter, r *http.Request) {
	p := parseParams(r.URL.RawQuery)
	node := p.text("node")
	if faults := p.done(); len(faults) > 0 {
		problem(w, http.StatusBadRequest, strings.Join(faults, "; "))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), tableTime)
	defer cancel()
	w.Header().Set("Content-Type", "application/jsonl")
	var out io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			panic(err) // the level is one
		}
		defer z.Close()
		out = z
	}
	t := &tableWriter{out: out, index: make(map[string]int)}
	held := sync.OnceValue(func() map[string]Call { return s.heldElsewhere(r, node) })
	err := s.calls.Rows(ctx, node, func(row *supervisor.Row) bool {
		if s.another(r, row.Node) {
			if c, ok := held()[row.ID]; ok {
				row.Legs[store.Caller].Held, row.Legs[store.Callee].Held = c.Caller.Held, c.Callee.Held
			}
		}
		return t.row(row)
	})
	t.flush()
	end := `{"end":true}` + "\n"
	if errors.Is(err, store.ErrUnavailable) {
		end = `{"end":true,"partial":true}` + "\n"
	} else if err != nil && ctx.Err() == nil {
		s.log.Warn("table of calls is not complete", zap.Error(err))
		return // without the end: the reader sees that something is missing
	}
	if t.err == nil && ctx.Err() == nil {
		io.WriteString(out, end)
	}
}

// heldElsewhere returns the calls that other nodes hold, or one, as far as these
// answer at once: the store does not know which they are.
func (s *Server) heldElsewhere(r *http.Request, node string) map[string]Call {
	ctx, cancel := context.WithTimeout(r.Context(), soonTime)
	defer cancel()
	r = r.WithContext(ctx)
	held := make(map[string]Call)
	params := r.URL.Query()
	params.Set("held", "true")
	for q := (store.Query{Node: node, Limit: maxLimit}); ; {
		shares, _ := s.sharesOf(r, &q, params)
		page := join(&q, shares)
		for _, c := range page.Calls {
			held[c.ID] = c
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return held
		}
	}
}

// tableWriter writes rows in batches.
type tableWriter struct {
	out   io.Writer
	err   error // the first of out: the client has left
	index map[string]int
	texts []byte // those that are new in this batch, with commas
	calls []byte // the rows of this batch, with commas
	rows  int
}

// row takes one row, and says whether it is worth going on.
func (t *tableWriter) row(r *supervisor.Row) bool {
	b := t.calls
	if t.rows > 0 {
		b = append(b, ',')
	}
	b = appendText(append(b, '['), r.ID)
	b = t.known(append(b, ','), string(r.State))
	b = appendText(append(b, ','), r.Leg(store.Caller).RemoteURI)
	b = appendText(append(b, ','), r.Leg(store.Callee).RemoteURI)
	b = t.known(append(b, ','), r.TrunkIn)
	b = t.known(append(b, ','), r.TrunkOut)
	b = t.known(append(b, ','), r.Node)
	b = appendTime(append(b, ','), r.Started)
	b = appendTime(append(b, ','), r.Answered)
	for _, side := range store.Sides {
		l := r.Leg(side)
		b = t.known(append(b, ",["...), string(l.Liveness))
		b = strconv.AppendInt(append(b, ','), int64(l.Misses), 10)
		b = appendTime(append(b, ','), l.LastAlive)
		b = t.known(append(b, ','), l.LastEvidence)
		b = append(b, `,"`...)
		for _, tick := range r.Strips[side] {
			b = append(b, byte(tick))
		}
		b = t.known(append(b, `",`...), l.Held)
		b = append(b, ']')
	}
	t.calls = append(b, ']')
	if t.rows++; t.rows == batchRows {
		t.flush()
	}
	return t.err == nil
}

// known appends the number of a text, which the reader is told with this batch
// if it is new.
func (t *tableWriter) known(b []byte, text string) []byte {
	i, ok := t.index[text]
	if !ok {
		if i = len(t.index); i == mostTexts {
			return appendText(b, text)
		}
		t.index[text] = i
		if len(t.texts) > 0 {
			t.texts = append(t.texts, ',')
		}
		t.texts = appendText(t.texts, text)
	}
	return strconv.AppendInt(b, int64(i), 10)
}

// flush writes the batch.
func (t *tableWriter) flush() {
	if t.rows == 0 || t.err != nil {
		return
	}
	line := append([]byte(`{"texts":[`), t.texts...)
	line = append(append(line, `],"calls":[`...), t.calls...)
	_, t.err = t.out.Write(append(line, "]}\n"...))
	t.texts, t.calls, t.rows = t.texts[:0], t.calls[:0], 0
}

// appendText appends a text as JSON.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			quoted, err := json.Marshal(text)
			if err != nil {
				panic(err) // a string always encodes
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

func appendTime(b []byte, at time.Time) []byte {
	if at.IsZero() {
		return append(b, '0')
	}
	return strconv.AppendInt(b, at.UnixMilli(), 10)
}
