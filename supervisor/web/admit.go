package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// admit lets a request through to its route if who sent it may, and logs every
// action with who, what, why and what came of it. Actions are all but GET.
func (s *Server) admit(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, known := s.identify(req)
		by, byNode := passedOn(req)
		action := &action{user: user}
		if byNode {
			action.fields = append(action.fields, zap.String("via", by.node))
		}
		out := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		switch {
		case r.role != Anybody && !known:
			// RFC 6750 section 3; browsers ask for a password by RFC 7617, which is the token.
			w.Header().Add("WWW-Authenticate", `Bearer realm="sipvigil"`)
			w.Header().Add("WWW-Authenticate", `Basic realm="sipvigil: any user name, the token as password", charset="UTF-8"`)
			text := "this needs a token: Authorization: Bearer TOKEN, or --token-file of the tool"
			if req.Header.Get("Authorization") != "" {
				text = "the token is none of those in admin.tokens_file, or it is not sent as Authorization: Bearer TOKEN"
			}
			problem(out, http.StatusUnauthorized, text)
		case byNode && !r.passed:
			problem(out, http.StatusForbidden, "this is not done for other nodes")
		case !user.Role.covers(r.role):
			problem(out, http.StatusForbidden, "this needs the role "+string(r.role)+", and "+user.Name+" has the role "+string(user.Role))
		case r.method != http.MethodGet && s.cfg.Started != nil && !s.cfg.Started():
			w.Header().Set("Retry-After", "2")
			problem(out, http.StatusServiceUnavailable, "sipvigil is starting and can do nothing yet")
		default:
			if r.method == http.MethodGet {
				r.serve(w, req)
				return
			}
			req = req.WithContext(context.WithValue(req.Context(), actionKey{}, action))
			if r.method == http.MethodPost {
				s.once(out, req, user, r.serve)
			} else {
				r.serve(out, req)
			}
		}
		s.logAction(r, req, action, out.status)
	})
}

// local is who asks while nobody needs a token.
var local = User{Name: "local", Role: Admin}

// identify says who sent a request.
func (s *Server) identify(r *http.Request) (User, bool) {
	if by, ok := passedOn(r); ok {
		return by.user, true
	}
	if s.cfg.Tokens == nil {
		return local, true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if _, password, ok := r.BasicAuth(); ok {
		token = password
	} else if !strings.EqualFold(scheme, "Bearer") {
		return User{}, false
	}
	return s.cfg.Tokens().who(strings.TrimSpace(token))
}

// action is what is known for the log of something that is done.
type action struct {
	user   User
	fields []zap.Field
}

type actionKey struct{}

// remark adds to the line that is logged about an action.
func remark(r *http.Request, fields ...zap.Field) {
	if a, ok := r.Context().Value(actionKey{}).(*action); ok {
		a.fields = append(a.fields, fields...)
	}
}

// refusals is how many refused requests are logged in a second.
const refusals = 5

func (s *Server) logAction(r route, req *http.Request, a *action, status int) {
	message := "operator acts"
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		if !s.refusals.AllowN(time.Now(), 1) {
			return
		}
		message = "request is refused"
	}
	fields := []zap.Field{zap.String("who", a.user.Name), zap.String("role", string(a.user.Role)), zap.String("from", req.RemoteAddr),
		zap.String("method", req.Method), zap.String("route", r.path)}
	if id := req.PathValue("id"); id != "" && len(id) <= maxID {
		fields = append(fields, zap.String("target", id))
	}
	if name := req.PathValue("name"); name != "" && len(name) <= maxText {
		fields = append(fields, zap.String("target", name))
	}
	s.log.Info(message, append(append(fields, a.fields...), zap.Int("status", status))...)
}

// statusWriter remembers the status that is answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
