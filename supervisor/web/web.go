// Package web serves the operator: the HTTP API for calls, the page that shows
// them live, metrics and health. It is meant for a loopback address; it knows
// no users, and refuses what a foreign web page could make a browser send.
package web

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/links"
)

// Calls is what this package asks about calls, and does to them. An id is that
// of the call, or the Call-ID of either leg.
type Calls interface {
	// Calls returns one page of calls. While the store cannot be reached it
	// returns those of this node and an error wrapping store.ErrUnavailable.
	Calls(ctx context.Context, q store.Query) (store.Page, error)
	// Call returns one call, or store.ErrNotFound.
	Call(ctx context.Context, id string) (store.Call, error)
	// Events returns the last things that happened to a call, the oldest first.
	Events(ctx context.Context, id string) ([]supervisor.Event, error)
	// Probe asks both legs at once and returns what came back, by side.
	Probe(ctx context.Context, id string) ([2]store.Answer, error)
	// Hangup begins to end a call for the operator; text says why.
	Hangup(ctx context.Context, id, text string) error
	// Local returns a call of this node that goes on. It asks no store.
	Local(id string) (store.Call, bool)
	// Overview is how the calls of this node fare as a whole.
	Overview() supervisor.Overview
	// Follow has a follower told of all changes.
	Follow(supervisor.Follower)
	// ReleaseHeld begins to end all calls that the brake holds now, one after
	// the other, and returns how many they are.
	ReleaseHeld() int
}

// Config is what a Server needs to know beforehand.
type Config struct {
	Listen string        // host:port as configured; its host may be used to reach the server
	Probe  time.Duration // the longest that a probe asked for by hand may take
	// Nodes lists the nodes that share the store, this one among them. Its error
	// wraps store.ErrUnavailable.
	Nodes  func(ctx context.Context) ([]store.Node, error)
	Trunks func() []links.Health // the trunks that are watched; nil: there are none
	Usage  func() []TrunkUsage   // of all trunks; nil: it is not known
	Idle   func() string         // why calls are not watched, "" while they are; nil: always watched

	Maintenance Maintenance
	Pinger      Pinger
}

// Limits of one HTTP exchange.
const (
	maxHeader = 16 << 10
	maxBody   = 4 << 10 // no request has a body that is looked at
	readTime  = 10 * time.Second
	idleTime  = 2 * time.Minute
	graceTime = 6 * time.Second // for requests under way when the server stops; net/http waits 5 s for a connection without one
)

// Server answers the operator's requests.
type Server struct {
	cfg      Config
	host     string // host of cfg.Listen
	calls    Calls
	status   func() store.Status
	ready    func() []string
	log      *zap.Logger
	warnings *log.Logger // the same for net/http
	crossing *http.CrossOriginProtection
	feed     *feed
	handler  http.Handler
	pinging  atomic.Int64 // pings under way
}

// New returns a Server over calls. status tells how the store fares, ready why
// this process should get no new calls (nothing when it should), and gatherer
// collects the metrics.
func New(cfg Config, calls Calls, status func() store.Status, ready func() []string,
	gatherer prometheus.Gatherer, logger *zap.Logger) (*Server, error) {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("web: listen address %q: %w", cfg.Listen, err)
	}
	if cfg.Probe <= 0 {
		return nil, fmt.Errorf("web: time for a probe is %v, must be above 0", cfg.Probe)
	}
	warnings, err := zap.NewStdLogAt(logger, zap.WarnLevel)
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	s := &Server{
		cfg:      cfg,
		host:     strings.ToLower(host),
		calls:    calls,
		status:   status,
		ready:    ready,
		log:      logger,
		warnings: warnings,
		crossing: http.NewCrossOriginProtection(),
	}
	s.feed = newFeed(calls.Local)
	calls.Follow(s.feed)
	s.handler = s.guard(s.routes(gatherer))
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.ServeHTTP(w, r)
}

// Run serves connections of ln until ctx ends, lets requests under way finish
// for a short while, and returns after the last one. It closes ln.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readTime,
		ReadTimeout:       readTime,
		WriteTimeout:      s.cfg.Probe + 2*readTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          s.warnings,
	}
	var telling sync.WaitGroup
	told, stop := context.WithCancel(ctx)
	telling.Go(func() { s.follow(told) })
	defer telling.Wait()
	defer stop()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("web: serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		s.log.Warn("stopping with requests under way", zap.Duration("waited", graceTime), zap.Error(err))
		_ = srv.Close() // whose clients see that
	}
	<-served
	return nil
}

// routes maps paths to handlers. A known path with another method is answered
// 405, an unknown one 404.
func (s *Server) routes(gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	route := func(path string, methods map[string]http.HandlerFunc) {
		allow := make([]string, 0, len(methods)+1)
		for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
			h, ok := methods[m]
			if !ok {
				continue
			}
			mux.HandleFunc(m+" "+path, h)
			if allow = append(allow, m); m == http.MethodGet {
				allow = append(allow, http.MethodHead)
			}
		}
		mux.HandleFunc(path, notAllowed(strings.Join(allow, ", ")))
	}
	get := func(path string, h http.HandlerFunc) {
		route(path, map[string]http.HandlerFunc{http.MethodGet: h})
	}

	get("/api/v1/calls", s.listCalls)
	route("/api/v1/calls/{id}", map[string]http.HandlerFunc{
		http.MethodGet:    s.showCall,
		http.MethodDelete: s.hangupCall,
	})
	get("/api/v1/calls/{id}/events", s.listEvents)
	route("/api/v1/calls/{id}/probe", map[string]http.HandlerFunc{http.MethodPost: s.probeCall})
	route("/api/v1/brake/release", map[string]http.HandlerFunc{http.MethodPost: s.releaseHeld})
	get("/api/v1/nodes", s.listNodes)
	get("/api/v1/overview", s.showOverview)
	get("/api/v1/events", s.streamEvents)
	get("/api/v1/trunks", s.listTrunks)
	for _, scope := range []store.Scope{store.ScopeTrunk, store.ScopeNode} {
		route("/api/v1/"+string(scope)+"s/{name}/maintenance", map[string]http.HandlerFunc{
			http.MethodGet: s.showMaintenance(scope),
			http.MethodPut: s.setMaintenance(scope),
		})
	}
	route("/api/v1/ping", map[string]http.HandlerFunc{http.MethodPost: s.ping})
	get("/metrics", metrics(gatherer, s.warnings))
	get("/livez", s.livez)
	get("/readyz", s.readyz)
	get("/{$}", file("page.html"))
	get("/page.js", file("page.js"))
	get("/page.css", file("page.css"))
	get("/icon.svg", file("icon.svg"))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "there is nothing at this path")
	})
	return mux
}

func notAllowed(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		problem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is not possible here, only %s", r.Method, allow))
	}
}
