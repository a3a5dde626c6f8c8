// Package web serves the operator: the HTTP API for calls, the page that shows
// them live, metrics and health. On a loopback address it may be open to all;
// elsewhere who asks needs a token, whose role says what it may do. What a
// foreign web page could make a browser send is refused.
package web

import (
	"context"
	"crypto/tls"
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
	"golang.org/x/time/rate"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/links"
	"sipvigil/supervisor/progress"
)

// Calls is what this package asks about calls, and does to them. An id is that
// of the call, or the Call-ID of either leg.
type Calls interface {
	// Calls returns one page of calls, of this node only where store.Query.Local
	// says so. While the store cannot be reached it returns those of this node and
	// an error wrapping store.ErrUnavailable.
	Calls(ctx context.Context, q store.Query) (store.Page, error)
	// Rows visits all calls that go on, or those of one node, as a table of all
	// shows them. While the store cannot be reached it visits those of
	// this node and returns an error wrapping store.ErrUnavailable.
	Rows(ctx context.Context, node string, yield func(*supervisor.Row) bool) error
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
	Node   string        // the name of this node
	Probe  time.Duration // the longest that a probe asked for by hand may take
	// Nodes lists the nodes that share the store, this one among them. Its error
	// wraps store.ErrUnavailable.
	Nodes  func(ctx context.Context) ([]store.Node, error)
	Trunks func() []links.Health // the trunks that are watched; nil: there are none
	Usage  func() []TrunkUsage   // of all trunks; nil: it is not known
	Idle   func() string         // why calls are not watched, "" while they are; nil: always watched
	// Records returns up to n call detail records before a place, the newest first,
	// see [sipvigil/store/redis.Store.Records]. Nil: there are none.
	Records func(ctx context.Context, before string, n int) ([]store.Record, error)
	// Tokens are those that are in force. Without the function nobody needs one:
	// that is for loopback addresses only.
	Tokens func() Tokens
	TLS    func() *tls.Config // what is in force for connections; nil: without TLS

	Maintenance Maintenance
	Pinger      Pinger
	Wire        Wire            // between the nodes that share the store; nil: there are no others
	Progress    *progress.Board // what takes a while here; nil: it is not kept

	Started func() bool // whether anything can be done yet, and not only looked at; nil: always
}

// Limits of one HTTP exchange.
const (
	maxHeader = 16 << 10
	maxBody   = 4 << 20 // the ids of a batch
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
	trouble  *complaints // the same for net/http
	crossing *http.CrossOriginProtection
	feed     *feed
	batches  *batches
	errands  chan errand
	repeats  *repeats
	courier  *courier      // nil without other nodes
	refusals *rate.Limiter // of lines about refused requests
	handler  http.Handler
	pinging  atomic.Int64                 // pings under way
	around   atomic.Pointer[[]store.Node] // as they were a short while ago, while somebody reads events; nil: not known
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
	s := &Server{
		cfg:      cfg,
		host:     strings.ToLower(host),
		calls:    calls,
		status:   status,
		ready:    ready,
		log:      logger,
		trouble:  newComplaints(logger),
		crossing: http.NewCrossOriginProtection(),
		refusals: rate.NewLimiter(refusals, refusals),
	}
	s.feed, s.batches, s.repeats = newFeed(calls.Local), newBatches(""), newRepeats()
	s.errands = make(chan errand, mostErrands)
	calls.Follow(s.feed)
	s.handler = s.guard(s.mux(s.routes(gatherer)))
	if cfg.Wire != nil {
		s.meet()
	}
	return s, nil
}

// meet has the server know of other nodes.
func (s *Server) meet() {
	s.courier = newCourier(s.cfg.Node, s.cfg.Wire, s.status, s.handler, s.log)
	s.batches.at = "@" + s.cfg.Node
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.ServeHTTP(w, r)
}

// Run serves connections of ln until ctx ends, lets requests under way finish
// for a short while, and returns after the last one. It closes ln.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	ln = newGate(ln, s.trouble.say)
	if s.cfg.TLS != nil {
		ln = tls.NewListener(ln, &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return s.cfg.TLS(), nil
			},
		})
	}
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readTime,
		ReadTimeout:       readTime,
		WriteTimeout:      max(s.cfg.Probe, mostPing, tableTime) + 2*readTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(s.trouble, "", 0),
	}
	var telling sync.WaitGroup
	told, stop := context.WithCancel(ctx)
	telling.Go(func() { s.follow(told) })
	if s.cfg.Wire != nil {
		telling.Go(func() { s.tellOthers(told) })
		telling.Go(func() { s.hearOthers(told) })
		telling.Go(func() { s.courier.run(told) })
	}
	telling.Go(func() { s.runErrands(told) })
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
