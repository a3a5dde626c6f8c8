package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// readBody reads the JSON of a request, and answers the request itself when that
// is not what it should be.
func readBody(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, err = dec.Token(); err == io.EOF {
			return true
		}
		err = errors.New("more follows")
	}
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		problem(w, http.StatusRequestEntityTooLarge, "the body is too long")
		return false
	}
	problem(w, http.StatusBadRequest, "the body is not the JSON that is asked for here: "+err.Error())
	return false
}
