package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// Problem is the body of every answer that is an error: RFC 9457 section 3.1.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// problem answers with an error. Its kind is that of the status alone.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, status, Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail})
}

// reply answers with a body in JSON.
func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body any) {
	b := encode(body)
	w.WriteHeader(status)
	w.Write(b) // an error here means that the client has left
}

// encode is a body in JSON, on one line that is ended.
func encode(body any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // keeps <sip:…> readable; no browser takes this for HTML
	if err := enc.Encode(body); err != nil {
		panic(err) // plain records always encode
	}
	return b.Bytes()
}

// fail answers with the problem that an error of Calls stands for.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	_, byNode := passedOn(r)
	var away *unreached
	switch {
	case errors.Is(err, store.ErrNotFound):
		problem(w, http.StatusNotFound, "no call has this id or Call-ID, or it ended a while ago")
	case errors.Is(err, store.ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, "the call is not one of this node's, and the store cannot be reached now: ask the node that has it")
	case errors.Is(err, supervisor.ErrCursor):
		problem(w, http.StatusBadRequest, "cursor: "+err.Error())
	case errors.As(err, &away):
		if away.maybe {
			problem(w, http.StatusGatewayTimeout, away.Error())
			return
		}
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, away.Error())
	case byNode && errors.Is(err, supervisor.ErrElsewhere):
		problem(w, http.StatusMisdirectedRequest, err.Error())
	case errors.Is(err, supervisor.ErrEnding), errors.Is(err, supervisor.ErrElsewhere):
		problem(w, http.StatusConflict, err.Error())
	case r.Context().Err() != nil: // the client has left, or the server stops
		problem(w, http.StatusServiceUnavailable, "the request was given up")
	case errors.Is(err, context.DeadlineExceeded):
		problem(w, http.StatusGatewayTimeout, "it took too long: "+err.Error())
	default:
		s.log.Error("web request failed", zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Error(err))
		problem(w, http.StatusInternalServerError, err.Error())
	}
}
