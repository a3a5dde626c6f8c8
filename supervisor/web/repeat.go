package web

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	repeatTime = 10 * time.Minute // for which an answer is kept
	mostKept   = 1000             // answers
	mostAnswer = 64 << 10         // bytes of one
)

// repeats are the answers to POST requests with an Idempotency-Key, so that one
// that is sent again, because its answer was lost, is done once. They are kept
// for a while, on this node.
type repeats struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]*repeat
	order []*repeat // the oldest first
}

// repeat is the answer to one request, nil while that is under way.
type repeat struct {
	key    [sha256.Size]byte // who asked for what under which key
	body   [sha256.Size]byte // of the request
	at     time.Time
	answer *answerKept
}

type answerKept struct {
	status int
	header http.Header
	body   []byte
}

func newRepeats() *repeats {
	return &repeats{known: make(map[[sha256.Size]byte]*repeat)}
}

// once serves a request unless it is the same as one before.
func (s *Server) once(w http.ResponseWriter, r *http.Request, user User, serve http.HandlerFunc) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		serve(w, r)
		return
	}
	if len(key) > maxText || !printable(key) {
		problem(w, http.StatusBadRequest, "Idempotency-Key: at most 256 bytes, all printable")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		problem(w, http.StatusRequestEntityTooLarge, "the body is too long, or broke off")
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	name := sha256.Sum256([]byte(user.Name + "\n" + r.URL.RequestURI() + "\n" + key))
	before, mine := s.repeats.take(name, sha256.Sum256(body), time.Now())
	switch {
	case mine != nil:
		keep := &keepWriter{statusWriter: statusWriter{ResponseWriter: w, status: http.StatusOK}}
		defer s.repeats.done(mine, keep)
		serve(keep, r)
	case before.body != sha256.Sum256(body):
		problem(w, http.StatusUnprocessableEntity, "this Idempotency-Key was used with another body")
	case before.answer == nil:
		w.Header().Set("Retry-After", "1")
		problem(w, http.StatusConflict, "the request with this Idempotency-Key is still under way")
	default:
		for name, values := range before.answer.header {
			w.Header()[name] = values
		}
		w.WriteHeader(before.answer.status)
		w.Write(before.answer.body) // an error here means that the client has left
	}
}

// take returns what is known of a request, or its place if nothing is.
func (p *repeats) take(key, body [sha256.Size]byte, now time.Time) (before repeat, mine *repeat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.order) > 0 && (now.Sub(p.order[0].at) > repeatTime || len(p.order) >= mostKept) {
		p.forget(p.order[0])
	}
	if r := p.known[key]; r != nil {
		return *r, nil
	}
	mine = &repeat{key: key, body: body, at: now}
	p.known[key] = mine
	p.order = append(p.order, mine)
	return repeat{}, mine
}

// forget is called locked.
func (p *repeats) forget(r *repeat) {
	delete(p.known, r.key)
	p.order = slices.DeleteFunc(p.order, func(o *repeat) bool { return o == r })
}

// done keeps an answer. One that says that nothing was done is not kept, nor is
// one that never came.
func (p *repeats) done(mine *repeat, w *keepWriter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known[mine.key] != mine {
		return
	}
	if !w.wrote || w.status >= 500 || w.body.Len() > mostAnswer {
		p.forget(mine)
		return
	}
	mine.answer = &answerKept{w.status, w.Header().Clone(), w.body.Bytes()}
}

// keepWriter keeps what is answered.
type keepWriter struct {
	statusWriter
	wrote bool
	body  bytes.Buffer
}

func (w *keepWriter) WriteHeader(status int) {
	w.wrote = true
	w.statusWriter.WriteHeader(status)
}

func (w *keepWriter) Write(b []byte) (int, error) {
	w.wrote = true
	if w.body.Len() <= mostAnswer {
		w.body.Write(b)
	}
	return w.statusWriter.Write(b)
}
