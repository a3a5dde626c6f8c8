package web

import "net/http"

// Me is who asks, and which node answers.
type Me struct {
	Name string `json:"name"`
	Role Role   `json:"role"` // viewer, operator or admin
	Node string `json:"node"`
}

func (s *Server) showMe(w http.ResponseWriter, r *http.Request) {
	user, _ := s.identify(r) // whose token was taken out a moment ago may look once more
	reply(w, http.StatusOK, Me{user.Name, user.Role, s.cfg.Node})
}
