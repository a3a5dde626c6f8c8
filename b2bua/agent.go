package b2bua

import (
	"context"
	"crypto/rand"
	"errors"
	"hash/maphash"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sipvigil/b2bua/locate"
	"sipvigil/store"
)

// Observer is told what happens to calls. Its methods return at once; those
// that concern one call come in order, but for Answered.
type Observer interface {
	// Started: an INVITE was accepted and is on its way to the callee.
	Started(c store.Call)
	// Confirmed: the ACK has come, or the call was read back from the store.
	Confirmed(c store.Call)
	// Evidence: the far end of a leg showed itself inside the dialog.
	Evidence(id string, side store.Side, e store.Evidence)
	// Answered: what became of probes, in the order in which it was learned.
	Answered(replies ...store.Reply)
	// Disturbed: the network says that the far end of a leg cannot be reached.
	// It may be wrong, and it may say so many times.
	Disturbed(id string, side store.Side, why string)
	// Calibrated: what became of a Calibrate.
	Calibrated(id string, side store.Side, a store.Answer)
	// Ending: the release of the call began.
	Ending(id string, end store.End)
	// Ended: both legs are released, or the call never came to be.
	Ended(c store.Call)
}

// Store is where calls are kept. Its methods do not wait for the network.
type Store interface {
	Save(c store.Call)
	Reserve(id string, side store.Side, mark uint32, covered func(mark uint32))
	Finish(c store.Call, keep time.Duration)
	Status() store.Status
}

// Agent is the back-to-back user agent: a SIP user agent towards both sides of
// every call.
type Agent struct {
	cfg      Config
	store    Store
	observer Observer
	log      *zap.Logger
	metrics  *metrics
	resolver *locate.Resolver
	accounts map[string]*account // by trunk

	strangers *strangers
	doubtful  *rate.Limiter // requests with tags that may be invented
	spoofLog  *rate.Limiter // lines about requests that come from elsewhere

	announcing *rate.Limiter // legs that are told where we are

	parser      *parser
	transaction *transactions
	sockets     []socket // set by Run before the first message is read
	streams     *streams
	dialTCP     func(ctx context.Context, network, addr string) (net.Conn, error)
	seed        maphash.Seed // of what the guards make, and of calls' asked
	ids         ids
	identity    atomic.Pointer[identity]
	late        sync.Map // branch → *forgotten
	pings       sync.Map // From tag → *ping
	early       []byte   // the key of this process, used until the store's is known
	quick       quickProbes
	volleys     sync.Pool     // of *volley
	work        tasks         // goroutines that wait for answers
	serving     chan struct{} // closed when requests can be sent
	closing     atomic.Bool   // what breaks from now on is our own doing
	closed      chan struct{} // closed when no answer comes any more
	passing     atomic.Int64  // requests outside of calls that are being relayed
	lost        lost
	ownAddrs    ownAddrs
	panicked    func(any) // is notePanic, made once: most that runs is given it
	mirror      *mirror   // nil: nobody wants copies

	draining atomic.Bool

	mu        sync.Mutex // guards what is below
	calls     map[string]*call
	lingering map[string]*call     // ended, but subscriptions inside them go on
	postponed map[string]store.End // releases that wait until we may
	awaited   map[string]func()    // who waits for calls that were read back, and is told when one is dropped
	ended     ended
}

// identity is what all nodes agree on through the store.
type identity struct {
	epoch  int64
	tagKey []byte
	loaded bool // the calls of an earlier run have been read back
}

// New returns an agent that has no sockets yet. The observer and the store are
// called from many goroutines.
func New(cfg Config, st Store, obs Observer, log *zap.Logger, reg prometheus.Registerer) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &Agent{
		cfg:      cfg,
		store:    st,
		observer: obs,
		log:      log,
		metrics:  newMetrics(reg),
		resolver: locate.New(cfg.DNS),
		accounts: newAccounts(cfg.Trunks),
		streams:  newStreams(),
		dialTCP:  new(net.Dialer).DialContext,
		seed:     maphash.MakeSeed(),
		serving:  make(chan struct{}),
		closed:   make(chan struct{}),
		calls:    make(map[string]*call),

		lingering: make(map[string]*call),
		postponed: make(map[string]store.End),
		awaited:   make(map[string]func()),
		strangers: newStrangers(cfg.Unknown),
		doubtful:  rate.NewLimiter(maxDoubtful, maxDoubtful),
		spoofLog:  rate.NewLimiter(1, 10),

		announcing: rate.NewLimiter(announceRate, 1),
	}
	a.panicked = a.notePanic
	a.quick.observer = obs
	for trunk := range a.accounts {
		a.metrics.challengesOf(trunk)
	}
	a.mirror = newMirror(a, cfg.Mirror)
	a.early = provisionalKey()
	a.identity.Store(&identity{tagKey: a.early})
	a.parser, a.transaction = newParser(), newTransactions(a)
	return a, nil
}

// Identify sets the epoch under which this node writes and the key of the
// check in our tags. Until then a key of this process is used.
func (a *Agent) Identify(epoch int64, tagKey []byte) {
	a.identity.Store(&identity{epoch: epoch, tagKey: tagKey})
}

// Rekey sets the key of the check in our tags anew: the store had lost the one of
// [Agent.Identify], and another process was the first to make one. Calls that are
// here keep their tags.
func (a *Agent) Rekey(tagKey []byte) {
	for {
		was := a.identity.Load()
		id := *was
		id.tagKey = tagKey
		if a.identity.CompareAndSwap(was, &id) {
			return
		}
	}
}

// Run serves SIP on these sockets until ctx ends, then closes them and returns
// after the last goroutine. Established calls stay as they are in the store.
func (a *Agent) Run(ctx context.Context, packets []net.PacketConn, streams []Listener) error {
	if len(packets)+len(streams) == 0 {
		return errors.New("b2bua: no socket to serve on")
	}
	var serving sync.WaitGroup
	var sockets []*packetConn
	for _, conn := range packets {
		a.sockets = append(a.sockets, newSocket("udp", conn.LocalAddr(), a.cfg.Advertise))
		w := newPacketConn(conn, a.metrics, a.seed)
		w.guard.agent = a
		sockets = append(sockets, w)
		a.sockets[len(a.sockets)-1].conn = w
	}
	for _, l := range streams {
		a.sockets = append(a.sockets, newSocket(l.Transport, l.Addr(), a.cfg.Advertise))
	}
	for _, w := range sockets {
		serving.Go(func() { a.read(w) })
	}
	for _, l := range streams {
		serving.Go(func() { a.accept(ctx, l) })
	}
	if a.mirror != nil {
		a.work.Go(func() { a.mirror.run(a.closed) })
	}
	close(a.serving)

	<-ctx.Done()
	a.closing.Store(true)
	for _, w := range sockets {
		_ = w.Close()
	}
	for _, l := range streams {
		_ = l.Close()
	}
	serving.Wait()
	a.transaction.stop()
	a.quick.stop()
	close(a.closed) // for transactions that began meanwhile
	a.streams.closeAll()
	a.work.Wait()
	return nil
}

// panics says whether f panicked: a message that breaks its reader costs that
// message, not the socket.
func (a *Agent) panics(f func()) (panicked bool) {
	guarded(f, func(v any) { a.panicked(v); panicked = true })
	return panicked
}

func (a *Agent) served(transport string, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		a.log.Error("socket is not served any more", zap.String("transport", transport), zap.Error(err))
	}
}

// Loaded says that every call of an earlier run has been given to Restore: a
// dialog that is unknown from now on does not exist.
func (a *Agent) Loaded() {
	for {
		was := a.identity.Load()
		id := *was
		id.loaded = true
		if a.identity.CompareAndSwap(was, &id) {
			return
		}
	}
}

// Call returns the call as it stands, without the health of its legs.
func (a *Agent) Call(id string) (store.Call, bool) {
	c := a.call(id)
	if c == nil {
		return store.Call{}, false
	}
	return c.snapshot(), true
}

// Calls visits all calls in no order.
func (a *Agent) Calls(yield func(store.Call) bool) {
	for _, c := range a.all() {
		if !yield(c.snapshot()) {
			return
		}
	}
}

func (a *Agent) all() []*call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.AppendSeq(make([]*call, 0, len(a.calls)), maps.Values(a.calls))
}

func (a *Agent) call(id string) *call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[id]
}

// add says whether the call was new.
func (a *Agent) add(c *call) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls[c.id] != nil {
		return false
	}
	a.calls[c.id] = c
	return true
}

func (a *Agent) remove(c *call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.calls, c.id)
}

// Resave gives a call's record to the store again, which has lost it.
func (a *Agent) Resave(id string) {
	if c := a.call(id); c != nil {
		c.do(func() {
			if c.state() != store.Terminated {
				c.save()
			}
		})
	}
}

// Drop forgets a call without a word: another node owns it now.
func (a *Agent) Drop(id string) {
	c := a.call(id)
	if c == nil {
		return
	}
	a.remove(c)
	a.forsake(id)
	a.mu.Lock()
	delete(a.postponed, id)
	a.mu.Unlock()
	c.do(func() {
		c.set(func(rec *record) { rec.State = store.Terminated })
		c.unwind()
	})
}

// provisionalKey serves until the store's key is known.
func provisionalKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

// notePanic notes a panic in the handling of one message; the process goes on.
func (a *Agent) notePanic(v any) {
	a.metrics.panics.Inc()
	a.log.Error("handler panicked, one request was lost: please report this",
		zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
}
