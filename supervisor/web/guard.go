package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"go.uber.org/zap"
)

// policy lets the page load its own files and talk to its own server, nothing
// else; and has the browser refuse to make elements out of text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// guard stands before every handler: it turns a panic into a 500, sets the
// headers that bind a browser, and refuses what comes by way of a foreign page.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				s.log.Error("web handler panicked", zap.Any("panic", v), zap.String("method", r.Method),
					zap.String("path", r.URL.Path), zap.Stack("stack"))
				problem(w, http.StatusInternalServerError, "a fault in sipvigil itself; its log says more")
			}
		}()
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")

		// A page that has taken over a name by DNS rebinding gets no token sent along.
		if s.cfg.Tokens == nil && !s.knownHost(r.Host) {
			s.turnAway(w, r, "this server does not answer to the name in the Host header: "+
				"use its IP address, localhost, or the host of admin.listen")
			return
		}
		if err := s.crossing.Check(r); err != nil || foreign(r) {
			s.turnAway(w, r, "a request from a page of another origin is not served here")
			return
		}
		if r.ContentLength > maxBody {
			problem(w, http.StatusRequestEntityTooLarge, "the body is too long")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// turnAway refuses what a foreign page has a browser send.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, why string) {
	if s.refusals.Allow() {
		short := func(text string) string { return text[:min(len(text), 100)] }
		s.log.Info("request is refused", zap.String("from", r.RemoteAddr), zap.String("method", short(r.Method)),
			zap.String("host", short(r.Host)), zap.String("origin", short(r.Header.Get("Origin"))), zap.Int("status", http.StatusForbidden))
	}
	problem(w, http.StatusForbidden, why)
}

// foreign says whether a browser asks for data on behalf of another origin's
// page. A link to the API that a user follows is not that.
func foreign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate" &&
		(strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/metrics")
}

// knownHost says whether the Host header names this server in a way that a
// foreign page cannot: by DNS rebinding it can make a browser send its own
// domain name to a loopback address, but neither an address nor localhost.
// Health checks of HTTP/1.0 send none.
func (s *Server) knownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || host == "localhost" || host == s.host {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}
