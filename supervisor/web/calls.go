package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// lookTime bounds how long the store may take for one request.
const lookTime = 5 * time.Second

func (s *Server) listCalls(w http.ResponseWriter, r *http.Request) {
	q, faults := parseQuery(r.URL.RawQuery)
	if len(faults) > 0 {
		problem(w, http.StatusBadRequest, strings.Join(faults, "; "))
		return
	}
	page, err := s.callsOf(r, q)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if media := format(r); media != asJSON {
		s.exportCalls(w, r, q, page, media)
		return
	}
	linkNext(w, r, page.Next)
	w.Header().Add("Vary", "Accept")
	replyTagged(w, r, page)
}

// page returns one page of calls, and whether they are those of this node only.
func (s *Server) page(ctx context.Context, q store.Query) (page store.Page, partial bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	page, err = s.calls.Calls(ctx, q)
	if errors.Is(err, store.ErrUnavailable) {
		return page, true, nil
	}
	return page, false, err
}

// errPartial says that some calls of a list are not known.
var errPartial = errors.New("the store or a node cannot be reached: calls of other nodes are missing")

// exportCalls writes calls one a line: all that match, unless a limit was given. As
// the lines cannot say that some are missing, there are none then.
func (s *Server) exportCalls(w http.ResponseWriter, r *http.Request, q store.Query, page List, media string) {
	if page.Partial {
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, errPartial.Error()+"; as JSON the others are listed, and with node="+s.cfg.Node+" those of this node are")
		return
	}
	out := newSheet(w, media)
	if q.Limit > 0 {
		linkNext(w, r, page.Next)
	}
	deadline := http.NewResponseController(w)
	for {
		_ = deadline.SetWriteDeadline(time.Now().Add(sendTime)) // not every writer has one
		for i := range page.Calls {
			if out.write(page.Calls[i]) != nil {
				return
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" || q.Limit > 0 {
			break
		}
		var err error
		if page, err = s.callsOf(r, q); err == nil && page.Partial {
			err = errPartial
		}
		if err != nil {
			s.log.Warn("a list of calls breaks off", zap.Error(err))
			panic(http.ErrAbortHandler) // so that the client learns of it
		}
	}
	out.end(Call{})
}

func (s *Server) showCall(w http.ResponseWriter, r *http.Request) {
	if c, ok := s.find(w, r); ok {
		replyTagged(w, r, s.asOwner(r, &c))
	}
}

// asOwner is a call as the node that has it shows it: why it goes on although a leg
// is dead no other one knows. If that node does not answer at once it is a call as the
// store has it.
func (s *Server) asOwner(r *http.Request, c *store.Call) Call {
	known := call(c)
	live := c.Liveness()
	if !s.another(r, c.Node) || c.State != store.Confirmed || live != store.Silent && live != store.Gone {
		return known
	}
	ctx, cancel := context.WithTimeout(r.Context(), soonTime)
	defer cancel()
	out, err := s.askNode(r.WithContext(ctx), c.Node, callPath(c.ID), soonTime)
	var now Call
	if err != nil || out.Status != http.StatusOK || json.Unmarshal(out.Body, &now) != nil {
		return known
	}
	return now
}

func (s *Server) listEvents(w http.ResponseWriter, r *http.Request) {
	c, ok := s.find(w, r)
	if !ok || s.passOn(w, r, &c, callPath(c.ID)+"/events", soonTime) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	list, err := s.calls.Events(ctx, c.ID)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, events(list))
}

func (s *Server) probeCall(w http.ResponseWriter, r *http.Request) {
	c, ok := s.findOngoing(w, r)
	if !ok || s.passOn(w, r, &c, callPath(c.ID)+"/probe", s.cfg.Probe) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Probe)
	defer cancel()
	answers, err := s.calls.Probe(ctx, c.ID)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, Probed{Caller: answer(answers[store.Caller]), Callee: answer(answers[store.Callee])})
}

// hangupCall begins to end a call and answers 202: the BYEs are still to be
// answered.
func (s *Server) hangupCall(w http.ResponseWriter, r *http.Request) {
	p := parseParams(r.URL.RawQuery)
	text := p.text("reason")
	remark(r, zap.String("reason", text))
	if faults := p.done(); len(faults) > 0 {
		problem(w, http.StatusBadRequest, strings.Join(faults, "; "))
		return
	}
	c, ok := s.findOngoing(w, r)
	if !ok || s.passOn(w, r, &c, because(callPath(c.ID), text), soonTime) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	if err := s.calls.Hangup(ctx, c.ID, text); err != nil {
		s.fail(w, r, err)
		return
	}
	remark(r, zap.String("call", c.ID))
	reply(w, http.StatusAccepted, struct {
		ID string `json:"id"`
	}{c.ID})
}

// callPath is where a call is, below /api/v1.
func callPath(id string) string { return "calls/" + url.PathEscape(id) }

// because is a path with the reason for what is asked.
func because(path, reason string) string {
	return path + "?" + url.Values{"reason": {reason}}.Encode()
}

// find answers the request itself when there is no such call.
func (s *Server) find(w http.ResponseWriter, r *http.Request) (store.Call, bool) {
	id := r.PathValue("id")
	if len(id) > maxID || !printable(id) {
		problem(w, http.StatusBadRequest, fmt.Sprintf("an id has at most %d bytes, all printable", maxID))
		return store.Call{}, false
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	c, err := s.calls.Call(ctx, id)
	if err != nil {
		s.fail(w, r, err)
		return store.Call{}, false
	}
	return c, true
}

// findOngoing answers the request itself when the call is not there any more.
func (s *Server) findOngoing(w http.ResponseWriter, r *http.Request) (store.Call, bool) {
	c, ok := s.find(w, r)
	if ok && (c.State == store.Ending || c.State == store.Terminated) {
		problem(w, http.StatusConflict, fmt.Sprintf("call %s is %s already, ended by %s", c.ID, c.State, c.End.Reason))
		return c, false
	}
	return c, ok
}
