package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// letter is what one node sends to another one, see courier. It is JSON. Who can
// write to the store could send one, too, and could as well change the calls in
// it: what comes is checked so that nothing breaks, not so that nobody lies.
type letter struct {
	Kind letterKind `json:"kind"`
	ID   string     `json:"id"`   // of what is asked, made anew for each
	From string     `json:"from"` // the node that sends it

	// Clock is read at the node that is asked, in milliseconds: in letterClock
	// what it shows, in letterDo until when the command may be begun.
	Clock   int64      `json:"clock,omitempty"`
	Command *command   `json:"command,omitempty"` // of letterDo
	Outcome *answerOut `json:"outcome,omitempty"` // of letterDone
}

// letterKind says what a letter is about.
type letterKind string

// The kinds of letter, in the order in which they go to and fro.
const (
	letterHail  letterKind = "hail"  // what does your clock show?
	letterClock letterKind = "clock" // that
	letterDo    letterKind = "do"    // a command
	letterDone  letterKind = "done"  // what became of it
)

// command is a request to the API of another node, by a user that was let
// through here. It has no body.
type command struct {
	Method  string `json:"method"`
	Target  string `json:"target"` // path and query
	Key     string `json:"key,omitempty"`
	User    User   `json:"user"`
	Address string `json:"address"` // where the user asks from
}

// answerOut is what the API of that node answers.
type answerOut struct {
	Status int             `json:"status"`
	After  string          `json:"after,omitempty"` // Retry-After
	Body   json.RawMessage `json:"body"`
}

const (
	mostLetter = 4 << 20 // bytes
	mostTarget = 8 << 10
)

var (
	letterID   = regexp.MustCompile(`^[A-Z0-9]{1,64}$`)
	nodeName   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)
	afterValue = regexp.MustCompile(`^[0-9]{0,5}$`)
)

// readLetter reads what came by wire.
func readLetter(message []byte) (l letter, err error) {
	if len(message) > mostLetter {
		return l, errors.New("it is too long")
	}
	if err := json.Unmarshal(message, &l); err != nil {
		return l, err
	}
	switch {
	case !letterID.MatchString(l.ID) || !nodeName.MatchString(l.From):
		return l, errors.New("it has no id, or no sender")
	case (l.Command != nil) != (l.Kind == letterDo) || (l.Outcome != nil) != (l.Kind == letterDone):
		return l, fmt.Errorf("one of the kind %.20q does not hold that", l.Kind)
	case l.Command != nil:
		return l, l.Command.check()
	case l.Outcome != nil:
		return l, l.Outcome.check()
	}
	return l, nil
}

func (o *answerOut) check() error {
	if o.Status < 200 || o.Status > 599 || !afterValue.MatchString(o.After) || len(o.Body) == 0 {
		return errors.New("its outcome is none")
	}
	return nil
}

func (c *command) check() error {
	methods := []string{http.MethodGet, http.MethodPost, http.MethodDelete}
	switch u, err := url.ParseRequestURI(c.Target); {
	case len(c.Target) > mostTarget || err != nil || !strings.HasPrefix(c.Target, "/api/v1/") || u.Fragment != "":
		return errors.New("its target is none of the API")
	case !slices.Contains(methods, c.Method):
		return errors.New("its method is none of " + strings.Join(methods, ", "))
	case len(c.Key) > maxText || !printable(c.Key) || len(c.Address) > maxText || !printable(c.Address):
		return errors.New("its key or address is too long, or cannot be printed")
	case !userPattern.MatchString(c.User.Name) || !slices.Contains(Roles, c.User.Role):
		return errors.New("its user is none")
	}
	return nil
}
