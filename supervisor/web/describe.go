package web

import (
	_ "embed"
	"net/http"
)

// description is the API in the form of OpenAPI 3.1.
//
//go:embed openapi.json
var description []byte

func (s *Server) describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(description) // an error here means that the client has left
}
