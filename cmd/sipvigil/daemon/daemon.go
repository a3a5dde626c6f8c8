// Package daemon is the composition root: it makes the parts of sipvigil out
// of a configuration, binds their sockets, and runs them until it is told to
// stop.
package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"sipvigil/b2bua"
	"sipvigil/b2bua/nap"
	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/store/redis"
	"sipvigil/supervisor"
	"sipvigil/supervisor/links"
	"sipvigil/supervisor/maintenance"
	"sipvigil/supervisor/progress"
	"sipvigil/supervisor/web"
)

// keeper is what the daemon asks of a store; embedded and redis have it.
type keeper interface {
	b2bua.Store
	supervisor.Store
	channelStore
	Owned(ctx context.Context, node string, yield func(store.Call) bool) error
	Owns(ctx context.Context, node string) (calls int, err error)
	TagKey(ctx context.Context) ([]byte, error)
	NextEpoch(ctx context.Context) (int64, error)
	maintenance.Store
	Run(ctx context.Context) error
}

// Daemon is sipvigil as one process runs it.
type Daemon struct {
	cfg        Config
	log        *zap.Logger
	store      keeper
	journal    *embedded.Store // the store if it is the embedded one, else nil
	supervisor *supervisor.Supervisor
	agent      *b2bua.Agent
	links      *links.Links
	lines      lines // between these two
	web        *web.Server
	cdrs       *cdrFile            // nil without one
	records    []func(line []byte) // those who take call detail records in JSON
	capture    *capture            // nil without one
	recent     *recent             // nil with Redis

	member   *member // nil with a store of its own
	channels *channels

	board    *maintenance.Board
	service  *service
	progress *progress.Board

	since    time.Time
	started  atomic.Bool // SIP is served
	stopping atomic.Bool

	certificates *certificates // nil without TLS

	adminCertificates *certificates // nil without TLS
	tokens            *tokenFile    // nil without one

	packets []net.PacketConn
	streams []b2bua.Listener
	admin   net.Listener
}

// New makes the parts. It does no I/O.
func New(cfg Config, log *zap.Logger) (*Daemon, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d := &Daemon{cfg: cfg, log: log, since: time.Now(), progress: progress.New(cfg.Node, log.Named("progress"))}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := d.makeStore(reg); err != nil {
		return nil, err
	}
	if err := d.makeSupervisor(reg); err != nil {
		return nil, err
	}
	d.board = maintenance.New(d.store, log.Named("maintenance"))
	d.service = newService(cfg, d.board, func(trunk string) bool { return d.links.State(trunk) == links.Down })
	agent := agentConfig(cfg)
	agent.Service, agent.Links = d.service.from, gate{Links: &d.lines, closed: d.service.maintained}
	if cfg.Store.URL != "embedded" {
		agent.May = func() bool { return d.member.may() }
		agent.Recollect = func() { d.member.recollect() }
		agent.Kept = func(ctx context.Context, calls []store.Call) ([]string, error) { return d.member.Kept(ctx, calls) }
		agent.Find = func(ctx context.Context, id string) (b2bua.Place, error) { return d.member.find(ctx, id) }
	}
	if cfg.SIP.TLS != (TLS{}) {
		d.certificates = &certificates{files: cfg.SIP.TLS, path: "sip.tls", log: log.Named("tls")}
		agent.TLS = d.certificates.current
	}
	if cfg.HEP.Address != "" {
		d.capture = newCapture(cfg.HEP, log.Named("hep"))
		agent.Mirror = d.capture
	}
	d.channels = newChannels(&d.cfg, d.store, log.Named("channels"), reg)
	agent.Channels = d.channels
	var err error
	if d.links, err = links.New(watched(cfg.Trunks), log.Named("links"), reg); err != nil {
		return nil, err
	}
	d.links.Hush(d.service.quiet)
	d.lines.links = d.links
	if d.agent, err = b2bua.New(agent, d.store, d.supervisor, log.Named("b2bua"), reg); err != nil {
		return nil, err
	}
	d.supervisor.Bind(d.agent)
	d.lines.agent = d.agent
	d.links.Bind(&d.lines)
	d.channels.live = d.agent.Channels
	if st, ok := d.store.(*redis.Store); ok {
		d.member = newMember(st, d.agent, d.drop, cfg.Node, log.Named("node"), reg)
		d.member.announces = cfg.SIP.Takeover == "refresh"
		d.member.tally = d.tally
		d.member.progress = d.progress
	}
	d.web, err = web.New(d.adminConfig(), d.supervisor, d.store.Status, d.unready, reg, log.Named("web"))
	return d, err
}

// unready says why this process should get no new calls. A store that cannot be
// reached is no reason: calls go on without it.
func (d *Daemon) unready() []string {
	if d.stopping.Load() {
		return []string{"stopping"}
	}
	if !d.started.Load() {
		return []string{"starting"}
	}
	if d.service.idle() {
		return []string{"maintenance"}
	}
	if d.member != nil {
		return d.member.unready()
	}
	return nil
}

// idle says why calls are not watched.
func (d *Daemon) idle() string {
	if d.member == nil {
		return ""
	}
	return d.member.idle()
}

// nodes lists the nodes that share the store. A store of its own has one.
func (d *Daemon) nodes(ctx context.Context) ([]store.Node, error) {
	if d.member != nil {
		return d.member.Nodes(ctx)
	}
	n := store.Node{Name: d.cfg.Node, State: store.NodeUp, Since: d.since, Seen: time.Now(), Calls: d.agent.Count(), Addr: d.sipAddr(), Doing: d.progress.List()}
	return []store.Node{n}, nil
}

// drop forgets a call without a word: another node owns it now.
func (d *Daemon) drop(id string) {
	d.agent.Drop(id)
	d.supervisor.Drop(id)
}

func (d *Daemon) makeStore(reg prometheus.Registerer) error {
	if d.cfg.Store.URL == "embedded" {
		d.journal = embedded.New()
		if d.cfg.Store.Data != "" {
			d.journal = embedded.InDir(d.cfg.Store.Data, d.log.Named("store"))
		}
		d.store = d.journal
		d.recent = &recent{}
	} else {
		st, err := redis.New(redis.Config{
			URL: d.cfg.Store.URL, Node: d.cfg.Node,
			Fenced:  func(id string) { d.member.refused(id) },
			Missing: d.resave,
			Lost:    d.lost,
		}, d.log.Named("store"))
		if err != nil {
			return err
		}
		d.store = st
		d.records = append(d.records, st.Record)
	}
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sipvigil_store_reachable",
			Help: "1 while the store answers, 0 while calls go on without it.",
		}, func() float64 {
			if d.store.Status().Reachable {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sipvigil_store_pending_calls",
			Help: "Calls with changes that the store does not have yet.",
		}, func() float64 { return float64(d.store.Status().Pending) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sipvigil_store_behind_seconds",
			Help: "All changes are in the store that are older than this.",
		}, func() float64 { return d.store.Status().Behind.Seconds() }))
	return nil
}

// resave writes a call again of which the store has lost the record.
func (d *Daemon) resave(id string) {
	d.agent.Resave(id)
	d.supervisor.Resave(id)
}

// lost writes all calls again: the store may have lost what it had acknowledged,
// and with it the key of tags, of which another process may have made a new one.
func (d *Daemon) lost() {
	if key, err := d.store.TagKey(context.Background()); err == nil { // is known without the store
		d.agent.Rekey(key)
	}
	d.agent.Calls(func(c store.Call) bool {
		d.resave(c.ID)
		return true
	})
}

func (d *Daemon) makeSupervisor(reg prometheus.Registerer) (err error) {
	c := supervisor.Default()
	c.Node = d.cfg.Node
	c.Interval, c.Jitter = d.cfg.Supervise.Interval, d.cfg.Supervise.Jitter
	c.Timeout, c.Misses = d.cfg.Supervise.Timeout, d.cfg.Supervise.Misses
	c.Method, c.Policy = supervisor.Method(d.cfg.Supervise.Method), supervisor.Policy(d.cfg.Supervise.Policy)
	c.Action, c.MaxDuration = supervisor.Action(d.cfg.Supervise.Action), d.cfg.Supervise.MaxDuration
	c.Trunks = make(map[string]supervisor.Action)
	for _, t := range d.cfg.Trunks {
		c.Trunks[t.Name] = supervisor.Action(t.Action)
	}
	if d.cfg.CDR.File != "" {
		d.cdrs = newCDRFile(d.cfg.CDR, d.log.Named("cdr"))
		d.records = append(d.records, d.cdrs.record)
	}
	c.Record = d.record
	c.Doubt = d.lines.doubt
	c.Brake = supervisor.Brake(d.cfg.Supervise.Brake)
	if d.cfg.Store.URL != "embedded" {
		c.May = func() bool { return d.member.may() }
	}
	d.supervisor, err = supervisor.New(c, d.store, d.log.Named("supervisor"), reg)
	return err
}

// record passes on the record of a call that ended. It is encoded once, or when
// somebody asks for it.
func (d *Daemon) record(r *supervisor.CDR) {
	if d.recent != nil {
		d.recent.record(r)
	}
	if len(d.records) == 0 {
		return
	}
	line := r.Line()
	for _, take := range d.records {
		take(line)
	}
}

func agentConfig(cfg Config) b2bua.Config {
	c := b2bua.Default()
	c.Node = cfg.Node
	c.Advertise = cfg.SIP.Advertise
	c.NextHop = cfg.SIP.NextHop
	c.RingTimeout = cfg.SIP.RingTimeout
	c.DNS.Server = cfg.SIP.DNS
	c.Unknown, c.SourceCheck = cfg.SIP.Unknown, cfg.SIP.SourceCheck
	c.Reinvite = cfg.Supervise.Method == string(supervisor.Reinvite)
	c.RejectDown = cfg.Store.OnOutage == "reject"
	for _, t := range cfg.Trunks {
		trunk := b2bua.Trunk{
			Name: t.Name, Targets: t.Targets, Trusted: t.Trusted, NATOff: t.NAT == "off",
			Credentials: b2bua.Credentials(t.Credentials), ClientName: t.TLS.ClientName,
			Limit: t.limit(), WhenFull: whenFull[t.WhenFull],
		}
		for _, s := range t.Sources {
			prefix, err := ParseSource(s)
			if err != nil {
				prefix = netip.Prefix{} // Validate refuses it
			}
			trunk.Sources = append(trunk.Sources, prefix)
		}
		c.Trunks = append(c.Trunks, trunk)
	}
	for _, r := range cfg.Routes {
		c.Routes = append(c.Routes, r.agent())
	}
	return c
}

// Run serves until ctx ends or a part fails. It binds the sockets unless Listen
// has. What is to be stored is written before it returns, if the store answers
// in time; calls stay up, and a process that comes back finds them there.
func (d *Daemon) Run(ctx context.Context) error {
	if d.admin == nil {
		if err := d.Listen(); err != nil {
			return err
		}
	}
	if d.member != nil {
		d.member.addr = d.sipAddr()
	}
	storing, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStore()
	stored := make(chan error, 1)
	go func() { stored <- d.store.Run(storing) }()
	var recording sync.WaitGroup
	if d.cdrs != nil {
		recording.Go(func() { d.cdrs.run(storing) })
	}

	g, ctx := errgroup.WithContext(d.drained(ctx))
	context.AfterFunc(ctx, func() { d.stopping.Store(true) })
	g.Go(func() error { d.progress.Run(ctx); return nil })
	g.Go(func() error { return d.web.Run(ctx, d.admin) })
	loaded := make(chan struct{})
	g.Go(func() error { defer close(loaded); d.load(ctx); return nil })
	d.awaitCalls(ctx, loaded)
	d.logListening()
	naps := nap.New()
	context.AfterFunc(ctx, naps.Close)
	d.supervisor.SleepBy(naps.Sleep)
	g.Go(func() error { d.supervisor.Run(ctx); return nil })
	g.Go(func() error { d.links.Run(ctx); return nil })
	g.Go(func() error { d.channels.run(ctx); return nil })
	g.Go(func() error { return d.agent.Run(ctx, d.packets, d.streams) })
	d.started.Store(true)
	if d.member != nil {
		g.Go(func() error { d.board.Run(ctx); return nil })
		g.Go(func() error { d.member.hold(ctx); return nil })
		g.Go(func() error { d.member.refresh(ctx); return nil })
		g.Go(func() error { <-loaded; d.member.watch(ctx); return nil })
	}
	err := g.Wait()
	if d.member != nil {
		d.member.leave()
	}
	stopStore()
	recording.Wait()
	if d.capture != nil {
		d.capture.to.Close()
	}
	if storeErr := <-stored; storeErr != nil && !errors.Is(storeErr, context.Canceled) {
		err = errors.Join(err, storeErr)
	}
	d.log.Info("stopped", zap.Error(err))
	return err
}

// awaitCalls waits a while for the calls of an earlier run: their dialogs are
// best known before the first message.
func (d *Daemon) awaitCalls(ctx context.Context, loaded <-chan struct{}) {
	select {
	case <-loaded:
	case <-ctx.Done():
	case <-time.After(loadWait):
		level, st := zap.WarnLevel, d.store.Status()
		if !st.Reachable {
			level = zap.InfoLevel // the store itself has warned
		}
		d.log.Log(level, "calls are served before those of an earlier run are read back",
			zap.String("store", withoutPassword(d.cfg.Store.URL)), zap.String("error", st.LastError))
	}
}

// logListening logs where this node can be reached.
func (d *Daemon) logListening() {
	for _, conn := range d.packets {
		d.log.Info("listening", zap.String("transport", "udp"), zap.Stringer("addr", conn.LocalAddr()))
	}
	for _, ln := range d.streams {
		d.log.Info("listening", zap.String("transport", ln.Transport), zap.Stringer("addr", ln.Addr()))
	}
	d.log.Info("serving", zap.String("node", d.cfg.Node), zap.String("page", d.pageURL()),
		zap.String("store", withoutPassword(d.cfg.Store.URL)))
}
