package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// readJSON reads a body that is one record, all of whose fields are known.
func readJSON(body io.Reader, into any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return &badBody{"the body is not the JSON that is asked for here: " + err.Error(), err}
	}
	if _, err := dec.Token(); err != io.EOF {
		return &badBody{"the body is not the JSON that is asked for here: more follows", err}
	}
	return nil
}

// badBody says for people what is wrong with a body.
type badBody struct {
	text  string
	cause error // may be nil
}

func (b *badBody) Error() string { return b.text }
func (b *badBody) Unwrap() error { return b.cause }

// refuseBody answers a request whose body is not what it should be.
func refuseBody(w http.ResponseWriter, err error) {
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		problem(w, http.StatusRequestEntityTooLarge, "the body is too long")
		return
	}
	problem(w, http.StatusBadRequest, err.Error())
}
