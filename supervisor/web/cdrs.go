package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// CDRs is the answer to a query for call detail records, the newest first.
type CDRs struct {
	CDRs []supervisor.CDR `json:"cdrs"`
	Next string           `json:"next,omitempty"` // cursor of the next page, which may be empty
}

const (
	recordBatch = 500
	mostRecords = 20_000 // that are looked at for one page
	lateness    = 10 * time.Minute
)

// recordQuery selects call detail records.
type recordQuery struct {
	number, trunk, node string
	endedBy             store.Reason
	since, until        time.Time // of the end
	limit               int
	cursor              string
}

func parseRecordQuery(raw string) (recordQuery, []string) {
	p := parseParams(raw)
	q := recordQuery{
		number:  p.text("number"),
		trunk:   p.text("trunk"),
		node:    p.text("node"),
		endedBy: oneOf(p, "ended_by", store.Reasons()),
		since:   p.time("since"),
		until:   p.time("until"),
		limit:   p.count("limit", maxLimit),
		cursor:  p.text("cursor"),
	}
	return q, p.done()
}

// match says whether a record is among those selected, and whether older ones
// may be: they were written before this one, and a call has ended before its
// record is written, but for clocks that differ. That it ended long ago says
// nothing: a node that was cut off from the store writes late.
func (q *recordQuery) match(r *supervisor.CDR, written time.Time) (ok, more bool) {
	ended, err := time.Parse(stampLayout, r.Ended)
	if err != nil {
		return false, true
	}
	if written.IsZero() {
		written = ended
	}
	concerns := func(l *supervisor.CDRLeg) bool { return l.CallID == q.number || strings.Contains(l.URI, q.number) }
	switch {
	case q.number != "" && r.ID != q.number && !concerns(&r.Caller) && !concerns(&r.Callee),
		q.trunk != "" && r.TrunkIn != q.trunk && r.TrunkOut != q.trunk,
		q.node != "" && r.Node != q.node,
		q.endedBy != "" && r.EndedBy != string(q.endedBy),
		!q.since.IsZero() && ended.Before(q.since),
		!q.until.IsZero() && !ended.Before(q.until):
		return false, q.since.IsZero() || written.After(q.since.Add(-lateness))
	}
	return true, true
}

// listCDRs answers with the records that are still known. As lines or CSV it
// gives all that match, unless a limit was given.
func (s *Server) listCDRs(w http.ResponseWriter, r *http.Request) {
	q, faults := parseRecordQuery(r.URL.RawQuery)
	if len(faults) > 0 {
		problem(w, http.StatusBadRequest, strings.Join(faults, "; "))
		return
	}
	limit := q.limit
	if limit == 0 {
		limit = 100
	}
	page, err := s.records(r.Context(), &q, limit)
	switch {
	case errors.Is(err, store.ErrNotFound):
		problem(w, http.StatusBadRequest, "cursor: it is not one of this list")
		return
	case errors.Is(err, store.ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, "the store cannot be reached now")
		return
	case err != nil:
		s.fail(w, r, err)
		return
	}
	media := format(r)
	if media == asJSON {
		linkNext(w, r, page.Next)
		w.Header().Add("Vary", "Accept")
		reply(w, http.StatusOK, page)
		return
	}
	s.exportCDRs(w, r, &q, page, media)
}

func (s *Server) exportCDRs(w http.ResponseWriter, r *http.Request, q *recordQuery, page CDRs, media string) {
	out := newSheet(w, media)
	if q.limit > 0 {
		linkNext(w, r, page.Next)
	}
	deadline := http.NewResponseController(w)
	for {
		_ = deadline.SetWriteDeadline(time.Now().Add(sendTime)) // not every writer has one
		for _, record := range page.CDRs {
			if out.write(record) != nil {
				return
			}
		}
		if q.cursor = page.Next; q.cursor == "" || q.limit > 0 {
			break
		}
		var err error
		if page, err = s.records(r.Context(), q, maxLimit); err != nil {
			s.log.Warn("a list of call detail records breaks off", zap.Error(err))
			panic(http.ErrAbortHandler) // so that the client learns of it
		}
	}
	out.end(supervisor.CDR{})
}

// records looks for one page of records.
func (s *Server) records(ctx context.Context, q *recordQuery, limit int) (CDRs, error) {
	page := CDRs{CDRs: []supervisor.CDR{}}
	if s.cfg.Records == nil {
		return page, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	place, seen := q.cursor, make(map[string]bool) // a record may be on the stream twice
	for looked := 0; looked < mostRecords; looked += recordBatch {
		batch, err := s.cfg.Records(ctx, place, recordBatch)
		if err != nil {
			return page, err
		}
		for _, b := range batch {
			place = b.Place
			var record supervisor.CDR
			if json.Unmarshal(b.Line, &record) != nil {
				continue // of another version
			}
			ok, more := q.match(&record, b.Written)
			if !more {
				return page, nil
			}
			if !ok || seen[record.ID] {
				continue
			}
			seen[record.ID] = true
			if page.CDRs = append(page.CDRs, record); len(page.CDRs) == limit {
				page.Next = place
				return page, nil
			}
		}
		if len(batch) < recordBatch {
			return page, nil
		}
	}
	page.Next = place
	return page, nil
}
