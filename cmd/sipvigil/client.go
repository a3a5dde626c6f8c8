package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sipvigil/supervisor/web"
)

// defaultServer is where a daemon without a configuration is reached.
const defaultServer = "http://127.0.0.1:8080"

// Times that a request may take.
const (
	shortTime = 15 * time.Second
	probeTime = 2 * time.Minute // the server itself ends a probe earlier
)

// client talks to the HTTP API of a running daemon.
type client struct {
	base string // without a slash at the end
	name string // the same without a password
	http http.Client

	token string // who we are to the server, empty if it does not ask
}

// newClient accepts http://host:port and https://host:port.
func newClient(server string) (*client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return nil, usage(fmt.Errorf("--server: %q is not a URL such as %s", server, defaultServer))
	}
	return &client{
		base: strings.TrimSuffix(u.String(), "/"),
		name: u.Redacted(),
		http: http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}},
	}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// listing is a list of calls or records, and what is to be said about it.
type listing struct {
	items   []json.RawMessage
	more    bool // there are more than were asked for
	partial bool // the server could ask its own node only
}

// list is pages of calls.
func (c *client) list(ctx context.Context, query url.Values, limit int) (listing, error) {
	return c.pages(ctx, "calls", query, limit)
}

// pages follows the pages of the list of this name up to limit records, 0 for
// any number.
func (c *client) pages(ctx context.Context, name string, query url.Values, limit int) (listing, error) {
	const mostOfPage = 1000
	var l listing
	for {
		size := mostOfPage
		if limit > 0 {
			size = min(limit-len(l.items), mostOfPage)
		}
		query.Set("limit", fmt.Sprint(size))
		var page struct {
			Calls   []json.RawMessage `json:"calls"`
			CDRs    []json.RawMessage `json:"cdrs"`
			Next    string            `json:"next"`
			Partial bool              `json:"partial"`
		}
		if err := c.do(ctx, shortTime, http.MethodGet, "/api/v1/"+name+"?"+query.Encode(), &page); err != nil {
			return l, err
		}
		l.items = append(append(l.items, page.Calls...), page.CDRs...)
		l.partial = l.partial || page.Partial
		if l.more = page.Next != ""; !l.more || limit > 0 && len(l.items) >= limit {
			return l, nil
		}
		query.Set("cursor", page.Next)
	}
}

func (c *client) show(ctx context.Context, id string) (body json.RawMessage, err error) {
	err = c.do(ctx, shortTime, http.MethodGet, callPath(id), &body)
	return body, err
}

// events are what happened to a call, the oldest first.
func (c *client) events(ctx context.Context, id string) ([]web.Event, error) {
	var e web.Events
	err := c.do(ctx, shortTime, http.MethodGet, callPath(id)+"/events", &e)
	return e.Events, err
}

func (c *client) probe(ctx context.Context, id string) (body json.RawMessage, err error) {
	err = c.do(ctx, probeTime, http.MethodPost, callPath(id)+"/probe", &body)
	return body, err
}

func (c *client) hangup(ctx context.Context, id, reason string) (body json.RawMessage, err error) {
	err = c.do(ctx, shortTime, http.MethodDelete, with(callPath(id), "reason", reason), &body)
	return body, err
}

// release is for the calls of all nodes if none is named.
func (c *client) release(ctx context.Context, reason, node string) (body json.RawMessage, err error) {
	err = c.do(ctx, shortTime, http.MethodPost, with("/api/v1/brake/release", "reason", reason, "node", node), &body)
	return body, err
}

// with is a path with these parameters and their values, as far as they were given.
func with(path string, params ...string) string {
	query := make(url.Values)
	for i := 0; i < len(params); i += 2 {
		if params[i+1] != "" {
			query.Set(params[i], params[i+1])
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

func callPath(id string) string { return "/api/v1/calls/" + url.PathEscape(id) }

// do sends one request without a body and decodes its answer.
func (c *client) do(ctx context.Context, limit time.Duration, method, path string, into any) error {
	return c.send(ctx, limit, method, path, nil, into)
}

// send is do with a body.
func (c *client) send(ctx context.Context, limit time.Duration, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return usage(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.unreached(err)
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	if err != nil {
		return usage(fmt.Errorf("answer of %s broke off: %w", c.name, err))
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case media == "application/problem+json":
		return refused(c.name, body)
	case media != "application/json" || res.StatusCode > 299 || json.Unmarshal(body, into) != nil:
		return usage(fmt.Errorf("what answers at %s is not sipvigil's API: %s, %q\nname another place with --server or SIPVIGIL_SERVER",
			c.name, res.Status, media))
	}
	return nil
}

// unreached is the error of a server that does not answer.
func (c *client) unreached(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err // without the URL, which is said anyway
	}
	return usage(fmt.Errorf("no answer from %s: %w\nis sipvigil serve running there? name another place with --server or SIPVIGIL_SERVER", c.name, err))
}

// refused is the error that a problem stands for.
func refused(name string, body []byte) error {
	var p web.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		return failed(fmt.Errorf("%s refused the request, and why cannot be read: %w", name, err))
	}
	if p.Status == http.StatusBadRequest {
		return usage(errors.New(clean(p.Detail)))
	}
	return failed(fmt.Errorf("%s: %s", name, clean(p.Detail)))
}
