package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	retryFollow = 2 * time.Second
	maxEvent    = 1 << 20 // bytes of one line of a stream of events
)

// streamed is one event of the server, as GET /api/v1/events tells it.
type streamed struct {
	Event string          `json:"event"` // call, ended, trunk, node, store, brake, overview or reset
	Data  json.RawMessage `json:"data"`
}

// follow reads events until ctx ends or handle fails. A stream that breaks is
// taken up again where it broke. fared is told nil when one is opened, and of each new
// reason why there is none. A server that cannot be reached at the beginning is
// an error.
func (c *client) follow(ctx context.Context, handle func(streamed) error, fared func(error)) error {
	last, once, told := "", false, ""
	opened := func() {
		once, told = true, ""
		fared(nil)
	}
	for {
		err := c.stream(ctx, &last, opened, handle)
		var stop handled
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &stop):
			return stop.error
		case !once:
			return err
		}
		if err.Error() != told {
			told = err.Error()
			fared(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryFollow):
		}
	}
}

// handled is an error of the one who reads, and no reason to try again.
type handled struct{ error }

// stream reads one answer to its end, after it has told that there is one. last is the
// name of the last event.
func (c *client) stream(ctx context.Context, last *string, opened func(), handle func(streamed) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/v1/events", nil)
	if err != nil {
		return usage(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.unreached(err)
	}
	defer res.Body.Close()
	switch kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind {
	case "text/event-stream":
	case "application/problem+json":
		body, err := io.ReadAll(io.LimitReader(res.Body, maxEvent))
		if err != nil {
			return c.unreached(err)
		}
		return refused(c.name, body)
	default:
		return usage(fmt.Errorf("what answers at %s is not sipvigil's API: %s, %q\nname another place with --server or SIPVIGIL_SERVER",
			c.name, res.Status, kind))
	}
	opened()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	var e streamed
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "" && e.Event != "":
			if err := handle(e); err != nil {
				return handled{err}
			}
			e = streamed{}
		case name == "id":
			*last = value
		case name == "event":
			e.Event = value
		case name == "data":
			e.Data = json.RawMessage(value)
		}
	}
	if err := lines.Err(); err != nil {
		return usage(fmt.Errorf("events of %s broke off: %w", c.name, err))
	}
	return usage(fmt.Errorf("events of %s broke off", c.name))
}
