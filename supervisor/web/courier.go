package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// courier has other nodes do what only they can, and does here what they ask for.
//
// What changes nothing is asked for at once, and may be answered late. A command
// goes in two steps, so that nobody executes one whose sender has given up: it
// first asks the clock of the node that is to do it, then says until when on that
// very clock the command may be begun. So the clocks of two nodes are never
// compared, and it is known of every command whether it was done, was not, or may
// have been: the last only if the answer is lost.
type courier struct {
	node   string
	wire   Wire
	status func() store.Status
	serve  http.Handler // the API of this node
	log    *zap.Logger
	work   sync.WaitGroup

	mu      sync.Mutex
	open    map[string]chan<- letter // by id, who waits for letters of others
	begun   map[string]int64         // commands of others, until they come too late anyway
	working int                      // letters that are being answered
}

// Bounds of what goes between nodes.
const (
	hailTime  = 5 * time.Second // a node that has said nothing for so long is not told what to do
	beginTime = 4 * time.Second // within which a command is begun, or never
	soonTime  = time.Second     // what it takes that no far end is waited for
	mostHails = 64              // under way at the same time; beyond them nobody is told the clock
	mostTasks = 4 * mostHails
	deafAfter = 10 // times in a row that no letters could be taken, a second apart
)

// unreached says that a node did not do what it was asked for, or that it is not
// known whether it did.
type unreached struct {
	node  string
	why   string
	maybe bool // it may have been done
}

func (e *unreached) Error() string {
	if e.maybe {
		return fmt.Sprintf("node %s was told so, but not what became of it: %s. It may have been done: look before it is asked for again", e.node, e.why)
	}
	return fmt.Sprintf("node %s cannot be asked: %s. Nothing was done there: ask again in some seconds, when another node has adopted its calls if it is gone, "+
		"or ask that node itself", e.node, e.why)
}

func newCourier(node string, wire Wire, status func() store.Status, serve http.Handler, log *zap.Logger) *courier {
	return &courier{node: node, wire: wire, status: status, serve: serve, log: log, open: make(map[string]chan<- letter), begun: make(map[string]int64)}
}

// ask has a node execute a command that takes so long, and returns what its API
// answers. Its error is an unreached.
func (c *courier) ask(ctx context.Context, node string, do command, takes time.Duration) (*answerOut, error) {
	l := letter{ID: rand.Text(), From: c.node}
	replies := make(chan letter, 4)
	c.mu.Lock()
	c.open[l.ID] = replies
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, l.ID)
	}()
	if do.Method != http.MethodGet {
		l.Kind = letterHail
		if err := c.send(ctx, node, l); err != nil {
			return nil, &unreached{node: node, why: err.Error()}
		}
		clock, err := await(ctx, replies, node, letterClock, hailTime)
		if err != nil {
			return nil, &unreached{node: node, why: err.Error()}
		}
		l.Clock = clock.Clock + beginTime.Milliseconds()
	}
	l.Kind, l.Command = letterDo, &do
	if err := c.send(ctx, node, l); errors.Is(err, errAbsent) {
		return nil, &unreached{node: node, why: err.Error()}
	} // else it may have got there all the same
	done, err := await(ctx, replies, node, letterDone, beginTime+takes)
	if err != nil {
		return nil, &unreached{node: node, why: err.Error(), maybe: do.Method != http.MethodGet}
	}
	return done.Outcome, nil
}

var errAbsent = errors.New("it does not listen, because it is gone, starts, or is of an older version")

func (c *courier) send(ctx context.Context, node string, l letter) error {
	reached, err := c.wire.Send(ctx, node, encode(l))
	if err == nil && reached == 0 {
		err = errAbsent
	}
	return err
}

// await returns the letter of this kind that a node replies with.
func await(ctx context.Context, replies <-chan letter, node string, kind letterKind, limit time.Duration) (letter, error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		select {
		case l := <-replies:
			if l.Kind == kind && l.From == node {
				return l, nil
			}
		case <-late.C:
			return letter{}, fmt.Errorf("it has said nothing for %v", limit)
		case <-ctx.Done():
			return letter{}, errors.New("the request was given up")
		}
	}
}

// run takes letters until ctx ends.
func (c *courier) run(ctx context.Context) {
	defer c.work.Wait()
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		err := c.wire.Receive(ctx, func(message []byte) { c.take(ctx, message) })
		if failures++; time.Since(began) > time.Minute {
			failures = 0
		}
		if failures == deafAfter && ctx.Err() == nil && c.status().Reachable { // else the store itself has warned
			c.log.Warn("other nodes cannot ask anything of this one: it is not told what they send", zap.Error(err))
		}
		pause(ctx, time.Second)
	}
}

// take reads one letter. It waits for nothing.
func (c *courier) take(ctx context.Context, message []byte) {
	l, err := readLetter(message)
	if err != nil {
		c.log.Debug("what another node sends cannot be read", zap.Error(err))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch l.Kind {
	case letterClock, letterDone:
		select {
		case c.open[l.ID] <- l: // nobody is there who has given up
		default:
		}
	case letterHail:
		c.start(mostHails, func() {
			c.reply(ctx, letter{Kind: letterClock, ID: l.ID, From: c.node, Clock: time.Now().UnixMilli()}, l.From)
		})
	case letterDo:
		if l.Command.Method == http.MethodGet || c.begin(&l, time.Now().UnixMilli()) {
			c.start(mostTasks, func() { c.execute(ctx, &l) })
		}
	}
}

// begin says whether a command is to be executed: it is neither late nor was it
// begun before, and the clock that it names was this node's. Called locked.
func (c *courier) begin(l *letter, now int64) bool {
	for id, until := range c.begun {
		if until < now {
			delete(c.begun, id)
		}
	}
	_, repeated := c.begun[l.ID]
	if repeated || l.Clock < now || l.Clock > now+beginTime.Milliseconds() || len(c.begun) >= mostBegun {
		c.log.Warn("a command of another node is dropped", zap.String("node", l.From), zap.String("who", l.Command.User.Name),
			zap.Bool("repeated", repeated), zap.Int64("late_ms", now-l.Clock))
		return false
	}
	c.begun[l.ID] = l.Clock
	return true
}

// mostBegun is how many commands can be told from their repetitions.
const mostBegun = 20_000

// start does something unless too much is under way. Called locked.
func (c *courier) start(most int, do func()) {
	if c.working >= most {
		c.log.Warn("a letter of another node is left: too many are being answered", zap.Int("most", most))
		return
	}
	c.working++
	c.work.Go(func() {
		do()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.working--
	})
}

// execute has the API of this node do what another node asks for.
func (c *courier) execute(ctx context.Context, l *letter) {
	do := l.Command
	r, err := http.NewRequestWithContext(context.WithValue(ctx, passedKey{}, passed{do.User, l.From}), do.Method, "http://localhost"+do.Target, http.NoBody)
	if err != nil {
		c.log.Warn("a command of another node is none", zap.String("node", l.From), zap.Error(err))
		return
	}
	r.RemoteAddr, r.RequestURI = do.Address, do.Target
	if do.Key != "" {
		r.Header.Set("Idempotency-Key", do.Key)
	}
	out := &slate{header: make(http.Header), status: http.StatusOK}
	c.serve.ServeHTTP(out, r)
	if !json.Valid(out.body.Bytes()) { // what can be asked for answers JSON, always
		out.status = http.StatusInternalServerError
		out.body = *bytes.NewBuffer(encode(Problem{Type: "about:blank", Status: out.status, Title: http.StatusText(out.status), Detail: "the answer is no JSON"}))
	}
	c.reply(ctx, letter{Kind: letterDone, ID: l.ID, From: c.node,
		Outcome: &answerOut{Status: out.status, After: out.header.Get("Retry-After"), Body: out.body.Bytes()}}, l.From)
}

// reply sends a letter that nobody waits for here.
func (c *courier) reply(ctx context.Context, l letter, to string) {
	if err := c.send(context.WithoutCancel(ctx), to, l); err != nil {
		c.log.Warn("another node does not learn what it asked for", zap.String("node", to), zap.String("letter", string(l.Kind)), zap.Error(err))
	}
}

// slate takes down what a handler answers.
type slate struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (s *slate) Header() http.Header         { return s.header }
func (s *slate) WriteHeader(status int)      { s.status = status }
func (s *slate) Write(b []byte) (int, error) { return s.body.Write(b) }

// passed is what is known of a request that came by way of another node.
type passed struct {
	user User
	node string
}

type passedKey struct{}

// passedOn says whether a request came by way of another node. It goes no further.
func passedOn(r *http.Request) (passed, bool) {
	by, ok := r.Context().Value(passedKey{}).(passed)
	return by, ok
}
