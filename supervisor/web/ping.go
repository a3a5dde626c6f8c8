package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// Ping asks for OPTIONS to one URI, or to each target of a trunk.
type Ping struct {
	Target  string `json:"target,omitempty"` // SIP URI
	Trunk   string `json:"trunk,omitempty"`
	Timeout int    `json:"timeout_ms,omitempty"` // 5,000 when 0
}

// Pings is the answer.
type Pings struct {
	Pings []Pinged `json:"pings"`
}

// Pinged is what became of one OPTIONS, and what the answer says.
type Pinged struct {
	Target    string   `json:"target"`
	Kind      string   `json:"kind"` // answered, timeout or unsent
	Status    int      `json:"status,omitempty"`
	Phrase    string   `json:"phrase,omitempty"`
	Reason    string   `json:"reason,omitempty"` // why it was not sent
	RTT       float64  `json:"rtt_ms"`
	Transport string   `json:"transport"`
	Peer      string   `json:"peer"`              // address and port that was asked
	From      string   `json:"from,omitempty"`    // address and port that answered
	Seen      string   `json:"seen,omitempty"`    // address and port that it saw us at
	Server    string   `json:"server,omitempty"`  // what it calls itself
	Contact   string   `json:"contact,omitempty"` // where it wants requests
	Can       Can      `json:"can"`
	Allow     []string `json:"allow,omitempty"`
	Supported []string `json:"supported,omitempty"`
	Accept    []string `json:"accept,omitempty"`
	Encodings []string `json:"encodings,omitempty"`
	Languages []string `json:"languages,omitempty"`
	Codecs    []string `json:"codecs,omitempty"`
}

// Can is what the lists come to: yes, no, or unknown where nothing was said.
type Can struct {
	Refer     string `json:"refer"`     // transfer
	Update    string `json:"update"`    // RFC 3311
	Info      string `json:"info"`      // RFC 6086
	Message   string `json:"message"`   // RFC 3428
	Subscribe string `json:"subscribe"` // RFC 6665
	Reliable  string `json:"100rel"`    // RFC 3262
	Timer     string `json:"timer"`     // RFC 4028
	Replaces  string `json:"replaces"`  // RFC 3891
}

// CanOf reads the two lists; nil is one that was not sent.
func CanOf(allow, supported []string) Can {
	in := func(list []string, word string) string {
		switch {
		case list == nil:
			return "unknown"
		case slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, word) }):
			return "yes"
		default:
			return "no"
		}
	}
	return Can{
		Refer: in(allow, "REFER"), Update: in(allow, "UPDATE"), Info: in(allow, "INFO"), Message: in(allow, "MESSAGE"),
		Subscribe: in(allow, "SUBSCRIBE"),
		Reliable:  in(supported, "100rel"), Timer: in(supported, "timer"), Replaces: in(supported, "replaces"),
	}
}

// Millis is a time in JSON.
func Millis(d time.Duration) float64 { return millis(d) }

// Pinger sends OPTIONS outside of calls.
type Pinger interface {
	// Targets are those of a trunk, or store.ErrNotFound.
	Targets(trunk string) ([]string, error)
	// Ping waits for what becomes of it, for the DNS and then timeout at most.
	Ping(ctx context.Context, target string, timeout time.Duration) Pinged
}

// Bounds of what one request, and all together, may send.
const (
	mostPings   = 16 // under way at the same time
	defaultPing = 5 * time.Second
	mostPing    = 32 * time.Second // RFC 3261 section 17.1.2.2: Timer F ends the transaction
)

func (s *Server) ping(w http.ResponseWriter, r *http.Request) {
	ask, err := readPing(r.Body)
	if err != nil {
		refuseBody(w, err)
		return
	}
	targets := []string{ask.Target}
	if ask.Trunk != "" {
		if targets, err = s.cfg.Pinger.Targets(ask.Trunk); errors.Is(err, store.ErrNotFound) {
			problem(w, http.StatusNotFound, fmt.Sprintf("there is no trunk %q", ask.Trunk))
			return
		}
		targets = targets[:min(len(targets), mostPings)]
	}
	if n := s.pinging.Add(int64(len(targets))); n > mostPings {
		s.pinging.Add(-int64(len(targets)))
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, fmt.Sprintf("%d pings are under way, and more than %d are not: ask again", n-int64(len(targets)), mostPings))
		return
	}
	defer s.pinging.Add(-int64(len(targets)))
	s.log.Info("operator pings", zap.String("target", ask.Target), zap.String("trunk", ask.Trunk), zap.String("from", r.RemoteAddr))
	timeout := time.Duration(ask.Timeout) * time.Millisecond
	if timeout == 0 {
		timeout = defaultPing
	}
	body := Pings{Pings: make([]Pinged, len(targets))}
	var all sync.WaitGroup
	for i, target := range targets {
		all.Go(func() { body.Pings[i] = s.cfg.Pinger.Ping(r.Context(), target, timeout) })
	}
	all.Wait()
	reply(w, http.StatusOK, body)
}

func readPing(body io.Reader) (ask Ping, err error) {
	const form = `the body is not {"target": "sip:…"} or {"trunk": NAME}, with "timeout_ms" if need be`
	if err := readJSON(body, &ask); err != nil || (ask.Target == "") == (ask.Trunk == "") {
		return ask, &badBody{form, err}
	}
	if most := int(mostPing.Milliseconds()); ask.Timeout < 0 || ask.Timeout > most {
		return ask, fmt.Errorf("timeout_ms is not from 0 to %d, where SIP itself gives up", most)
	}
	return ask, nil
}
